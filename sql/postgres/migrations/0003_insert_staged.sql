-- Inserts a staged batch in parts, down to single rows, for a batch that failed as a whole. The stage holds each row
-- as one array of text, because a temporary table with a column per value has PostgreSQL's limit on a row's width as
-- well. `p_insert` writes the rows numbered from $1 to $2. Returns the numbers of the rows that PostgreSQL refused,
-- and why. Parts grow while they succeed, so that a few refused rows do not make a separate statement for every other
-- row.
CREATE FUNCTION switchback.insert_staged(p_insert text, p_last bigint)
RETURNS TABLE (n bigint, reason text) LANGUAGE plpgsql AS $$
DECLARE
  first   bigint := 1;
  size    bigint := greatest(1, p_last / 8);
  last    bigint;
  written bigint;
BEGIN
  WHILE first <= p_last LOOP
    last := least(first + size - 1, p_last);
    BEGIN
      EXECUTE p_insert USING first, last;
      GET DIAGNOSTICS written = ROW_COUNT;
    EXCEPTION
      -- Values and constraints are the rows' fault; anything else is not and must surface.
      WHEN data_exception OR integrity_constraint_violation OR program_limit_exceeded THEN
        IF last > first THEN
          size := greatest(1, (last - first + 1) / 8);
        ELSE
          n := first;
          reason := SQLERRM;
          RETURN NEXT;
          first := first + 1;
        END IF;
        CONTINUE;
    END;
    IF written <> last - first + 1 THEN
      RAISE EXCEPTION 'a statement that inserts % rows inserted %', last - first + 1, written USING ERRCODE = 'SB002';
    END IF;
    first := last + 1;
    size := size * 2;
  END LOOP;
END
$$;

DROP FUNCTION switchback.insert_each(text, bigint);
