-- $1 source, $2 table, $3 JSON array of {number, lo, hi}. Records the ranges of a table that is to be copied.
INSERT INTO switchback.range (source, table_name, number, lo, hi)
SELECT $1, $2, r.number, r.lo, r.hi FROM json_to_recordset($3::json) AS r(number int, lo text, hi text);
