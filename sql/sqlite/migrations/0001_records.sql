-- switchback's own records in the SQLite file, as the first installations have them.

-- The change log: one row per touched key, and nothing else. Plain INTEGER PRIMARY KEY is the cheapest
-- monotonic number as long as the newest row is never pruned. The key columns have no type, so that a key
-- keeps its storage class, and no constraint, so that no application statement can ever fail on them. `once` is
-- another number in every row, of three bytes: where a power cut or a backup took rows away, the same positions are
-- given out again, very often for the same keys, and nothing else would tell them from the first.
CREATE TABLE _switchback_log (seq INTEGER PRIMARY KEY, t, k1, once DEFAULT (random() & 8388607));

-- Which number stands for which table in the log, the table's DDL when it was captured, and the position from which
-- on the log holds every change of it: before that, capture was not there or had been lost.
CREATE TABLE _switchback_table (
  id    INTEGER PRIMARY KEY,
  name  TEXT NOT NULL,
  ddl   TEXT NOT NULL,
  since INTEGER NOT NULL
);

-- Tells this file from every other: a copied or swapped file is noticed.
CREATE TABLE _switchback_identity (identity TEXT NOT NULL);

-- Where writes go, for applications that ask the store they have at hand.
CREATE TABLE _switchback_route (writes TEXT NOT NULL, epoch INTEGER NOT NULL);
INSERT INTO _switchback_route (writes, epoch) VALUES ('sqlite', 0);

-- While a row stands here, the fence trigger refuses every write to a captured table.
CREATE TABLE _switchback_fenced (one INTEGER PRIMARY KEY);

-- A row stands here only inside the sidecar's own transactions, where nobody else can see it: with it the fence
-- lets writes pass and the log ignores them.
CREATE TABLE _switchback_applying (one INTEGER PRIMARY KEY);

-- How far this file has come as a copy of PostgreSQL, and which sidecar may move it.
CREATE TABLE _switchback_position (position INTEGER NOT NULL, owner TEXT);
INSERT INTO _switchback_position (position) VALUES (0);

-- The last windows that brought it there: each one's mark and the keys that it touched.
CREATE TABLE _switchback_carried (position INTEGER PRIMARY KEY, mark TEXT NOT NULL, keys TEXT);
INSERT INTO _switchback_carried (position, mark) VALUES (0, '');

-- Rows of PostgreSQL that this file cannot hold, by their key.
CREATE TABLE _switchback_quarantine (
  table_name  TEXT NOT NULL,
  key         TEXT NOT NULL,
  column_name TEXT,
  reason      TEXT NOT NULL
);
CREATE INDEX _switchback_quarantine_key ON _switchback_quarantine (table_name, key);

-- The application's own triggers on captured tables, word for word, while they rest.
CREATE TABLE _switchback_resting (n INTEGER PRIMARY KEY, name TEXT NOT NULL, ddl TEXT NOT NULL);

-- The schema version before and after our own last change to the schema: any other step was somebody else's.
CREATE TABLE _switchback_version (before INTEGER NOT NULL, after INTEGER NOT NULL);
