// Closes a file that must not take writes, in any state: the copy that was kept, a restored backup, or a file
// from before switchback was installed. It also reports whether a file is closed.
import type Database from "better-sqlite3";
import { sql } from "../../sql-files.js";
import { boundaryRow, installSqliteCapture, readCapture, schemaVersion } from "../capture/install.js";
import { readRenames, settleRenames } from "../capture/renames.js";
import { openSqlite } from "../connection.js";
import { FENCE, isFencePrepared, prepareFence } from "../fence.js";
import { migrateSqlite, sqliteRecordsVersion } from "../migrate.js";
import { readIdentityRecord } from "../pair.js";
import { readSchema } from "../schema.js";
import { durableCommits, withWriteLock } from "../transaction.js";

interface FenceState {
  readonly closed: boolean;
  /** Null where switchback has no records. */
  readonly epoch: number | null;
  /** Switchback's id of the database that the file belongs to; null where the file does not say. */
  readonly pair: string | null;
}

export function readFenceState(db: Database.Database): FenceState {
  if (sqliteRecordsVersion(db) === 0) return { closed: false, epoch: null, pair: null };
  const { closed, epoch } = db.prepare(sql("sqlite/closed")).get(FENCE) as { closed: bigint; epoch: bigint };
  return { closed: closed === 1n, epoch: Number(epoch), pair: readIdentityRecord(db).pair?.id ?? null };
}

export interface CloseOrder {
  readonly file: string;
  /** The epoch under which the other store has the writes. */
  readonly epoch: number;
  /** Switchback's id of the database that has them. */
  readonly pair: string | null;
  /** The tables that must take no writes, in addition to those that the file records. */
  readonly tables: readonly string[];
  /** False: a file without switchback's records is left unchanged. */
  readonly bare: boolean;
}

export type Judged = "closed" | "open" | "bare";

/**
 * `open` must be closed. Other files were opened under a later epoch or by another database: they are closed
 * as far as this epoch is newer. `bare` is a file without records.
 */
export function judgeFile(state: FenceState, { epoch, pair }: Pick<CloseOrder, "epoch" | "pair">): Judged {
  if (state.epoch === null) return "bare";
  if (state.closed || state.epoch > epoch) return "closed";
  return state.pair === null || pair === null || state.pair === pair ? "open" : "closed";
}

/** Closes the file if it is open, or bare where the order says so. Resolves to its state before. */
export async function closeFile(order: CloseOrder, signal: AbortSignal): Promise<Judged> {
  const db = openSqlite(order.file, { readonly: false });
  try {
    durableCommits(db);
    return await withWriteLock(db, signal, () => {
      const found = judgeFile(readFenceState(db), order);
      if (found === "open" || (found === "bare" && order.bare)) closeStore(db, order.epoch, order.tables);
      return found;
    });
  } finally {
    db.close();
  }
}

/**
 * Run inside a write transaction. Tables without triggers get them: the fence refuses only writes that are
 * captured.
 */
export function closeStore(db: Database.Database, epoch: number, tables: readonly string[]): void {
  if (readCapture(db)) settleRenames(db, readRenames(db), () => boundaryRow(db));
  const recorded = [...(readCapture(db)?.ids.keys() ?? [])];
  const names = new Set([...tables, ...recorded]);
  const captured = readSchema(db).tables.filter(({ name }) => names.has(name));
  installSqliteCapture(db, captured, schemaVersion(db));
  migrateSqlite(db);
  if (!isFencePrepared(db, epoch)) prepareFence(db, epoch);
  db.exec("INSERT OR IGNORE INTO _switchback_fenced VALUES (1)");
}
