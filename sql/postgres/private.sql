-- Run at every start. Takes the functions of switchback's that everybody may call away from everybody, as PostgreSQL
-- grants it with every new function; a trigger needs no such right to fire. And none of them may look for a name where
-- others can place one.
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
