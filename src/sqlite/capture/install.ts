// Capture's installation: which tables are captured, under which numbers, whether all their triggers exist
// and are up to date, and the record of our own schema changes. The text of the triggers is in triggers.ts.
import { randomUUID } from "node:crypto";
import type Database from "better-sqlite3";
import { present } from "../../present.js";
import { type Position, SourceChanged } from "../../protocol/contract.js";
import { keyExpressions, quote, type Table } from "../../schema/model.js";
import { sql } from "../../sql-files.js";
import { restoreTriggers } from "../app-triggers.js";
import { dropTableFence } from "../fence.js";
import { isCurrent, migrateSqlite } from "../migrate.js";
import { isRecorded, type RecordedPair, recordPair } from "../pair.js";
import { preparedValue } from "../statements.js";
import { formerTriggers } from "./former-triggers.js";
import { isEvictTrigger, putCaptureOn, readCaptureOff, writtenSince } from "./off.js";
import { readRenames, settleRenames } from "./renames.js";
import { outranked, silenced } from "./trigger-order.js";
import { captureTriggers, logKeyColumns, type Trigger } from "./triggers.js";

export interface Captured {
  /** The log's number of each captured table. */
  readonly ids: ReadonlyMap<string, number>;
  /** The log holds every change of a table from this position on; a copy from before it lacks some. */
  readonly since: ReadonlyMap<string, Position>;
  /** Tables with missing triggers: their missed changes are unknown, so they must be copied again. */
  readonly fresh: readonly string[];
  readonly identity: string;
  /**
   * The file's schema version with everything installed; a different one means that another program changed
   * the schema.
   */
  readonly version: number;
}

/**
 * Installs the missing parts, in one write transaction. When everything exists it does nothing, so that a
 * restart takes no write lock. Triggers of tables that are no longer in `tables` are removed. `version` is
 * the file's schema version when `tables` were read; when it has changed since, SourceChanged is thrown.
 */
export function installSqliteCapture(
  db: Database.Database,
  tables: readonly Table[],
  version: number,
  /** The database to which the file belongs from now on. */
  pair: RecordedPair | null = null,
): Captured {
  const before = readCapture(db);
  const complete =
    before &&
    outdatedTriggers(db, tables, before.ids).size === 0 &&
    missingTriggers(db, tables, before.ids).size === 0 &&
    before.ids.size === tables.length &&
    readCaptureOff(db) === null;
  if (complete && isCurrent(db) && (pair === null || isRecorded(db, pair))) {
    return { ...before, fresh: [], version };
  }
  return db
    .transaction(() => {
      if (schemaVersion(db) !== version) throw new SourceChanged();
      migrateSqlite(db);
      settleRenames(db, readRenames(db), () => boundaryRow(db));
      const settled = readCapture(db);
      if (pair !== null) recordPair(db, pair);
      const width = Math.max(1, ...tables.map((table) => keyExpressions(table).length));
      const have = db.pragma("table_info(_switchback_log)") as { name: string }[];
      for (const column of logKeyColumns(width)) {
        if (!have.some(({ name }) => name === column))
          db.exec(`ALTER TABLE _switchback_log ADD COLUMN ${column}`);
      }
      db.prepare(
        "INSERT INTO _switchback_identity SELECT ? WHERE NOT EXISTS (SELECT 1 FROM _switchback_identity)",
      ).run(randomUUID());
      const known = capturedIds(db);
      for (const [name, id] of known) {
        if (tables.some((table) => table.name === name)) continue;
        dropTriggers(db, id);
        dropTableFence(db, id);
        db.prepare("DELETE FROM _switchback_table WHERE id = ?").run(id);
      }
      const fresh = [...missedTables(db, tables, known)].filter((name) =>
        tables.some((one) => one.name === name),
      );
      const outdated = outdatedTriggers(db, tables, known);
      const since = settled && fresh.length > 0 ? boundaryRow(db) : 0;
      for (const table of tables.filter(({ name }) => outdated.has(name) || fresh.includes(name))) {
        const id = known.get(table.name) ?? nextId(db);
        dropTriggers(db, id);
        const from = fresh.includes(table.name) ? since : logBegins(settled, table.name);
        db.prepare("INSERT OR REPLACE INTO _switchback_table (id, name, ddl, since) VALUES (?, ?, ?, ?)").run(
          id,
          table.name,
          table.sql,
          from,
        );
        for (const trigger of captureTriggers(table, id)) db.exec(trigger.sql);
      }
      putCaptureOn(db);
      db.exec("DROP TABLE _switchback_newest; CREATE TABLE _switchback_newest (one INTEGER PRIMARY KEY)");
      return {
        ...present(readCapture(db), "capture after its installation"),
        fresh,
        version: schemaVersion(db),
      };
    })
    .immediate();
}

