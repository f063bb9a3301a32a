-- The terms that the application declared; the others (key = 0) are SQLite's reference to the row.
SELECT name, "desc", coll
FROM pragma_index_xinfo(?, 'main')
WHERE "key" = 1
ORDER BY seqno
