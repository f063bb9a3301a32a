-- The triggers are dropped by name before this; then the tables they wrote to can go.
DROP TABLE IF EXISTS _switchback_log;
DROP TABLE IF EXISTS _switchback_table;
DROP TABLE IF EXISTS _switchback_identity;
DROP TABLE IF EXISTS _switchback_route;
