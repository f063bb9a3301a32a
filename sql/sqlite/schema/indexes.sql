-- A table's indexes, oldest first, with their DDL (NULL for those that a constraint made).
SELECT l.name, l."unique", l.origin, s.sql
FROM pragma_index_list(?, 'main') AS l
LEFT JOIN main.sqlite_schema AS s ON s.type = 'index' AND s.name = l.name
ORDER BY l.seq DESC
