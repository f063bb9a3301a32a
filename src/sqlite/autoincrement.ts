// The highest id that an AUTOINCREMENT table ever gave out, in SQLite's own table for it. Every such table is
// listed there; any program may write anything there.
import type Database from "better-sqlite3";

/** Lets the next automatic id be above `mark`. */
export function raiseIdCeiling(db: Database.Database, table: string, mark: bigint): void {
  const { changes } = db
    .prepare("UPDATE sqlite_sequence SET seq = max(seq, ?) WHERE name = ?")
    .run(mark, table);
  if (changes === 0) db.prepare("INSERT INTO sqlite_sequence (name, seq) VALUES (?, ?)").run(table, mark);
}
