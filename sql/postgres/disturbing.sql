-- $1 a table. What would disturb an exact copy there: its foreign keys, and its own enabled triggers. `rest`
-- takes each out of the way, `definition` brings it back.
SELECT 'foreign key' AS kind, c.conname AS name,
       format('ALTER TABLE %s DROP CONSTRAINT %I', c.conrelid::regclass, c.conname) AS rest,
       format('ALTER TABLE %s ADD CONSTRAINT %I %s NOT VALID', c.conrelid::regclass, c.conname,
              regexp_replace(pg_get_constraintdef(c.oid), ' NOT VALID$', '')) AS definition
  FROM pg_catalog.pg_constraint c
 WHERE c.conrelid = $1::regclass AND c.contype = 'f' AND c.conparentid = 0
UNION ALL
SELECT 'trigger', t.tgname,
       format('ALTER TABLE %s DISABLE TRIGGER %I', t.tgrelid::regclass, t.tgname),
       format('ALTER TABLE %s ENABLE %s TRIGGER %I', t.tgrelid::regclass,
              CASE t.tgenabled WHEN 'A' THEN 'ALWAYS' WHEN 'R' THEN 'REPLICA' ELSE '' END, t.tgname)
  FROM pg_catalog.pg_trigger t
 WHERE t.tgrelid = $1::regclass AND NOT t.tgisinternal AND t.tgenabled <> 'D' AND t.tgname !~ '^switchback_';
