-- Made again whenever tables are captured, so that it is the newest table of the file: a captured table that stands
-- behind it in SQLite's schema table was made again since, whatever its DDL and its triggers say. VACUUM keeps the order.
CREATE TABLE _switchback_newest (one INTEGER PRIMARY KEY);
