-- $1 source, $2 table and $3 digest after which to continue, $4 include rows refused by a codec, $5 limit.
SELECT table_name AS table, md5(key) AS digest, key FROM switchback.quarantine
 WHERE source = $1 AND (table_name, md5(key)) > ($2, $3) AND (column_name IS NULL OR $4)
 ORDER BY table_name, md5(key) LIMIT $5;
