-- $1 tables. Their foreign keys, and those to them, that are NOT VALID, each with the statement that validates it.
SELECT c.conrelid::regclass::text AS table, c.conname AS name,
       format('ALTER TABLE %s VALIDATE CONSTRAINT %I', c.conrelid::regclass, c.conname) AS validate
  FROM pg_catalog.pg_constraint c
 WHERE (c.conrelid = ANY ($1::regclass[]) OR c.confrelid = ANY ($1::regclass[])) AND c.contype = 'f'
   AND NOT c.convalidated AND c.conparentid = 0;
