-- $1 source, $2 JSON array of {table, code, reason}. Notes what is unknown about the copy of each table.
INSERT INTO switchback.unknown (source, table_name, code, reason)
SELECT $1, x."table", x.code, x.reason FROM json_to_recordset($2::json) AS x("table" text, code text, reason text)
ON CONFLICT (source, table_name, reason) DO UPDATE SET since = excluded.since;
