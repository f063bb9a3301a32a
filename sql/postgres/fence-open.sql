-- The fence while writes go to PostgreSQL. The body stands in the catalogue, so that a transaction that began
-- before the flip meets it too; a row in a table would be hidden from its snapshot.
CREATE OR REPLACE FUNCTION switchback.fence() RETURNS trigger LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  RETURN NULL;
END
$$;
