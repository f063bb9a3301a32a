// Which database a SQLite file belongs to, as the file records it.
import type Database from "better-sqlite3";

export interface RecordedPair {
  /** Switchback's id in the database. */
  readonly id: string;
  /** The server's system identifier and the database's oid; null where the server did not tell. */
  readonly place: string | null;
  /** For messages. */
  readonly address: string;
}

export interface IdentityRecord {
  /** The file's own identity; null where switchback was never installed. */
  readonly identity: string | null;
  /** Null where it was installed by a version that recorded none. */
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

/** True when the file says so already; another address alone is no reason to write to it. */
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
 * From now on every copy of the file lacks something, and the file is a copy of none: a log row about no table lies
 * between what was applied anywhere and what comes. Run inside a write transaction.
 */
export function leaveCopies(db: Database.Database): void {
  const marker = db.prepare("INSERT INTO _switchback_log (t) VALUES (0)").run().lastInsertRowid;
  db.prepare("UPDATE _switchback_table SET since = ?").run(marker);
  db.exec("UPDATE _switchback_position SET position = 0; DELETE FROM _switchback_carried");
  db.exec("INSERT INTO _switchback_carried (position, mark) VALUES (0, '')");
}
