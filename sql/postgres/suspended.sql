-- $1 sources, $2 table, or NULL for all. The definitions of what is suspended, foreign keys first.
SELECT kind, definition FROM switchback.suspended
 WHERE source = ANY ($1) AND ($2::text IS NULL OR table_name = $2)
 ORDER BY kind, source, table_name, name;
