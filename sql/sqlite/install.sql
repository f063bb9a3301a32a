-- The change log: one row per touched key, and nothing else. Plain INTEGER PRIMARY KEY is the cheapest
-- monotonic number as long as the newest row is never pruned. The key columns have no type, so that a key
-- keeps its storage class, and no constraint, so that no application statement can ever fail on them.
CREATE TABLE IF NOT EXISTS _switchback_log (seq INTEGER PRIMARY KEY, t, k1);

-- Which number stands for which table in the log, and the table's DDL when it was captured.
CREATE TABLE IF NOT EXISTS _switchback_table (id INTEGER PRIMARY KEY, name TEXT NOT NULL, ddl TEXT NOT NULL);

-- Tells this file from every other: a copied or swapped file is noticed.
CREATE TABLE IF NOT EXISTS _switchback_identity (identity TEXT NOT NULL);

-- Where writes go, for applications that ask the store they have at hand.
CREATE TABLE IF NOT EXISTS _switchback_route (writes TEXT NOT NULL, epoch INTEGER NOT NULL);
INSERT INTO _switchback_route (writes, epoch)
SELECT 'sqlite', 0 WHERE NOT EXISTS (SELECT 1 FROM _switchback_route);
