// Capture: triggers that append the touched keys to the change log, and their installation. Bodies run inside
// the application's own SQLite, whatever its version: nothing but INSERT … SELECT, WHERE and column
// references. A touched key is only a hint to re-read, so touching too many is harmless and missing one is not.
//
// REPLACE evicts rows without firing DELETE triggers, so every unique constraint that is not the key itself
// also has BEFORE triggers, which touch the keys of the rows that the write could evict.
import { randomUUID } from "node:crypto";
import type Database from "better-sqlite3";
import { type Index, type IndexTerm, keyExpressions, quote, type Table } from "../../schema.js";
import { sql } from "../../sql.js";
import { type Position, SourceChanged } from "../store.js";
import { isCurrent, migrate } from "./migrate.js";
import { isRecorded, type RecordedPair, recordPair } from "./pair.js";
import { wakeTriggers } from "./resting.js";

export interface Captured {
  /** The log's number of each captured table. */
  readonly ids: ReadonlyMap<string, number>;
  /** The position from which on the log holds every change of a table: an older copy of it lacks some. */
  readonly since: ReadonlyMap<string, Position>;
  /** Tables whose triggers were not all there: what they missed is unknown, so they must be copied anew. */
  readonly fresh: readonly string[];
  readonly identity: string;
  /** The file's schema version with everything installed; another one means that somebody changed it. */
  readonly version: number;
}

interface Trigger {
  readonly name: string;
  readonly sql: string;
  /** What the trigger must at least contain to capture everything. */
  readonly statements: readonly string[];
}

/** The log's columns for a key of `width` columns: k1 … kn. */
export function logKeyColumns(width: number): string[] {
  return Array.from({ length: width }, (_, i) => `k${i + 1}`);
}

/** Every trigger that captures `table` under the log's number `id`. */
export function captureTriggers(table: Table, id: number): Trigger[] {
  const keys = keyExpressions(table);
  const target = `_switchback_log (t, ${logKeyColumns(keys.length).join(", ")})`;
  const on = `ON ${quote(table.name)}`;
  const touch = (row: "NEW" | "OLD") =>
    `INSERT INTO ${target} VALUES (${[id, ...keys.map((key) => `${row}.${key}`)].join(", ")});`;
  const trigger = (suffix: string, when: string, ...statements: string[]): Trigger => {
    const name = `_switchback_${id}_${suffix}`;
    const text = `CREATE TRIGGER ${quote(name)} ${when} BEGIN ${statements.join(" ")} END`;
    return { name, sql: text, statements: [when, ...statements] };
  };
  // Compared byte for byte: 'Bob' → 'bob' is another key even where the column's collation says it is not.
  const moved = keys.map((k) => `OLD.${k} COLLATE BINARY IS NOT NEW.${k}`).join(" OR ");
  const triggers = [
    trigger("insert", `AFTER INSERT ${on}`, touch("NEW")),
    trigger("update", `AFTER UPDATE ${on}`, touch("NEW")),
    trigger("rekey", `AFTER UPDATE ${on} WHEN ${moved}`, touch("OLD")),
    trigger("delete", `AFTER DELETE ${on}`, touch("OLD")),
  ];
  const evictions = table.indexes.filter((index) => index.unique && !isTheKey(table, index));
  const victim = (where: string) =>
    `INSERT INTO ${target} SELECT ${id}, ${keys.join(", ")} FROM ${quote(table.name)} WHERE ${where};`;
  const onInsert = evictions.map((index) => victim(conflict(table, index)));
  const onUpdate = evictions.map((index) => victim(`${changed(index)}${conflict(table, index)}`));
  if (hasHiddenRowid(table)) {
    // A writer may name the rowid itself: REPLACE INTO t(rowid, …) evicts whatever row stands there.
    const rowid = table.rowidAlias ?? "rowid";
    onInsert.push(victim(`${rowid} = NEW.${rowid}`));
    onUpdate.push(victim(`NEW.${rowid} IS NOT OLD.${rowid} AND ${rowid} = NEW.${rowid}`));
  }
  if (onInsert.length > 0) {
    triggers.push(trigger("evict_insert", `BEFORE INSERT ${on}`, ...onInsert));
    triggers.push(trigger("evict_update", `BEFORE UPDATE ${on}`, ...onUpdate));
  }
  return triggers;
}

