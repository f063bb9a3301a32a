// The text of the capture triggers, which append the touched keys to the change log. Their bodies run inside
// the application's own SQLite, whatever its version. They use INSERT … SELECT, WHERE, column references, and
// the functions of the table's own defaults, generated columns and indexes. A touched key is only a hint to
// read the row again: touching too many is harmless, missing one is not.
//
// Updates and deletions are captured BEFORE they happen. An AFTER trigger of another program, above all a
// TEMP trigger, may run first and end the statement with the row changed (RAISE IGNORE or FAIL). Only an
// insert is captured AFTER it happened, because an automatic id is unknown until then; install.ts keeps that
// trigger above the others.
//
// REPLACE evicts rows without firing DELETE triggers. So every unique constraint other than the key also has
// BEFORE triggers, which touch the keys of the rows that the write could evict.
//
// SQLite resolves every name in every trigger when a column is dropped, and refuses the DROP COLUMN for a name that is
// gone. The application may drop an index together with its columns. So these names have a second meaning in an outer
// scope: a one-row subquery called `new`, or `old`, that holds NULL under each name. SQLite looks in the inner scope
// first, so that the second meaning counts only once the column is gone.
import { present } from "../../present.js";
import { type Index, keyExpressions, quote, type Table } from "../../schema/model.js";
import { namesIn, WrittenRow } from "./written-row.js";

export interface Trigger {
  readonly name: string;
  readonly sql: string;
  /** The minimum that the trigger must contain to capture everything. */
  readonly statements: readonly string[];
}

/** The log's columns for a key of `width` columns: k1 … kn. */
export function logKeyColumns(width: number): string[] {
  return Array.from({ length: width }, (_, i) => `k${i + 1}`);
}

/** The name of the trigger that must run before any other AFTER INSERT trigger. */
export function insertTrigger(id: number): string {
  return `_switchback_${id}_insert`;
}

/** Every trigger that captures `table` under the log's number `id`. */
export function captureTriggers(table: Table, id: number): Trigger[] {
  const keys = keyExpressions(table);
  const target = `_switchback_log (t, ${logKeyColumns(keys.length).join(", ")})`;
  const on = `ON ${quote(table.name)}`;
  const touch = (values: readonly string[]) =>
    `INSERT INTO ${target} VALUES (${[id, ...values].join(", ")});`;
  const trigger = (suffix: string, when: string, ...statements: string[]): Trigger => {
    const name = `_switchback_${id}_${suffix}`;
    const text = `CREATE TRIGGER ${quote(name)} ${when} BEGIN ${statements.join(" ")} END`;
    return { name, sql: text, statements: [when, ...statements] };
  };
  const old = keys.map((key) => `OLD.${key}`);
  const arrival = new WrittenRow(table);
  const next =
    table.key.kind === "rowid"
      ? keys.map((key) => `NEW.${key}`)
      : table.key.columns.map((name) => arrival.value(name));
  // Compared byte for byte: 'Bob' → 'bob' is another key even where the column's collation says it is not. 1 → 1.0
  // and 0 → -0.0 are the same key, as they are to SQLite.
  const moved = keys.map((_, i) => `${old[i]} COLLATE BINARY IS NOT ${next[i]}`).join(" OR ");
  const triggers = [
    trigger("insert", `AFTER INSERT ${on}`, touch(keys.map((key) => `NEW.${key}`))),
    trigger("update", `BEFORE UPDATE ${on}`, touch(old)),
    trigger("rekey", `BEFORE UPDATE ${on} WHEN ${moved}`, touch(next)),
    trigger("delete", `BEFORE DELETE ${on}`, touch(old)),
  ];
  const victim = (eviction: Eviction) => `INSERT INTO ${target} ${victims(table, id, eviction)};`;
  const [onInsert, onUpdate] = evictions(table, arrival);
  if (onInsert.length > 0) {
    triggers.push(trigger("evict_insert", `BEFORE INSERT ${on}`, ...onInsert.map(victim)));
    triggers.push(trigger("evict_update", `BEFORE UPDATE ${on}`, ...onUpdate.map(victim)));
  }
  return triggers;
}

/** What a write may evict. */
interface Eviction {
  /** SQL over the table's present rows: true for the row that may be evicted, which is one at most. */
  readonly where: string;
  /** SQL over NEW and OLD: false where nothing can be evicted; empty where that is not known beforehand. */
  readonly when: string;
}

