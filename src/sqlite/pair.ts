// The database to which a SQLite file belongs, as the file records it.
import type Database from "better-sqlite3";

export interface RecordedPair {
  /** Switchback's id in the database. */
  readonly id: string;
  /** The server's system identifier and the database's oid; null where the server did not report them. */
  readonly place: string | null;
  /** For messages. */
  readonly address: string;
}

export interface IdentityRecord {
  /** The file's own identity; null where switchback was never installed. */
  readonly identity: string | null;
  /** Null where a version installed it that recorded none. */
  readonly pair: RecordedPair | null;
}

export function readIdentityRecord(db: Database.Database): IdentityRecord {
  return {
    identity: first<{ identity: string }>(db, "_switchback_identity")?.identity ?? null,
    pair: first<RecordedPair>(db, "_switchback_pair"),
  };
}

/** The first row of a table that may be missing. */
function first<Row>(db: Database.Database, table: "_switchback_identity" | "_switchback_pair"): Row | null {
  const there = db.prepare("SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = ?").get(table);
  return there ? ((db.prepare(`SELECT * FROM ${table}`).get() as Row | undefined) ?? null) : null;
}

/** True when the file records this already; a different address alone is no reason to write to it. */
export function isRecorded(db: Database.Database, { id, place }: RecordedPair): boolean {
  const { pair } = readIdentityRecord(db);
  return pair !== null && pair.id === id && (pair.place === place || place === null);
}

/** Run inside a write transaction, with the records at the present version. */
export function recordPair(db: Database.Database, { id, place, address }: RecordedPair): void {
  db.exec("DELETE FROM _switchback_pair");
  db.prepare("INSERT INTO _switchback_pair (id, place, address) VALUES (?, ?, ?)").run(id, place, address);
}

/**
 * Invalidates every copy of the file, and the file as a copy: a log row about no table separates the applied
 * positions from the following ones. Run inside a write transaction.
 */
export function leaveCopies(db: Database.Database): void {
  const marker = db.prepare("INSERT INTO _switchback_log (t) VALUES (0)").run().lastInsertRowid;
  db.prepare("UPDATE _switchback_table SET since = ?").run(marker);
  db.exec("UPDATE _switchback_position SET position = 0; DELETE FROM _switchback_carried");
  db.exec("INSERT INTO _switchback_carried (position, mark) VALUES (0, '')");
}
