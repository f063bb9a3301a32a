-- Every table-like thing of the file, with its DDL. `shadow` tables belong to a virtual table's module.
SELECT l.name, l.type, l.wr, l.strict, s.sql
FROM pragma_table_list AS l
JOIN main.sqlite_schema AS s ON s.name = l.name AND s.type IN ('table', 'view')
WHERE l.schema = 'main'
