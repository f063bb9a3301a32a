// Capture during a migration of the application's: `switchback exec` takes the triggers off that could make a statement
// of the migration fail, and records since when. Those are the triggers that look for evicted rows: they alone name
// the table and its columns. All others stay, so that every written row is still logged, and a table without a written
// row has lost none.
import type Database from "better-sqlite3";
import type { Position } from "../../protocol/contract.js";
import { quote } from "../../schema/model.js";

interface CaptureOff {
  /** Null where it is not known what was captured before. */
  readonly position: Position | null;
}

/** True for the name of a trigger that looks for evicted rows. */
export function isEvictTrigger(name: string): boolean {
  return /^_switchback_\d+_evict_/.test(name);
}

/** Since when triggers are off for a migration; null where none are. */
export function readCaptureOff(db: Database.Database): CaptureOff | null {
  const known = db.prepare("SELECT 1 FROM sqlite_schema WHERE name = '_switchback_capture_off'").get();
  if (!known) return null;
  const rows = db.prepare("SELECT position FROM _switchback_capture_off").pluck().all() as (bigint | null)[];
  if (rows.length === 0) return null;
  const positions = rows.map((position) => (position === null ? null : Number(position)));
  return { position: positions.reduce((a, b) => (a === null || b === null ? null : Math.min(a, b))) };
}

/**
 * Takes the triggers off, and tells whether there were any, or are any off. `whole`: capture was complete until now.
 * The caller holds a write transaction.
 */
export function takeCaptureOff(db: Database.Database, whole: boolean): boolean {
  const triggers = db
    .prepare("SELECT name FROM sqlite_schema WHERE type = 'trigger'")
    .pluck()
    .all() as string[];
  const evicting = triggers.filter(isEvictTrigger);
  const off = readCaptureOff(db);
  if (evicting.length === 0) return off !== null;
  for (const name of evicting) db.exec(`DROP TRIGGER ${quote(name)}`);
  if (off) return true;
  db.prepare(
    "INSERT INTO _switchback_capture_off SELECT CASE WHEN ? THEN coalesce(max(seq), 0) END FROM _switchback_log",
  ).run(whole ? 1 : 0);
  return true;
}

/** The triggers are back. The caller holds a write transaction. */
export function putCaptureOn(db: Database.Database): void {
  db.exec("DELETE FROM _switchback_capture_off");
}

/** True when a row of the table with that number in the log was written since. */
export function writtenSince(db: Database.Database, id: number, { position }: CaptureOff): boolean {
  if (position === null) return true;
  const row = db.prepare("SELECT 1 FROM _switchback_log WHERE seq > ? AND t = ? LIMIT 1").get(position, id);
  return row !== undefined;
}
