-- The fence's function while writes go to SQLite. Statement triggers on every replicated table call it before any row
-- changes, TRUNCATE and COPY included. The sidecar's own sessions pass. Applications recognise the text of the
-- message, in which EPOCH is replaced by the epoch in which the writes went to SQLite.
CREATE OR REPLACE FUNCTION switchback.fence() RETURNS trigger LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  IF current_setting('switchback.apply', true) = 'on' THEN
    RETURN NULL;
  END IF;
  RAISE EXCEPTION 'switchback: writes go to SQLite (epoch EPOCH)'
    USING ERRCODE = '25006', HINT = 'Follow the route: read it from the route file, /route or switchback.route.';
END
$$;
