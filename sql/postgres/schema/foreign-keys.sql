-- $1: schema names, $2: table names. Foreign keys on those tables or pointing at them.
SELECT n.nspname AS schema, c.relname AS table, f.conname AS name, pn.nspname AS parent_schema, p.relname AS parent
FROM pg_constraint AS f
JOIN pg_class AS c ON c.oid = f.conrelid
JOIN pg_namespace AS n ON n.oid = c.relnamespace
JOIN pg_class AS p ON p.oid = f.confrelid
JOIN pg_namespace AS pn ON pn.oid = p.relnamespace
WHERE f.contype = 'f' AND f.conparentid = 0
  AND ((n.nspname = ANY ($1::text[]) AND c.relname = ANY ($2::text[]))
    OR (pn.nspname = ANY ($1::text[]) AND p.relname = ANY ($2::text[])))
ORDER BY 1, 2, 3
