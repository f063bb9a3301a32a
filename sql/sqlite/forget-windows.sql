-- ? how many windows are kept, less one. Forgets the older ones.
DELETE FROM _switchback_carried
 WHERE position < (SELECT position FROM _switchback_carried ORDER BY position DESC LIMIT 1 OFFSET ?);
