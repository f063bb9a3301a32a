-- Run at every start. Revokes the execution of switchback's functions that PostgreSQL grants to PUBLIC with every new
-- function; a trigger needs no such right to fire. It also pins their search path, so that none of them resolves a
-- name where others can create one.
DO $$
DECLARE
  f regprocedure;
BEGIN
  FOR f IN
    SELECT DISTINCT p.oid
      FROM pg_catalog.pg_proc AS p
     CROSS JOIN LATERAL pg_catalog.aclexplode(coalesce(p.proacl, pg_catalog.acldefault('f', p.proowner))) AS a
     WHERE p.pronamespace = 'switchback'::regnamespace AND a.grantee = 0
  LOOP
    EXECUTE format('REVOKE ALL ON FUNCTION %s FROM PUBLIC', f);
  END LOOP;
  FOR f IN
    SELECT p.oid
      FROM pg_catalog.pg_proc AS p
     WHERE p.pronamespace = 'switchback'::regnamespace
       AND NOT coalesce(p.proconfig, '{}') @> '{"search_path=pg_catalog, pg_temp"}'
  LOOP
    EXECUTE format('ALTER FUNCTION %s SET search_path = pg_catalog, pg_temp', f);
  END LOOP;
END
$$;
