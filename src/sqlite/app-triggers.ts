// Removes and restores the application's own triggers. While the file is only a copy they are kept word for
// word in a table of switchback's: their effects already came from the store with the writes. The caller
// holds a write transaction.
import type Database from "better-sqlite3";
import { quote } from "../schema/model.js";
import { putOnTop } from "./capture/trigger-order.js";

/** The tables, in lower case, that have triggers besides ours. */
export function triggeredTables(db: Database.Database): Set<string> {
  const names = db
    .prepare(
      "SELECT lower(tbl_name) FROM sqlite_schema WHERE type = 'trigger' AND name NOT GLOB '_switchback_*'",
    )
    .pluck()
    .all() as string[];
  return new Set(names);
}

/** Removes the application's triggers on these tables and records them, in their order. */
export function suspendTriggers(db: Database.Database, tables: readonly string[]): void {
  const captured = new Set(tables.map((name) => name.toLowerCase()));
  const triggers = db
    .prepare(
      "SELECT name, tbl_name, sql FROM sqlite_schema WHERE type = 'trigger' AND name NOT GLOB '_switchback_*' ORDER BY rowid",
    )
    .all() as { name: string; tbl_name: string; sql: string }[];
  for (const { name, tbl_name, sql: ddl } of triggers) {
    if (!captured.has(tbl_name.toLowerCase())) continue;
    db.prepare("INSERT INTO _switchback_resting (name, ddl) VALUES (?, ?)").run(name, ddl);
    db.exec(`DROP TRIGGER ${quote(name)}`);
  }
}

/**
 * Restores the recorded triggers, word for word and in their order; triggers created meanwhile stay.
 * Capture's triggers stay above them.
 */
export function restoreTriggers(db: Database.Database): void {
  const removed = db.prepare("SELECT name, ddl FROM _switchback_resting ORDER BY n").all() as {
    name: string;
    ddl: string;
  }[];
  for (const { name, ddl } of removed) {
    const there = db
      .prepare("SELECT 1 FROM sqlite_schema WHERE type = 'trigger' AND name = ? COLLATE NOCASE")
      .get(name);
    if (!there) db.exec(ddl);
  }
  db.exec("DELETE FROM _switchback_resting");
  putOnTop(db);
}