/** The log's numbers, in a file in which capture is installed. */
function capturedIds(db: Database.Database): ReadonlyMap<string, number> {
  return present(readCapture(db), `capture in ${db.name}`).ids;
}

/** Since which position the log holds every change of a table that was captured before. */
function logBegins(before: ReturnType<typeof readCapture>, table: string): Position {
  return present(before?.since.get(table), `record of the captured table ${table}`);
}

/**
 * Logs a row about no table, so that changes missed so far lie before a position of their own. A copy that
 * has reached it knows of them.
 */
export function boundaryRow(db: Database.Database): Position {
  return Number(db.prepare("INSERT INTO _switchback_log (t) VALUES (0)").run().lastInsertRowid);
}

/** The newest position whose change was pruned from the log; 0 when there is none. */
export function forgottenTo(db: Database.Database): Position {
  return Number(db.prepare("SELECT coalesce(min(seq) - 1, 0) FROM _switchback_log").pluck().get());
}

/** Changes with every change to the file's tables, indexes and triggers, and with VACUUM. */
export function schemaVersion(db: Database.Database): number {
  return Number(preparedValue(db, "PRAGMA schema_version").get());
}

/**
 * Records a schema change of ours next to the previous ones, so that its step of the schema version is not
 * attributed to another program.
 */
export function recordStep(db: Database.Database, before: number, after: number): void {
  const [last] = db.prepare("SELECT before, after FROM _switchback_version").all() as {
    before: bigint;
    after: bigint;
  }[];
  const from = last && Number(last.after) === before ? last.before : before;
  db.exec("DELETE FROM _switchback_version");
  db.prepare("INSERT INTO _switchback_version VALUES (?, ?)").run(from, after);
}

/** Records the present schema as known, whichever program made it. */
export function recordSchema(db: Database.Database): void {
  const version = schemaVersion(db);
  recordStep(db, version, version);
}

/**
 * True when no other program has changed the schema since a step of ours, or `recordSchema`, was last
 * recorded.
 */
export function isKnownSchema(db: Database.Database): boolean {
  const known = db.prepare("SELECT after FROM _switchback_version").pluck().get();
  return known !== undefined && Number(known) === schemaVersion(db);
}

/** True when every schema change from version `from` to `to` was one of ours. */
export function isOurStep(db: Database.Database, from: number, to: number): boolean {
  if (from === to) return true;
  const known = db.prepare("SELECT 1 FROM sqlite_schema WHERE name = '_switchback_version'").get();
  if (!known) return false;
  return (
    db
      .prepare("SELECT 1 FROM _switchback_version WHERE before <= ? AND ? < after AND after = ?")
      .get(from, from, to) !== undefined
  );
}

/** What capture finds in the file; null when it was never installed. */
export function readCapture(db: Database.Database): Omit<Captured, "fresh" | "version"> | null {
  const installed = db
    .prepare("SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = '_switchback_identity'")
    .get();
  if (!installed) return null;
  const identity = db.prepare("SELECT identity FROM _switchback_identity").pluck().get();
  if (typeof identity !== "string") return null;
  const rows = db.prepare("SELECT id, name, since FROM _switchback_table ORDER BY id").all() as {
    id: number;
    name: string;
    since: number;
  }[];
  return {
    ids: new Map(rows.map(({ id, name }) => [name, Number(id)])),
    since: new Map(rows.map(({ name, since }) => [name, Number(since)])),
    identity,
  };
}

/**
 * The tables whose triggers do not capture everything. Either a trigger is missing, or it lacks a statement
 * that the present indexes need, or the table was recreated and the triggers were restored. Their missed
 * changes are unknown.
 */
export function missingTriggers(
  db: Database.Database,
  tables: readonly Table[],
  ids: ReadonlyMap<string, number>,
  /** Triggers that may be missing, by name. */
  spared: (name: string) => boolean = () => false,
): Set<string> {
  const installed = installedTriggers(db);
  const remade = remadeTables(db);
  const covered = ({ name, statements }: Trigger) =>
    statements.every((statement) => installed.get(name)?.includes(statement) ?? false);
  const lost = tables.filter(({ name, ...table }) => {
    const id = ids.get(name);
    if (id === undefined || remade.has(name)) return true;
    const whole = { name, ...table };
    // Triggers of an earlier version are replaced; they missed no change that can be known.
    const present = (triggers: readonly Trigger[]) =>
      triggers.filter((one) => !spared(one.name)).every(covered);
    return !present(captureTriggers(whole, id)) && !present(formerTriggers(whole, id));
  });
  return new Set(lost.map(({ name }) => name));
}

