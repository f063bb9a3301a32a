-- $1 tables. Returns the objects that would disturb an exact copy, by the table's position in $1 (from 1). These are
-- their foreign keys, those of other tables to them (references), and their own enabled triggers. Triggers of
-- partitions and inheritance children are included. `suspend` removes or disables each, `definition` restores it.
WITH RECURSIVE family(oid, place) AS (
  SELECT w.name::regclass::oid, w.n::int FROM unnest($1::text[]) WITH ORDINALITY AS w(name, n)
  UNION
  SELECT i.inhrelid, f.place FROM pg_catalog.pg_inherits i JOIN family f ON i.inhparent = f.oid
)
SELECT coalesce(array_position($1::regclass[], c.conrelid::regclass), array_position($1::regclass[], c.confrelid::regclass)) AS place,
       CASE WHEN c.conrelid = ANY ($1::regclass[]) THEN 'foreign key' ELSE 'reference' END AS kind,
       CASE WHEN c.conrelid = ANY ($1::regclass[]) THEN c.conname::text ELSE format('%s %s', c.conrelid::regclass, c.conname) END AS name,
       format('ALTER TABLE %s DROP CONSTRAINT %I', c.conrelid::regclass, c.conname) AS suspend,
       format('ALTER TABLE %s ADD CONSTRAINT %I %s NOT VALID', c.conrelid::regclass, c.conname,
              regexp_replace(pg_get_constraintdef(c.oid), ' NOT VALID$', '')) AS definition
  FROM pg_catalog.pg_constraint c
 WHERE (c.conrelid = ANY ($1::regclass[]) OR c.confrelid = ANY ($1::regclass[])) AND c.contype = 'f' AND c.conparentid = 0
UNION ALL
SELECT min(f.place), 'trigger',
       CASE WHEN t.tgrelid = ANY ($1::regclass[]) THEN t.tgname::text ELSE format('%s %s', t.tgrelid::regclass, t.tgname) END,
       format('ALTER TABLE %s DISABLE TRIGGER %I', t.tgrelid::regclass, t.tgname),
       format('ALTER TABLE %s ENABLE %s TRIGGER %I', t.tgrelid::regclass,
              CASE t.tgenabled WHEN 'A' THEN 'ALWAYS' WHEN 'R' THEN 'REPLICA' ELSE '' END, t.tgname)
  FROM family f
  JOIN pg_catalog.pg_trigger t ON t.tgrelid = f.oid
 WHERE NOT t.tgisinternal AND t.tgparentid = 0 AND t.tgenabled <> 'D' AND t.tgname !~ '^switchback_'
 GROUP BY t.oid, t.tgrelid, t.tgname, t.tgenabled
 ORDER BY 1, 2, 3;
