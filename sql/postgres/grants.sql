-- $1 table, $2 the table that gets the same grants. The statements that grant them.
SELECT format('GRANT %s ON %s TO %s%s', a.privilege_type, $2::text,
         CASE WHEN a.grantee = 0 THEN 'PUBLIC' ELSE a.grantee::regrole::text END,
         CASE WHEN a.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END) AS grant
  FROM pg_catalog.pg_class c, aclexplode(c.relacl) a
 WHERE c.oid = to_regclass($1) AND a.grantee <> c.relowner;
