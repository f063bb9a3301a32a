-- $1 the tables' quoted names, $2 names of key columns, in the same order. Returns the columns' types, without a
-- length to which a cast would truncate.
SELECT format_type(a.atttypid, -1) AS type
  FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS w(place, name, n)
  JOIN pg_catalog.pg_attribute a ON a.attrelid = w.place::regclass AND a.attname = w.name AND a.attnum > 0
 ORDER BY w.n;
