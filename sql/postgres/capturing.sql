-- $1 tables. One row when a capture trigger on one of them is enabled.
SELECT 1 FROM pg_catalog.pg_trigger
 WHERE tgname LIKE 'switchback\_capture\_%' AND tgenabled <> 'D'
   AND tgrelid IN (SELECT to_regclass(x) FROM unnest($1::text[]) AS x) LIMIT 1;
