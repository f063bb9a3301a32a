-- $1 source, $2 table, $3 key text, $4 column, $5 reason, $6 rows. Rows whose key has a NULL share a key text. Makes
-- the quarantine hold as many of them as SQLite does, and returns how many came and went.
WITH held AS (
  SELECT count(*) AS n FROM switchback.quarantine
   WHERE source = $1 AND table_name = $2 AND md5(key) = md5($3) AND key = $3
), come AS (
  INSERT INTO switchback.quarantine (source, table_name, key, column_name, reason)
  SELECT $1, $2, $3, $4, $5 FROM held, generate_series(held.n + 1, $6::bigint)
  RETURNING 1
), gone AS (
  DELETE FROM switchback.quarantine
   WHERE ctid = ANY (ARRAY (
     SELECT ctid FROM switchback.quarantine
      WHERE source = $1 AND table_name = $2 AND md5(key) = md5($3) AND key = $3
      LIMIT (SELECT greatest(0, n - $6::bigint) FROM held)))
  RETURNING 1
)
SELECT (SELECT count(*) FROM come)::int AS come, (SELECT count(*) FROM gone)::int AS gone;
