-- ? table, ? limit. The rows of the table in quarantine, oldest first.
SELECT key, column_name AS "column", reason FROM _switchback_quarantine
 WHERE table_name = ? ORDER BY rowid LIMIT ?;
