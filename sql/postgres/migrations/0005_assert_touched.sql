-- A window's statements count the rows that they touch. This function fails when one on the source's table p_table
-- touched a different number of rows than were sent.
CREATE FUNCTION switchback.assert_touched(p_table text, p_wanted bigint, p_touched bigint)
RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  IF p_touched IS DISTINCT FROM p_wanted THEN
    RAISE EXCEPTION 'table %: a statement touched % where % were sent',
      p_table, p_touched || CASE p_touched WHEN 1 THEN ' row' ELSE ' rows' END, p_wanted
      USING ERRCODE = 'SB002', TABLE = p_table;
  END IF;
END
$$;
