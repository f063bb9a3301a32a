-- The column of a table that replaces SQLite's rowid: its identity, else a serial column, else a primary key of one
-- integer column. No row when the table does not exist, a null name when it has no such column. $1 the table, as a
-- statement names it.
SELECT (
  SELECT a.attname
    FROM pg_attribute a
    LEFT JOIN pg_index i ON i.indrelid = c.oid AND i.indisprimary AND i.indnkeyatts = 1 AND i.indkey[0] = a.attnum
   WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
     AND a.atttypid IN ('int2'::regtype, 'int4'::regtype, 'int8'::regtype)
     AND (a.attidentity <> '' OR i.indrelid IS NOT NULL
          OR pg_get_serial_sequence(format('%I.%I', n.nspname, c.relname), a.attname) IS NOT NULL)
   ORDER BY a.attidentity <> '' DESC, i.indrelid IS NULL, a.attnum
   LIMIT 1
) AS name
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE c.oid = to_regclass($1)
