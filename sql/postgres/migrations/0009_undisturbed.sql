-- Fails where something of others' on these tables would meet the sidecar's writes: an awake trigger, a foreign key on
-- or to one of them, a rule. It takes the lock that writing takes, so that nothing of the kind can come before the
-- transaction ends. Partitions and inheritance children count as their parents.
CREATE FUNCTION switchback.undisturbed(p_tables text[])
RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  tables regclass[] := ARRAY(SELECT to_regclass(x) FROM unnest(p_tables) AS x WHERE to_regclass(x) IS NOT NULL);
  found  text;
BEGIN
  IF cardinality(tables) = 0 THEN
    RETURN;
  END IF;
  EXECUTE format('LOCK TABLE %s IN ROW EXCLUSIVE MODE', array_to_string(tables, ', '));
  WITH RECURSIVE family(oid) AS (
    SELECT unnest(tables)::oid
    UNION
    SELECT i.inhrelid FROM pg_inherits AS i JOIN family AS f ON i.inhparent = f.oid
  )
  SELECT format('the %s %I of %s', x.kind, x.name, x.place) INTO found
    FROM (
      SELECT CASE WHEN t.tgisinternal THEN 'foreign key' ELSE 'trigger' END AS kind,
             CASE WHEN t.tgisinternal THEN (SELECT c.conname FROM pg_constraint AS c WHERE c.oid = t.tgconstraint) ELSE t.tgname END AS name,
             t.tgrelid::regclass AS place
        FROM family AS f
        JOIN pg_trigger AS t ON t.tgrelid = f.oid
       WHERE t.tgenabled <> 'D' AND t.tgname !~ '^switchback_'
         -- The other internal ones check deferrable constraints.
         AND (NOT t.tgisinternal OR t.tgconstrrelid <> 0)
      UNION ALL
      -- 2 UPDATE, 3 INSERT, 4 DELETE. An upsert is refused beside an UPDATE rule that is disabled, too.
      SELECT 'rule', r.rulename, r.ev_class::regclass
        FROM family AS f
        JOIN pg_rewrite AS r ON r.ev_class = f.oid
       WHERE r.ev_type IN ('2', '3', '4') AND (r.ev_enabled <> 'D' OR r.ev_type = '2')
    ) AS x
   ORDER BY x.kind, x.name
   LIMIT 1;
  IF found IS NOT NULL THEN
    RAISE EXCEPTION '% would meet what the sidecar writes', found USING ERRCODE = 'SB003';
  END IF;
END
$$;
