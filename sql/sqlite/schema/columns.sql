-- A table's columns in declaration order. table_xinfo, because table_info hides generated columns.
SELECT name, type, "notnull", dflt_value, pk, hidden
FROM pragma_table_xinfo(?, 'main')
ORDER BY cid
