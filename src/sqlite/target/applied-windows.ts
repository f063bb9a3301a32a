// A file's record of the last windows that it applied as a copy of the other store: the position each led to,
// its fingerprint, and the keys that it touched. With it a start can distinguish two cases. A store may have
// forgotten that a window arrived, as after a crash between the two commits. Or it was put back to an older
// state and continued from there.
import type Database from "better-sqlite3";
import type { EncodedRow, KeysByTable, Position, Window } from "../../protocol/contract.js";
import { sql } from "../../sql-files.js";

/**
 * The number of windows in the record: enough for the commits that a server's crash can lose before they
 * reach its disk.
 */
const WINDOWS_MAX = 64;
/** The number of keys recorded per window; of a larger window only the position is recorded. */
const KEYS_MAX = 2_000;
const CHARACTERS_MAX = 64 * 1024;

/** Collects a window's keys while it is applied. */
export class Touched {
  private readonly keys = new Map<string, EncodedRow[]>();
  private count = 0;

  add(table: string, key: EncodedRow): void {
    this.count += 1;
    if (this.count > KEYS_MAX) return;
    const mine = this.keys.get(table);
    if (mine) mine.push(key);
    else this.keys.set(table, [key]);
  }

  /** As text; null when they are too many. */
  text(): string | null {
    if (this.count > KEYS_MAX) return null;
    // Two characters that SQLite does not store unchanged in a UTF-16 file.
    const text = JSON.stringify([...this.keys])
      .replaceAll("\ufffe", "\\ufffe")
      .replaceAll("\uffff", "\\uffff");
    return text.length > CHARACTERS_MAX ? null : text;
  }
}

/** Records a window, within the transaction that applies it. */
export function remember(db: Database.Database, window: Window, touched: Touched): void {
  // The other store forgot the windows beyond it; this window contains their changes again.
  db.prepare("DELETE FROM _switchback_carried WHERE position > ?").run(window.from);
  db.prepare("INSERT OR REPLACE INTO _switchback_carried (position, mark, keys) VALUES (?, ?, ?)").run(
    window.to,
    window.mark,
    touched.text(),
  );
  db.prepare(sql("sqlite/forget-windows")).run(WINDOWS_MAX - 1);
}

/**
 * The keys that were applied beyond a position, as far as they are recorded. Null when the window with this
 * fingerprint did not lead there, or is too old. Then the file is no copy of the store that claims it.
 */
export function carriedBeyond(db: Database.Database, position: Position, mark: string): KeysByTable | null {
  const known = db
    .prepare("SELECT 1 FROM _switchback_carried WHERE position = ? AND mark = ?")
    .get(position, mark);
  if (known === undefined) return null;
  const texts = db
    .prepare("SELECT keys FROM _switchback_carried WHERE position > ? AND keys IS NOT NULL")
    .pluck()
    .all(position) as string[];
  const keys = new Map<string, EncodedRow[]>();
  for (const text of texts) {
    for (const [table, some] of JSON.parse(text) as [string, EncodedRow[]][])
      keys.set(table, [...(keys.get(table) ?? []), ...some]);
  }
  return keys;
}

/** Makes the file the copy of a store from which nothing was applied yet. */
export function forgetCarried(db: Database.Database): void {
  if (Number(db.prepare("SELECT position FROM _switchback_position").pluck().get()) === 0) return;
  db.transaction(() => {
    db.exec("UPDATE _switchback_position SET position = 0; DELETE FROM _switchback_carried");
    db.exec("INSERT INTO _switchback_carried (position, mark) VALUES (0, '')");
  }).immediate();
}
