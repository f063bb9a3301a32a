-- $1: schema. The columns of every table in it, in order. "like" names the built-in type by which the values of an
-- enum, a domain or a citext are read and written; it is null for all other types.
SELECT c.relname AS table,
       a.attname AS name,
       format_type(a.atttypid, a.atttypmod) AS type,
       CASE
         WHEN t.typtype = 'e' OR t.typname = 'citext' AND t.typtype = 'b' THEN 'text'
         WHEN t.typtype = 'd' AND b.typtype = 'b' THEN format_type(t.typbasetype, t.typtypmod)
       END AS like,
       a.attgenerated <> '' AS computed
FROM pg_attribute AS a
JOIN pg_class AS c ON c.oid = a.attrelid
JOIN pg_namespace AS n ON n.oid = c.relnamespace
JOIN pg_type AS t ON t.oid = a.atttypid
LEFT JOIN pg_type AS b ON b.oid = t.typbasetype
WHERE n.nspname = $1 AND c.relkind IN ('r', 'p') AND a.attnum > 0 AND NOT a.attisdropped
ORDER BY c.relname, a.attnum
