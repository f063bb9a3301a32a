// What a file remembers of the last windows that it took over as a copy of the other store: where each led to, its
// mark, and the keys that it touched. With it a start can tell a store that only forgot that a window had arrived, as
// after a crash between the two commits, from one that was put back to an older moment and went on from there.
import type Database from "better-sqlite3";
import type { EncodedRow, KeysByTable, Position, Window } from "../../protocol/contract.js";

/** Windows remembered: what a server's crash takes back of commits that did not wait for its disk. */
const WINDOWS_MAX = 64;
/** Keys of a window remembered; of a larger one only its place is. */
const KEYS_MAX = 2_000;
const CHARACTERS_MAX = 64 * 1024;

/** Gathers a window's keys while it is applied. */
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
    // Two characters that SQLite does not take over into a file in UTF-16.
    const text = JSON.stringify([...this.keys])
      .replaceAll("\ufffe", "\\ufffe")
      .replaceAll("\uffff", "\\uffff");
    return text.length > CHARACTERS_MAX ? null : text;
  }
}

/** Remembers a window, within the transaction that applies it. */
export function remember(db: Database.Database, window: Window, touched: Touched): void {
  // What stood beyond it was forgotten by the other store, and is in this window once more.
  db.prepare("DELETE FROM _switchback_carried WHERE position > ?").run(window.from);
  db.prepare("INSERT OR REPLACE INTO _switchback_carried (position, mark, keys) VALUES (?, ?, ?)").run(
    window.to,
    window.mark,
    touched.text(),
  );
  db.prepare(
    `DELETE FROM _switchback_carried WHERE position <
       (SELECT position FROM _switchback_carried ORDER BY position DESC LIMIT 1 OFFSET ?)`,
  ).run(WINDOWS_MAX - 1);
}

/**
 * The keys that were carried beyond a position, as far as they are remembered; null when the window with this mark
 * did not lead there, or is too long ago: then the file is no copy of the store that says so.
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

/** Makes the file the copy of a store that it has carried nothing from yet. */
export function forgetCarried(db: Database.Database): void {
  if (Number(db.prepare("SELECT position FROM _switchback_position").pluck().get()) === 0) return;
  db.transaction(() => {
    db.exec("UPDATE _switchback_position SET position = 0; DELETE FROM _switchback_carried");
    db.exec("INSERT INTO _switchback_carried (position, mark) VALUES (0, '')");
  }).immediate();
}
