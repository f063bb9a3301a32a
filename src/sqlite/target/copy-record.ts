// A file's record of itself as a copy of the other store, for status and verification: the position that it
// has reached, and the rows that it cannot hold. target.ts writes it.
import type Database from "better-sqlite3";
import { present } from "../../present.js";
import type { Position } from "../../protocol/contract.js";
import { sql } from "../../sql-files.js";

/** A row that the other store holds and this one cannot. */
export interface Quarantined {
  readonly key: string;
  readonly column: string | null;
  readonly reason: string;
}

/** The number of the other store's changes that were applied to the file. */
export function copiedPosition(db: Database.Database): Position {
  return Number(
    present(db.prepare("SELECT position FROM _switchback_position").pluck().get(), "position of the copy"),
  );
}

/** The number of rows of the table in quarantine, and the first of them. */
export function quarantinedRows(
  db: Database.Database,
  table: string,
  most: number,
): { count: number; rows: Quarantined[] } {
  const rows = db.prepare(sql("sqlite/quarantined")).all(table, most) as Quarantined[];
  const count = db
    .prepare("SELECT count(*) FROM _switchback_quarantine WHERE table_name = ?")
    .pluck()
    .get(table);
  return { count: Number(count), rows };
}

/** Brings a file that joins later to the epoch of the others. */
export function setEpoch(db: Database.Database, epoch: number): void {
  db.prepare("UPDATE _switchback_route SET epoch = ? WHERE epoch < ?").run(epoch, epoch);
}