/** True when the index only repeats the key byte for byte, so that a row it evicts has the very key being written. */
function isTheKey(table: Table, index: Index): boolean {
  if (table.key.kind !== "columns" || index.where !== null) return false;
  const columns = index.terms.map((term) => term.column);
  const same =
    columns.length === table.key.columns.length && table.key.columns.every((name) => columns.includes(name));
  return same && index.terms.every((term) => term.collation.toUpperCase() === "BINARY");
}

/** True when the table has a rowid that is not its key. */
function hasHiddenRowid(table: Table): boolean {
  return (
    !table.withoutRowid &&
    table.rowidAlias !== null &&
    table.key.kind === "columns" &&
    table.integerPrimaryKey === null
  );
}

/** SQL over the table's present rows: true for those that `NEW` would collide with in this index. */
function conflict(table: Table, index: Index): string {
  const equal = index.terms.map(
    (term) => `${operand(term)} COLLATE ${quote(term.collation)} = ${incoming(table, term)}`,
  );
  // A partial index's predicate is repeated so that the lookup can use the index; that NEW itself might not
  // satisfy it only touches a key too many.
  return [...equal, ...(index.where === null ? [] : [`(${index.where})`])].join(" AND ");
}

function operand(term: IndexTerm): string {
  return term.column === null ? `(${term.expression})` : quote(term.column);
}

function incoming(table: Table, term: IndexTerm): string {
  if (term.column !== null) return `NEW.${quote(term.column)}`;
  // The expression's own column names are bound to NEW's values by a one-row subquery, so that its text needs
  // no rewriting. Only names that occur in the text are offered.
  const text = (term.expression ?? "").toLowerCase();
  const offered = table.columns.filter((column) => text.includes(column.name.toLowerCase()));
  const row = offered.map((column) => `NEW.${quote(column.name)} AS ${quote(column.name)}`).join(", ");
  return `(SELECT ${term.expression} FROM (SELECT ${row === "" ? "1" : row}))`;
}

/** A cheap test that spares the lookup when an update leaves the index's columns alone. */
function changed(index: Index): string {
  // An expression or a predicate may depend on any column: always look.
  if (index.where !== null || index.terms.some((term) => term.column === null)) return "";
  const tests = index.terms.map(
    (term) => `NEW.${quote(term.column ?? "")} IS NOT OLD.${quote(term.column ?? "")}`,
  );
  return `(${tests.join(" OR ")}) AND `;
}

/**
 * Installs what is missing, in one write transaction, and nothing at all when everything is there, so that a
 * restart takes no write lock. Triggers of tables that are no longer in `tables` are removed. `version` is the
 * file's schema version when `tables` were read; when it has moved since, SourceChanged is thrown.
 */
export function installCapture(
  db: Database.Database,
  tables: readonly Table[],
  version: number,
  /** The database that the file belongs to from now on. */
  pair: RecordedPair | null = null,
): Captured {
  const present = readCapture(db);
  const complete =
    present &&
    outdatedTriggers(db, tables, present.ids).size === 0 &&
    missingTriggers(db, tables, present.ids).size === 0 &&
    present.ids.size === tables.length;
  if (complete && isCurrent(db) && (pair === null || isRecorded(db, pair))) {
    return { ...present, fresh: [], version };
  }
  return db
    .transaction(() => {
      if (schemaVersion(db) !== version) throw new SourceChanged();
      migrate(db);
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
      const known = readCapture(db)?.ids ?? new Map<string, number>();
      for (const [name, id] of known) {
        if (tables.some((table) => table.name === name)) continue;
        dropTriggers(db, id);
        db.prepare("DELETE FROM _switchback_table WHERE id = ?").run(id);
      }
      const fresh = [...missingTriggers(db, tables, known)];
      const outdated = outdatedTriggers(db, tables, known);
      const since = present && fresh.length > 0 ? logMarker(db) : 0;
      for (const table of tables.filter(({ name }) => outdated.has(name) || fresh.includes(name))) {
        const id = known.get(table.name) ?? nextId(db);
        dropTriggers(db, id);
        const from = fresh.includes(table.name) ? since : (present?.since.get(table.name) ?? 0);
        db.prepare("INSERT OR REPLACE INTO _switchback_table (id, name, ddl, since) VALUES (?, ?, ?, ?)").run(
          id,
          table.name,
          table.sql,
          from,
        );
        for (const trigger of captureTriggers(table, id)) db.exec(trigger.sql);
      }
      db.exec("DROP TABLE _switchback_newest; CREATE TABLE _switchback_newest (one INTEGER PRIMARY KEY)");
      const now = readCapture(db);
      if (!now) throw new Error("capture was installed but cannot be read back");
      return { ...now, fresh, version: schemaVersion(db) };
    })
    .immediate();
}

