-- $1 source, $2 table, $3 key texts. Takes these rows out of quarantine.
DELETE FROM switchback.quarantine WHERE source = $1 AND table_name = $2 AND key = ANY ($3)
RETURNING key, column_name AS column, reason, since::text AS since;
