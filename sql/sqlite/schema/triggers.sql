-- Every trigger, switchback's own too (the caller leaves those out).
SELECT name, tbl_name
FROM main.sqlite_schema
WHERE type = 'trigger'
ORDER BY tbl_name, name
