-- 0 where nothing is installed; 1 where the records are older than the log of migrations; null where that log has the
-- version.
SELECT CASE
         WHEN to_regclass('switchback.source') IS NULL THEN 0
         WHEN to_regclass('switchback.migration') IS NULL THEN 1
       END AS version;
