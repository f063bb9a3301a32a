-- $1 tables. The first whose row-level security applies to this role, by its place in $1 (from 1), with the policies.
SELECT c.oid::regclass::text AS place, current_user AS role, x.n,
       coalesce((SELECT json_agg(p.polname ORDER BY p.polname)
                   FROM pg_catalog.pg_policy AS p WHERE p.polrelid = c.oid), '[]') AS policies
  FROM unnest($1::text[]) WITH ORDINALITY AS x(name, n)
  JOIN pg_catalog.pg_class AS c ON c.oid = to_regclass(x.name)
 WHERE c.relrowsecurity AND row_security_active(c.oid) ORDER BY x.n LIMIT 1;
