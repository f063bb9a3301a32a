-- Moves the position at the end of a transaction that has written to these tables, and fails where something of others'
-- met what it wrote. The writes hold the locks that keep a trigger, a foreign key or a rule from coming before the
-- transaction ends, so that this look takes none, and the whole of `undisturbed` is asked only where it may find one.
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
