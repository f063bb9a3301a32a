-- switchback's own records in PostgreSQL, as the first version installs them.
CREATE SCHEMA IF NOT EXISTS switchback;

-- The route, for applications that ask the store to which they are connected. One row.
CREATE TABLE switchback.route (
  one        boolean     PRIMARY KEY DEFAULT true CHECK (one),
  writes     text        NOT NULL CHECK (writes IN ('sqlite', 'paused', 'postgres')),
  epoch      bigint      NOT NULL,
  changed_at timestamptz NOT NULL DEFAULT now()
);
INSERT INTO switchback.route (writes, epoch) VALUES ('sqlite', 0);

-- One row per SQLite file. `position` moves in the same transaction as the rows (I2). `owner` names the sidecar that
-- may move it, so that a sidecar that lost its lock without noticing cannot write any more.
CREATE TABLE switchback.source (
  name       text        PRIMARY KEY,
  identity   text        NOT NULL,
  file       text        NOT NULL,
  schema     text        NOT NULL,
  position   bigint      NOT NULL DEFAULT 0,
  -- The fingerprint of SQLite's change log at that position: a restored backup has another one there.
  mark       text,
  -- SQLite's schema version when its tables were last read.
  version    bigint      NOT NULL DEFAULT -1,
  applied_at timestamptz,
  -- How many of PostgreSQL's changes were applied to the SQLite file: the position of reverse replication.
  consumed   bigint      NOT NULL DEFAULT 0,
  -- The fingerprint of the window that moved it there. The file records its last windows; a different one there means
  -- a different history.
  carried    text        NOT NULL DEFAULT '',
  owner      text
) WITH (fillfactor = 20);

-- One row per followed table. `ddl` is SQLite's text of the table when `mapping` was decided, `settings` the
-- configuration for that decision.
CREATE TABLE switchback.followed (
  source    text    NOT NULL REFERENCES switchback.source ON DELETE CASCADE,
  name      text    NOT NULL,
  -- The table's number in switchback.change.
  id        int     NOT NULL GENERATED ALWAYS AS IDENTITY UNIQUE,
  mapping   jsonb   NOT NULL,
  ddl       text    NOT NULL,
  settings  text    NOT NULL,
  estimated bigint  NOT NULL DEFAULT 0,
  -- copying: ranges are missing; finishing: all rows are present, keys and indexes are not; streaming.
  state     text    NOT NULL CHECK (state IN ('copying', 'finishing', 'streaming')),
  -- True when switchback created the table: teardown and a change of shape treat it as its own.
  made      boolean NOT NULL,
  PRIMARY KEY (source, name)
);

-- The stretches (lo, hi] of a table's order. `rows` is null until the range is copied, and set in the
-- transaction that adds its rows.
CREATE TABLE switchback.range (
  source     text   NOT NULL,
  table_name text   NOT NULL,
  number     int    NOT NULL,
  lo         text,
  hi         text,
  rows       bigint,
  PRIMARY KEY (source, table_name, number),
  FOREIGN KEY (source, table_name) REFERENCES switchback.followed ON DELETE CASCADE
);

-- Quarantine: rows that the target cannot hold, by the source's key. They are released when the application corrects
-- them.
CREATE TABLE switchback.quarantine (
  source      text        NOT NULL,
  table_name  text        NOT NULL,
  key         text        NOT NULL,
  column_name text,
  reason      text        NOT NULL,
  since       timestamptz NOT NULL DEFAULT now(),
  FOREIGN KEY (source, table_name) REFERENCES switchback.followed ON DELETE CASCADE
);
-- Hashed, because keys may exceed the maximum size of a btree entry.
CREATE INDEX quarantine_key ON switchback.quarantine (source, table_name, md5(key));

-- Foreign keys and triggers of adopted tables that would disturb an exact copy; restored when writes go to
-- PostgreSQL.
CREATE TABLE switchback.suspended (
  source     text NOT NULL,
  table_name text NOT NULL,
  kind       text NOT NULL CHECK (kind IN ('foreign key', 'reference', 'trigger')),
  name       text NOT NULL,
  definition text NOT NULL,
  PRIMARY KEY (source, table_name, kind, name),
  FOREIGN KEY (source, table_name) REFERENCES switchback.followed ON DELETE CASCADE
);

-- Changes that the copy may have missed while PostgreSQL had the writes, until a later comparison finds all rows
-- equal.
CREATE TABLE switchback.unknown (
  source     text        NOT NULL,
  table_name text        NOT NULL,
  reason     text        NOT NULL,
  since      timestamptz NOT NULL DEFAULT clock_timestamp(),
  PRIMARY KEY (source, table_name, reason),
  FOREIGN KEY (source, table_name) REFERENCES switchback.followed ON DELETE CASCADE
);

-- The last comparison of each source, and when it began.
CREATE TABLE switchback.verification (
  source    text        PRIMARY KEY REFERENCES switchback.source ON DELETE CASCADE,
  at        timestamptz NOT NULL DEFAULT now(),
  position  bigint      NOT NULL,
  equal     boolean     NOT NULL,
  different bigint      NOT NULL
);

-- PostgreSQL's change log: one row per touched key (the key's columns as text, in the key's order), and nothing else.
-- Rows leave in the order in which they become visible, so the log needs no number of its own. It is short-lived and
-- small, and is vacuumed before it becomes slow to read.
CREATE TABLE switchback.change (
  t   int    NOT NULL,
  key text[] NOT NULL
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000, autovacuum_analyze_threshold = 5000);

-- Holds a row while a sidecar has seen no change for some time. Only then does a write wake it with NOTIFY, because
-- commits that notify queue for one lock of the whole server.
CREATE TABLE switchback.sleeper (source text PRIMARY KEY);

-- Moves the position from exactly p_from to p_to, for its owner only.
CREATE FUNCTION switchback.advance(p_source text, p_owner text, p_from bigint, p_to bigint, p_mark text)
RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  UPDATE switchback.source
     SET position = p_to, mark = p_mark, applied_at = clock_timestamp()
   WHERE name = p_source AND owner = p_owner AND position = p_from;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'the position of source % is not % or its owner changed', p_source, p_from USING ERRCODE = 'SB001';
  END IF;
END
$$;

-- Locks the position until the transaction ends, so that a range is added as of exactly that position.
CREATE FUNCTION switchback.hold(p_source text, p_owner text, p_position bigint)
RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  PERFORM 1 FROM switchback.source WHERE name = p_source AND owner = p_owner AND position = p_position FOR SHARE;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'the position of source % is not % or its owner changed', p_source, p_position USING ERRCODE = 'SB001';
  END IF;
END
$$;

-- Inserts a staged batch row by row, for a batch that failed as a whole: `p_insert` writes the staged row
-- numbered $1. Returns the numbers that PostgreSQL refused, and why.
CREATE FUNCTION switchback.insert_each(p_insert text, p_last bigint)
RETURNS TABLE (n bigint, reason text) LANGUAGE plpgsql AS $$
BEGIN
  FOR i IN 1 .. p_last LOOP
    BEGIN
      EXECUTE p_insert USING i;
    EXCEPTION
      -- Values and constraints are the row's fault; anything else is not and must surface.
      WHEN data_exception OR integrity_constraint_violation OR program_limit_exceeded THEN
        n := i;
        reason := SQLERRM;
        RETURN NEXT;
    END;
  END LOOP;
END
$$;

-- Applications may read the route.
GRANT USAGE ON SCHEMA switchback TO PUBLIC;
GRANT SELECT ON switchback.route TO PUBLIC;
