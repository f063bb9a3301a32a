-- $1: schema names, $2: relation names. Every relation of such a name in those schemas: PostgreSQL keeps tables,
-- views, indexes and sequences in one namespace. An index or a sequence also says which table it belongs to,
-- and a table whether row-level security applies to this role.
SELECT n.nspname AS schema,
       c.relname AS name,
       c.relkind AS kind,
       c.relrowsecurity AND row_security_active(c.oid) AS row_security,
       COALESCE((SELECT json_agg(p.polname ORDER BY p.polname) FROM pg_policy AS p WHERE p.polrelid = c.oid), '[]') AS policies,
       current_user AS role,
       COALESCE((SELECT json_agg(r.rulename ORDER BY r.rulename) FROM pg_rewrite AS r WHERE r.ev_class = c.oid AND r.ev_type <> '1'), '[]') AS rules,
       pg_has_role(c.relowner, 'USAGE') AS owned,
       owner.relname AS of_table
FROM pg_class AS c
JOIN pg_namespace AS n ON n.oid = c.relnamespace
LEFT JOIN pg_index AS i ON i.indexrelid = c.oid
LEFT JOIN pg_depend AS d ON c.relkind = 'S' AND d.classid = 'pg_class'::regclass AND d.objid = c.oid
                        AND d.refclassid = 'pg_class'::regclass AND d.deptype IN ('a', 'i')
LEFT JOIN pg_class AS owner ON owner.oid = COALESCE(i.indrelid, d.refobjid)
WHERE n.nspname = ANY ($1::text[]) AND c.relname = ANY ($2::text[])
