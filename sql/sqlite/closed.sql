-- ? the name of the trigger that refuses writes. Whether writes are refused, and under which epoch.
SELECT EXISTS (SELECT 1 FROM _switchback_fenced)
       AND EXISTS (SELECT 1 FROM sqlite_schema WHERE type = 'trigger' AND name = ?) AS closed,
       epoch FROM _switchback_route;
