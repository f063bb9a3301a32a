-- Moves the position at the end of a transaction that has written to these tables. It fails when an object of others
-- affected these writes. The writes hold the locks that keep a trigger, a foreign key or a rule from being created
-- before the transaction ends. So this check takes no locks, and runs the whole of `undisturbed` only where it may
-- find such an object.
CREATE FUNCTION switchback.advance(p_source text, p_owner text, p_from bigint, p_to bigint, p_mark text, p_written text[])
RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  place text;
  id    oid;
BEGIN
  -- One table at a time: the plans of a join or of `= ANY` read a whole catalogue instead of its index.
  FOREACH place IN ARRAY p_written LOOP
    id := to_regclass(place);
    IF (SELECT c.relhasrules OR c.relhassubclass FROM pg_class AS c WHERE c.oid = id)
       OR EXISTS (SELECT FROM pg_trigger AS t
                   WHERE t.tgrelid = id AND t.tgenabled <> 'D' AND t.tgname NOT LIKE 'switchback\_%'
                     AND (NOT t.tgisinternal OR t.tgconstrrelid <> 0))
    THEN
      PERFORM switchback.undisturbed(p_written);
      EXIT;
    END IF;
  END LOOP;
  UPDATE switchback.source
     SET position = p_to, mark = p_mark, applied_at = clock_timestamp()
   WHERE name = p_source AND owner = p_owner AND position = p_from;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'the position of source % is not % or its owner changed', p_source, p_from USING ERRCODE = 'SB001';
  END IF;
END
$$;