/**
 * These, and the tables where a trigger of the application may have hidden a new row from ours. A table whose triggers
 * were taken off for a migration, and that took no write since, missed nothing.
 */
export function missedTables(
  db: Database.Database,
  tables: readonly Table[],
  ids: ReadonlyMap<string, number>,
): Set<string> {
  const missed = missingTriggers(db, tables, ids);
  const off = readCaptureOff(db);
  if (off && missed.size > 0) {
    const lost = missingTriggers(db, tables, ids, isEvictTrigger);
    for (const name of missed)
      if (!lost.has(name) && !writtenSince(db, ids.get(name) ?? -1, off)) missed.delete(name);
  }
  const mute = silenced(db, ids.values());
  for (const [name, id] of ids) if (mute.has(id)) missed.add(name);
  return missed;
}

/**
 * The tables that were created after capture was installed. A captured table among them was dropped and
 * created again. Its changes in between were not captured, even where its DDL and our triggers were restored.
 */
function remadeTables(db: Database.Database): Set<string> {
  const names = db.prepare(sql("sqlite/remade-tables")).pluck().all() as string[];
  return new Set(names.filter((name) => !/^(_switchback|sqlite)_/i.test(name)));
}

/**
 * Replaces triggers of an earlier version in a file that is only a copy, when no other program changed them
 * or the schema. The caller holds a write transaction.
 */
export function upgradeTriggers(db: Database.Database, tables: readonly Table[]): void {
  const ids = capturedIds(db);
  if (missingTriggers(db, tables, ids).size > 0) return;
  const outdated = outdatedTriggers(db, tables, ids);
  for (const table of tables) {
    const id = ids.get(table.name);
    if (id === undefined || !outdated.has(table.name)) continue;
    dropTriggers(db, id);
    for (const trigger of captureTriggers(table, id)) db.exec(trigger.sql);
  }
}

/** True when `upgradeTriggers` has nothing to do. */
export function areTriggersCurrent(db: Database.Database, tables: readonly Table[]): boolean {
  return outdatedTriggers(db, tables, capturedIds(db)).size === 0;
}

/**
 * The tables whose triggers differ in any byte from what capture would install today, or are not above the
 * others'. In addition to the above these are triggers that touch more than needed: a trigger that outlives
 * its index would keep the index's column from being dropped.
 */
function outdatedTriggers(
  db: Database.Database,
  tables: readonly Table[],
  ids: ReadonlyMap<string, number>,
): Set<string> {
  const installed = installedTriggers(db);
  const low = outranked(db, ids.values());
  const outdated = tables.filter((table) => {
    const id = ids.get(table.name);
    if (id === undefined || low.has(id)) return true;
    const wanted = captureTriggers(table, id);
    const present = [...installed.keys()].filter((name) => name.startsWith(`_switchback_${id}_`));
    return (
      present.length !== wanted.length || wanted.some(({ name, sql: text }) => installed.get(name) !== text)
    );
  });
  return new Set(outdated.map(({ name }) => name));
}

function installedTriggers(db: Database.Database): Map<string, string> {
  const rows = db
    .prepare("SELECT name, sql FROM sqlite_schema WHERE type = 'trigger' AND name GLOB '_switchback_*'")
    .all() as { name: string; sql: string }[];
  return new Map(rows.map((row) => [row.name, row.sql]));
}

function dropTriggers(db: Database.Database, id: number): void {
  const names = db
    .prepare("SELECT name FROM sqlite_schema WHERE type = 'trigger' AND name GLOB ?")
    .pluck()
    .all(`_switchback_${id}_*`) as string[];
  for (const name of names) db.exec(`DROP TRIGGER ${quote(name)}`);
}

function nextId(db: Database.Database): number {
  return Number(db.prepare("SELECT coalesce(max(id), 0) + 1 FROM _switchback_table").pluck().get());
}

/** Removes every trace of switchback from the file. */
export function removeCapture(db: Database.Database): void {
  db.transaction(() => {
    const triggers = db
      .prepare("SELECT name FROM sqlite_schema WHERE type = 'trigger' AND name GLOB '_switchback_*'")
      .pluck()
      .all() as string[];
    for (const name of triggers) db.exec(`DROP TRIGGER ${quote(name)}`);
    migrateSqlite(db);
    restoreTriggers(db);
    db.exec(sql("sqlite/uninstall"));
  }).immediate();
}
