-- $1 source, $2 table, $3 kind, $4 name, $5 definition. Records what the cutover must create.
INSERT INTO switchback.suspended (source, table_name, kind, name, definition) VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (source, table_name, kind, name) DO UPDATE SET definition = excluded.definition;
