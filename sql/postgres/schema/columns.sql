-- $1: schema names, $2: table names. The columns of those tables in order, with the primary key's place (1, 2 …).
SELECT n.nspname AS schema,
       c.relname AS table,
       a.attname AS name,
       format_type(a.atttypid, a.atttypmod) AS type,
       a.attnotnull AS not_null,
       a.atthasdef AS has_default,
       a.attidentity AS identity,
       a.attgenerated AS generated,
       k.collisdeterministic IS FALSE AS loose,
       COALESCE(array_position(p.indkey::smallint[], a.attnum) + 1, 0) AS key_place
FROM pg_attribute AS a
JOIN pg_class AS c ON c.oid = a.attrelid
JOIN pg_namespace AS n ON n.oid = c.relnamespace
LEFT JOIN pg_collation AS k ON k.oid = a.attcollation
LEFT JOIN pg_index AS p ON p.indrelid = c.oid AND p.indisprimary
WHERE n.nspname = ANY ($1::text[]) AND c.relname = ANY ($2::text[])
  AND c.relkind IN ('r', 'p') AND a.attnum > 0 AND NOT a.attisdropped
ORDER BY a.attrelid, a.attnum
