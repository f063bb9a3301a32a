-- $1: schema names, $2: table names. The application's own triggers that would fire.
SELECT n.nspname AS schema, c.relname AS table, t.tgname AS name
FROM pg_trigger AS t
JOIN pg_class AS c ON c.oid = t.tgrelid
JOIN pg_namespace AS n ON n.oid = c.relnamespace
WHERE NOT t.tgisinternal AND t.tgenabled <> 'D' AND t.tgname NOT LIKE 'switchback\_%'
  AND n.nspname = ANY ($1::text[]) AND c.relname = ANY ($2::text[])
ORDER BY 1, 2, 3
