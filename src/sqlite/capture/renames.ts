// Captured tables that the application renamed. SQLite moves a table's triggers with it, so that a trigger of ours tells
// which table now has the log's number. A table that was dropped and created again has no trigger.
import type Database from "better-sqlite3";
import { sql } from "../../sql-files.js";

export interface Rename {
  /** The table's number in the log. */
  readonly id: number;
  readonly from: string;
  readonly to: string;
}

/** The renames since the last look, in a file in which capture is installed. */
export function readRenames(db: Database.Database): Rename[] {
  const rows = db.prepare(sql("sqlite/renames")).all() as { id: bigint | number; from: string; to: string }[];
  return rows.map((row) => ({ ...row, id: Number(row.id) }));
}

/**
 * Records the new names. `since`: the position from which on the log holds every change of these tables as far as their
 * copies know; null where the copies were renamed as well. The caller holds a write transaction.
 */
export function settleRenames(
  db: Database.Database,
  renames: readonly Rename[],
  since: () => number | null,
): void {
  if (renames.length === 0) return;
  const from = since();
  const moved = new Set(renames.map(({ id }) => id));
  const rows = db.prepare("SELECT id, name FROM _switchback_table").all() as {
    id: bigint | number;
    name: string;
  }[];
  for (const { id, name } of rows) {
    // The table that had the name before was dropped.
    if (!moved.has(Number(id)) && renames.some(({ to }) => to === name))
      db.prepare("DELETE FROM _switchback_table WHERE id = ?").run(id);
  }
  for (const { id, to } of renames)
    db.prepare("UPDATE _switchback_table SET name = ?, since = coalesce(?, since) WHERE id = ?").run(
      to,
      from,
      id,
    );
}
