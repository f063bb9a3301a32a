-- $1 source, $2 and $3 the table and the digest to go on behind, $4 whether rows count that a codec refused, $5 how
-- many at most.
SELECT table_name AS table, md5(key) AS digest, key FROM switchback.quarantine
 WHERE source = $1 AND (table_name, md5(key)) > ($2, $3) AND (column_name IS NULL OR $4)
 ORDER BY table_name, md5(key) LIMIT $5;
