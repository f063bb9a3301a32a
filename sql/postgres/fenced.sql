-- $1 tables. Those that have the fence, enabled.
SELECT t.tgrelid::regclass::text AS place FROM pg_catalog.pg_trigger t
 WHERE t.tgname = 'switchback_fence' AND t.tgenabled IN ('O', 'A') AND t.tgrelid = ANY ($1::regclass[]);
