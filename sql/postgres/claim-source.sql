-- $1 source, $2 identity of its file, $3 file, $4 target schema, $5 owner. Registers the source, or takes it over.
INSERT INTO switchback.source (name, identity, file, schema, owner) VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (name) DO UPDATE SET owner = excluded.owner, file = excluded.file;
