-- $1 source, $2 table, $3 limit. The rows of the table in quarantine, oldest first.
SELECT key, column_name AS column, reason FROM switchback.quarantine
 WHERE source = $1 AND table_name = $2 ORDER BY since, key LIMIT $3;
