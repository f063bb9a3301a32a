-- Recreated whenever tables are captured, so that it is the newest table of the file. A captured table after it in
-- SQLite's schema table was created again since, even with the same DDL and triggers. VACUUM keeps the order.
CREATE TABLE _switchback_newest (one INTEGER PRIMARY KEY);
