-- The tables that were created after capture was installed.
SELECT t.name
  FROM sqlite_schema AS t
  JOIN sqlite_schema AS newest ON newest.name = '_switchback_newest'
 WHERE t.type = 'table' AND t.rowid > newest.rowid;
