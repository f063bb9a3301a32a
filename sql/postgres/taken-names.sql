-- $1 schema as SQL, $2 names that are wanted, $3 names that are given up. The wanted names that something else has.
SELECT relname FROM pg_catalog.pg_class
 WHERE relnamespace = to_regnamespace($1) AND relname = ANY ($2) AND relname <> ALL ($3);
