-- $1 the tables' quoted names, $2 names of key columns, in the same order: the columns' own types, without a length
-- that a cast would cut to.
SELECT format_type(a.atttypid, -1) AS type
  FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS w(place, name, n)
  JOIN pg_catalog.pg_attribute a ON a.attrelid = w.place::regclass AND a.attname = w.name AND a.attnum > 0
 ORDER BY w.n;
