-- Captured tables under another name than the recorded one: our trigger moved with the table.
SELECT c.id, c.name AS "from", t.name AS "to"
  FROM _switchback_table AS c
  JOIN sqlite_schema AS s ON s.type = 'trigger' AND s.name = '_switchback_' || c.id || '_insert'
  JOIN sqlite_schema AS t ON t.type = 'table' AND t.name = s.tbl_name COLLATE NOCASE
 WHERE t.name <> c.name
 ORDER BY c.id;
