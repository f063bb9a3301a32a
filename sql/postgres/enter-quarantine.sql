-- $1 source, $2 table, $3 JSON array of {key, column_name, reason, since}. Puts rows into quarantine.
INSERT INTO switchback.quarantine (source, table_name, key, column_name, reason, since)
SELECT $1, $2, x.key, x.column_name, x.reason, coalesce(x.since::timestamptz, now())
  FROM json_to_recordset($3::json) AS x(key text, column_name text, reason text, since text);
