-- The fence's function while writes go to PostgreSQL. Its body is in the catalogue, so that a transaction that began
-- before the flip meets it too; its snapshot would hide a row in a table.
CREATE OR REPLACE FUNCTION switchback.fence() RETURNS trigger LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  RETURN NULL;
END
$$;
