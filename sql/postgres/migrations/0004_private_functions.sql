-- A record that cannot be read leaves the log; a table's doubt has the error code under which it is reported.
ALTER TABLE switchback.unknown ADD COLUMN code text NOT NULL DEFAULT 'COPY_UNKNOWN';

-- Removes those changes of table number p_id from the log whose keys are not of the types p_types. Returns their
-- number, and one of the keys.
CREATE FUNCTION switchback.set_aside(p_id int, p_types text[])
RETURNS TABLE (changes bigint, example text) LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  c record;
BEGIN
  changes := 0;
  FOR c IN SELECT w.ctid, w.key FROM switchback.change AS w WHERE w.t = p_id LOOP
    BEGIN
      IF cardinality(c.key) <> cardinality(p_types) THEN
        RAISE data_exception;
      END IF;
      FOR i IN 1 .. cardinality(p_types) LOOP
        IF c.key[i] IS NULL THEN
          RAISE data_exception;
        END IF;
        EXECUTE format('SELECT CAST($1 AS %s)', p_types[i]) USING c.key[i];
      END LOOP;
    EXCEPTION
      WHEN data_exception OR integrity_constraint_violation THEN
        DELETE FROM switchback.change AS w WHERE w.ctid = c.ctid;
        changes := changes + 1;
        example := coalesce(example, left(array_to_string(c.key, ', ', 'NULL'), 100));
    END;
  END LOOP;
  RETURN NEXT;
END
$$;