/**
 * Logs a row about no table, so that what was missed up to here lies before a position of its own: a copy that has
 * come as far has been told of it.
 */
function logMarker(db: Database.Database): Position {
  return Number(db.prepare("INSERT INTO _switchback_log (t) VALUES (0)").run().lastInsertRowid);
}

/** The newest position whose change the log has forgotten; 0 while it has all. */
export function forgottenTo(db: Database.Database): Position {
  return Number(db.prepare("SELECT coalesce(min(seq) - 1, 0) FROM _switchback_log").pluck().get());
}

/** Moves with every change to the file's tables, indexes and triggers, and with VACUUM. */
export function schemaVersion(db: Database.Database): number {
  return Number(db.pragma("schema_version", { simple: true }));
}

/**
 * Records a change of ours to the schema, beside the ones just before it, so that its step of the schema version
 * is not taken for a stranger's.
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

/** Records the schema as it is now as known, whoever made it so. */
export function recordSchema(db: Database.Database): void {
  const version = schemaVersion(db);
  recordStep(db, version, version);
}

/** True when nobody else has changed the schema since a step of ours, or `recordSchema`, was last recorded. */
export function isKnownSchema(db: Database.Database): boolean {
  const known = db.prepare("SELECT after FROM _switchback_version").pluck().get();
  return known !== undefined && Number(known) === schemaVersion(db);
}

/** True when every change of the schema from version `from` to `to` was one of ours. */
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
 * The tables whose triggers do not capture everything: one is gone, or lacks a statement that today's indexes
 * ask for, or the table was made again and they were put back. What such a table missed is unknown.
 */
export function missingTriggers(
  db: Database.Database,
  tables: readonly Table[],
  ids: ReadonlyMap<string, number>,
): Set<string> {
  const installed = installedTriggers(db);
  const remade = remadeTables(db);
  const covered = ({ name, statements }: Trigger) =>
    statements.every((statement) => installed.get(name)?.includes(statement) ?? false);
  const lost = tables.filter(({ name, ...table }) => {
    const id = ids.get(name);
    return id === undefined || remade.has(name) || !captureTriggers({ name, ...table }, id).every(covered);
  });
  return new Set(lost.map(({ name }) => name));
}

/**
 * The tables that were made after capture was installed. One that was captured and is among them was dropped and
 * made again: its rows went from one to the other unseen, even where its DDL and our triggers were put back.
 */
function remadeTables(db: Database.Database): Set<string> {
  const names = db
    .prepare(
      `SELECT t.name FROM sqlite_schema t JOIN sqlite_schema newest ON newest.name = '_switchback_newest'
        WHERE t.type = 'table' AND t.rowid > newest.rowid`,
    )
    .pluck()
    .all() as string[];
  return new Set(names.filter((name) => !/^(_switchback|sqlite)_/i.test(name)));
}

/**
 * The tables whose triggers are not letter by letter what capture would install today: besides the above, those
 * that touch more than needed. A trigger that outlives its index would keep the index's column from being
 * dropped.
 */
function outdatedTriggers(
  db: Database.Database,
  tables: readonly Table[],
  ids: ReadonlyMap<string, number>,
): Set<string> {
  const installed = installedTriggers(db);
  const outdated = tables.filter((table) => {
    const id = ids.get(table.name);
    if (id === undefined) return true;
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
    migrate(db);
    wakeTriggers(db);
    db.exec(sql("sqlite/uninstall"));
  }).immediate();
}
