-- $1 source, $2 table. The quarantined keys without a NULL: what stands within quotes is no NULL. Used as a subquery.
SELECT count(*) FROM switchback.quarantine
 WHERE source = $1 AND table_name = $2 AND regexp_replace(key, '"([^"\\]|\\.)*"', '', 'g') !~ 'null'
