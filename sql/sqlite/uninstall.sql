-- Run after the triggers were dropped by name; then the tables to which they wrote can be dropped.
DROP TABLE IF EXISTS _switchback_log;
DROP TABLE IF EXISTS _switchback_table;
DROP TABLE IF EXISTS _switchback_identity;
DROP TABLE IF EXISTS _switchback_route;
DROP TABLE IF EXISTS _switchback_fenced;
DROP TABLE IF EXISTS _switchback_applying;
DROP TABLE IF EXISTS _switchback_position;
DROP TABLE IF EXISTS _switchback_carried;
DROP TABLE IF EXISTS _switchback_quarantine;
DROP TABLE IF EXISTS _switchback_resting;
DROP TABLE IF EXISTS _switchback_version;
DROP TABLE IF EXISTS _switchback_newest;
DROP TABLE IF EXISTS _switchback_migration;
DROP TABLE IF EXISTS _switchback_pair;
DROP TABLE IF EXISTS _switchback_capture_off;
