-- $1 sequences. The last number that each gave out, by its place in $1; NULL where it gave out none.
SELECT n AS place, pg_catalog.pg_sequence_last_value(s::regclass) AS value
  FROM unnest($1::text[]) WITH ORDINALITY AS x(s, n);
