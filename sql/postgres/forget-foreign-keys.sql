-- $1 source, $2 table, $3 names, or NULL for all. Forgets suspended foreign keys of the table.
DELETE FROM switchback.suspended
 WHERE source = $1 AND table_name = $2 AND kind = 'foreign key' AND ($3::text[] IS NULL OR name = ANY ($3));
