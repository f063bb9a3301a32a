// The fence: the triggers that refuse writes while the file is closed. Every captured write inserts into the
// change log, so one trigger on the log, which names the epoch, refuses them all. An INSERT is logged only
// after it happened, and another trigger may have ended the statement by then. So each table has a second
// trigger that tries the log before an INSERT. It does nothing while the file is open.
import type Database from "better-sqlite3";
import { quote } from "../schema/model.js";
import { sql } from "../sql-files.js";

/** The trigger on the change log. */
export const FENCE = "_switchback_fence";

interface Wanted {
  readonly name: string;
  readonly sql: string;
}

/** True when every trigger of the fence exists, for that epoch. */
export function isFencePrepared(db: Database.Database, epoch: number): boolean {
  return missing(db, epoch).length === 0;
}

/**
 * Creates the fence, open: all of it, or at most so many of its triggers. The one that names the epoch comes last. The
 * caller holds a write transaction.
 */
export function prepareFence(db: Database.Database, epoch: number, most = Number.POSITIVE_INFINITY): void {
  create(db, missing(db, epoch).slice(0, most));
}

/**
 * Adds the triggers before an INSERT to a closed file of an earlier version; the log's own trigger stays
 * unchanged.
 */
export function prepareTableFences(db: Database.Database): void {
  create(
    db,
    missing(db, 0).filter(({ name }) => name !== FENCE),
  );
}

/** The triggers that are not there as they should be: after the first flip only the one that names the epoch. */
function missing(db: Database.Database, epoch: number): Wanted[] {
  const present = new Map(
    db
      .prepare(
        "SELECT name, sql FROM sqlite_schema WHERE type = 'trigger' AND name GLOB '_switchback_fence*'",
      )
      .raw()
      .all() as [string, string][],
  );
  return wanted(db, epoch).filter(({ name, sql }) => present.get(name) !== sql);
}

function create(db: Database.Database, triggers: readonly Wanted[]): void {
  for (const { name, sql } of triggers) {
    db.exec(`DROP TRIGGER IF EXISTS ${name}`);
    db.exec(sql);
  }
}

/** Removes the fence of a table that is no longer captured. */
export function dropTableFence(db: Database.Database, id: number): void {
  db.exec(`DROP TRIGGER IF EXISTS ${tableFence(id)}`);
}

function wanted(db: Database.Database, epoch: number): Wanted[] {
  const tables = db.prepare(sql("sqlite/captured-tables")).all() as { id: bigint | number; name: string }[];
  const all = tables.map(({ id, name }) => ({
    name: tableFence(Number(id)),
    sql:
      `CREATE TRIGGER ${tableFence(Number(id))} BEFORE INSERT ON ${quote(name)} ` +
      "WHEN EXISTS (SELECT 1 FROM _switchback_fenced) BEGIN INSERT INTO _switchback_log (t) VALUES (0); END",
  }));
  const log =
    `CREATE TRIGGER ${FENCE} BEFORE INSERT ON _switchback_log BEGIN ` +
    "SELECT RAISE(IGNORE) FROM _switchback_applying; " +
    `SELECT RAISE(ABORT, 'switchback: writes have moved to PostgreSQL (epoch ${epoch})') FROM _switchback_fenced; END`;
  return [...all, { name: FENCE, sql: log }];
}

function tableFence(id: number): string {
  return `${FENCE}_${id}`;
}
