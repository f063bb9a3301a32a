-- $1 tables. The sequence of every identity and serial column, by the table's place in $1 (from 1).
SELECT array_position($1::regclass[], a.attrelid::regclass) AS place, a.attname AS column,
       pg_catalog.pg_get_serial_sequence(a.attrelid::regclass::text, a.attname) AS sequence
  FROM pg_catalog.pg_attribute a
 WHERE a.attrelid = ANY ($1::regclass[]) AND a.attnum > 0 AND NOT a.attisdropped
   AND pg_catalog.pg_get_serial_sequence(a.attrelid::regclass::text, a.attname) IS NOT NULL;
