-- The captured tables that exist, with their numbers.
SELECT c.id, s.name
  FROM _switchback_table AS c
  JOIN sqlite_schema AS s ON s.type = 'table' AND s.name = c.name COLLATE NOCASE
 ORDER BY c.id;
