-- $1: schema names. Those that exist, and whether this role may create tables in them.
SELECT nspname AS name, has_schema_privilege(oid, 'CREATE') AS may_create, has_schema_privilege(oid, 'USAGE') AS may_use
FROM pg_namespace
WHERE nspname = ANY ($1::text[])
