-- $1 source. Takes the changes out of the log that belong to no followed table, and notes them with a table of the
-- source.
WITH gone AS (
  DELETE FROM switchback.change WHERE t <> ALL (ARRAY(SELECT id FROM switchback.followed)) RETURNING t
)
INSERT INTO switchback.unknown (source, table_name, code, reason)
SELECT $1, (SELECT min(name) FROM switchback.followed WHERE source = $1), 'CHANGE_UNREADABLE',
       format('%s in switchback.change %s of table number %s, which is not followed', count(*),
              CASE count(*) WHEN 1 THEN 'change is' ELSE 'changes are' END, t)
  FROM gone GROUP BY t
ON CONFLICT (source, table_name, reason) DO UPDATE SET since = excluded.since;
