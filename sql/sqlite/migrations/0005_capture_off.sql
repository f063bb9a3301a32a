-- One row while `switchback exec` has taken the triggers that look for evicted rows off for a migration: the position
-- at which it did. Rows that were written since may have evicted others. NULL: what was captured before is unknown.
CREATE TABLE _switchback_capture_off (position INTEGER);
