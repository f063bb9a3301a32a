-- switchback's own records in the SQLite file, as the first version installs them.

-- The change log: one row per touched key, and nothing else. Plain INTEGER PRIMARY KEY is the cheapest monotonic
-- number as long as the newest row is never pruned. The key columns have no type, so that a key keeps its storage
-- class. They have no constraint, so that no application statement can ever fail on them. `once` is a different
-- number of three bytes in every row. When a power cut or a backup removes rows, the same positions are given out
-- again, often for the same keys, and only `once` distinguishes them.
CREATE TABLE _switchback_log (seq INTEGER PRIMARY KEY, t, k1, once DEFAULT (random() & 8388607));

-- The number of each table in the log, the table's DDL when it was captured, and the position from which on the log
-- holds every change of it. Before that, capture was missing or had been lost.
CREATE TABLE _switchback_table (
  id    INTEGER PRIMARY KEY,
  name  TEXT NOT NULL,
  ddl   TEXT NOT NULL,
  since INTEGER NOT NULL
);

-- The identity of this file: a copied or replaced file is noticed.
CREATE TABLE _switchback_identity (identity TEXT NOT NULL);

-- The route, for applications that ask the store to which they are connected.
CREATE TABLE _switchback_route (writes TEXT NOT NULL, epoch INTEGER NOT NULL);
INSERT INTO _switchback_route (writes, epoch) VALUES ('sqlite', 0);

-- While this table holds a row, the fence trigger refuses every write to a captured table.
CREATE TABLE _switchback_fenced (one INTEGER PRIMARY KEY);

-- Holds a row only inside the sidecar's own transactions, where no other connection can see it. With it the fence
-- lets writes pass and the log ignores them.
CREATE TABLE _switchback_applying (one INTEGER PRIMARY KEY);

-- The position of this file as a copy of PostgreSQL, and the sidecar that may move it.
CREATE TABLE _switchback_position (position INTEGER NOT NULL, owner TEXT);
INSERT INTO _switchback_position (position) VALUES (0);

-- The last windows that brought it there: each one's fingerprint and the keys that it touched.
CREATE TABLE _switchback_carried (position INTEGER PRIMARY KEY, mark TEXT NOT NULL, keys TEXT);
INSERT INTO _switchback_carried (position, mark) VALUES (0, '');

-- Quarantine: rows of PostgreSQL that this file cannot hold, by their key.
CREATE TABLE _switchback_quarantine (
  table_name  TEXT NOT NULL,
  key         TEXT NOT NULL,
  column_name TEXT,
  reason      TEXT NOT NULL
);
CREATE INDEX _switchback_quarantine_key ON _switchback_quarantine (table_name, key);

-- The application's own triggers on captured tables, word for word, while they are removed.
CREATE TABLE _switchback_resting (n INTEGER PRIMARY KEY, name TEXT NOT NULL, ddl TEXT NOT NULL);

-- The schema version before and after our own last change to the schema: another program made any other step.
CREATE TABLE _switchback_version (before INTEGER NOT NULL, after INTEGER NOT NULL);
