-- Inserts a staged batch row by row, for a batch that failed as a whole. The stage holds each row as one array of text,
-- because a temporary table with a column for each value has PostgreSQL's limit on a row's width as well; `p_insert`
-- writes the row $1. Returns the numbers of the rows that PostgreSQL refused, and why.
CREATE FUNCTION switchback.insert_staged(p_stage text, p_insert text)
RETURNS TABLE (n bigint, reason text) LANGUAGE plpgsql AS $$
DECLARE
  staged  record;
  v       text[];
  written bigint;
BEGIN
  FOR staged IN EXECUTE format('SELECT s.n, s.v FROM pg_temp.%I AS s ORDER BY s.n', p_stage) LOOP
    n := staged.n;
    v := staged.v;
    BEGIN
      EXECUTE p_insert USING v;
      GET DIAGNOSTICS written = ROW_COUNT;
    EXCEPTION
      -- Values and constraints are the row's fault; anything else is not and must surface.
      WHEN data_exception OR integrity_constraint_violation OR program_limit_exceeded THEN
        reason := SQLERRM;
        RETURN NEXT;
        CONTINUE;
    END;
    IF written <> 1 THEN
      RAISE EXCEPTION 'a statement that inserts 1 row inserted %', written USING ERRCODE = 'SB002';
    END IF;
  END LOOP;
END
$$;

DROP FUNCTION switchback.insert_each(text, bigint);