/** What an INSERT, and what an UPDATE, may evict. */
function evictions(table: Table, arrival: WrittenRow): readonly [Eviction[], Eviction[]] {
  const indexes = table.indexes.filter((index) => index.unique && !isTheKey(table, index));
  const onInsert = indexes.map((index) => ({ where: conflict(arrival, index), when: "" }));
  const numbered = arrival.withNextId();
  if (numbered) {
    const when = `NEW.${quote(present(table.integerPrimaryKey, "integer primary key"))} IS -1`;
    for (const index of indexes.filter((one) => arrival.computesFromId(one)))
      onInsert.push({ where: `${when} AND ${conflict(numbered, index)}`, when: "" });
  }
  const onUpdate = indexes.map((index) => ({
    where: conflict(arrival, index),
    when: changed(arrival, index),
  }));
  if (hasHiddenRowid(table)) {
    // A writer may name the rowid itself: REPLACE INTO t(rowid, …) evicts the row with that rowid.
    const rowid = present(table.rowidAlias, "name for the rowid");
    const where = `${rowid} = NEW.${rowid}`;
    onInsert.push({ where, when: "" });
    onUpdate.push({ where, when: `NEW.${rowid} IS NOT OLD.${rowid}` });
  }
  return [onInsert, onUpdate];
}

/** The key of the row that may be evicted, as a SELECT that survives the removal of the columns that it names. */
function victims(table: Table, id: number, { where, when }: Eviction): string {
  const keys = keyExpressions(table);
  // Under its own name, a table called new or old would hide the written row.
  const from = `FROM ${quote(table.name)}${/^(new|old)$/i.test(table.name) ? " AS present" : ""}`;
  const named = namesIn(`${where} ${when}`);
  const blank = table.columns
    .filter(({ name }) => named.has(name.toLowerCase()))
    .map(({ name }) => `NULL AS ${quote(name)}`)
    .join(", ");
  if (blank === "")
    return `SELECT ${id}, ${keys.join(", ")} ${from} WHERE ${when === "" ? "" : `${when} AND `}${where}`;
  const key = keys.map((one) => `(SELECT ${one} ${from} WHERE ${where})`).join(", ");
  const found = `EXISTS (SELECT 1 ${from} WHERE ${where})`;
  const test =
    when === ""
      ? found
      : `CASE WHEN (SELECT (SELECT ${when}) FROM (SELECT ${blank}) AS old) THEN ${found} END`;
  return `SELECT ${id}, ${key} FROM (SELECT ${blank}) AS new WHERE ${test}`;
}

/**
 * True when the index only repeats the key byte for byte, so that an evicted row has the key that is being
 * written.
 */
export function isTheKey(table: Table, index: Index): boolean {
  if (table.key.kind !== "columns" || index.where !== null) return false;
  const columns = index.terms.map((term) => term.column);
  const same =
    columns.length === table.key.columns.length && table.key.columns.every((name) => columns.includes(name));
  return same && index.terms.every((term) => term.collation.toUpperCase() === "BINARY");
}

/** True when the table has a rowid that is not its key. */
export function hasHiddenRowid(table: Table): boolean {
  return (
    !table.withoutRowid &&
    table.rowidAlias !== null &&
    table.key.kind === "columns" &&
    table.integerPrimaryKey === null
  );
}

/** SQL over the table's present rows: true for those that the arriving row would collide with in this index. */
function conflict(arrival: WrittenRow, index: Index): string {
  const equal = index.terms.map((term) => {
    const operand = term.column === null ? `(${term.expression})` : quote(term.column);
    return `${operand} COLLATE ${quote(term.collation)} = ${arrival.term(term, index.where)}`;
  });
  // A partial index's predicate is repeated so that the lookup can use the index; when the arriving row does
  // not satisfy it, one key too many is touched.
  return [...equal, ...(index.where === null ? [] : [`(${index.where})`])].join(" AND ");
}

/** A cheap test that avoids the lookup when an update leaves the index's columns unchanged; empty for none. */
function changed(arrival: WrittenRow, index: Index): string {
  // An expression or a predicate may depend on any column, and SQLite may compute a column again: always look
  // it up.
  const spared = index.terms.every(({ column }) => column !== null && !arrival.recomputes(column));
  if (index.where !== null || !spared) return "";
  // Byte for byte: the column's collation may differ from the index's.
  const tests = index.terms.map((term) => {
    const column = quote(present(term.column, "column of the index term"));
    return `NEW.${column} COLLATE BINARY IS NOT OLD.${column}`;
  });
  return tests.join(" OR ");
}
