-- Fails where an object of others on these tables would affect the sidecar's writes: an enabled trigger, a foreign
-- key on or to one of them, a rule. It takes the lock that writing takes, so that no such object can be created
-- before the transaction ends. Partitions and inheritance children count as their parents. One plan for every call:
-- each window makes one, and planning would take longer than the query.
CREATE FUNCTION switchback.undisturbed(p_tables text[])
RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan AS $$
DECLARE
  tables oid[] := ARRAY(SELECT to_regclass(x)::oid FROM unnest(p_tables) AS x WHERE to_regclass(x) IS NOT NULL);
  found  text;
BEGIN
  IF cardinality(tables) = 0 THEN
    RETURN;
  END IF;
  EXECUTE 'LOCK TABLE ' || array_to_string(tables::regclass[], ', ') || ' IN ROW EXCLUSIVE MODE';
  IF EXISTS (SELECT FROM pg_inherits AS i WHERE i.inhparent = ANY (tables)) THEN
    WITH RECURSIVE family(id) AS (
      SELECT unnest(tables)
      UNION
      SELECT i.inhrelid FROM pg_inherits AS i JOIN family AS f ON i.inhparent = f.id
    )
    SELECT array_agg(f.id) INTO tables FROM family AS f;
  END IF;
  SELECT CASE WHEN t.tgisinternal
              THEN format('the foreign key %I of %s', (SELECT c.conname FROM pg_constraint AS c WHERE c.oid = t.tgconstraint), t.tgrelid::regclass)
              ELSE format('the trigger %I of %s', t.tgname, t.tgrelid::regclass) END
    INTO found
    FROM pg_trigger AS t
   WHERE t.tgrelid = ANY (tables) AND t.tgenabled <> 'D' AND t.tgname !~ '^switchback_'
     -- The other internal ones check deferrable constraints.
     AND (NOT t.tgisinternal OR t.tgconstrrelid <> 0)
   LIMIT 1;
  -- 2 UPDATE, 3 INSERT, 4 DELETE. An upsert is refused beside an UPDATE rule that is disabled, too. A rule comes first:
  -- the sidecar does not take it away.
  SELECT format('the rule %I of %s', r.rulename, r.ev_class::regclass)
    INTO found
    FROM pg_rewrite AS r
   WHERE r.ev_class = ANY (tables) AND r.ev_type IN ('2', '3', '4') AND (r.ev_enabled <> 'D' OR r.ev_type = '2')
   UNION ALL SELECT found WHERE found IS NOT NULL
   LIMIT 1;
  IF found IS NOT NULL THEN
    RAISE EXCEPTION '% would meet what the sidecar writes', found USING ERRCODE = 'SB003';
  END IF;
END
$$;
