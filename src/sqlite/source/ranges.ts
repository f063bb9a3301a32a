// Ranges of a table in its own order, and their bounds as text. A bound is a JSON array of [class, text]
// pairs, so that 64-bit integers, reals, blobs and invalid text come back exactly.
import type Database from "better-sqlite3";
import { InvalidText, type SqliteValue } from "../../codec/codec.js";
import { exactValues, StoredText } from "../../codec/stored-text.js";
import type { TableMapping } from "../../mapping/mapping.js";
import { present } from "../../present.js";
import type { Bound, Copied, Range } from "../../protocol/contract.js";
import { quote, rowidName, type Table } from "../../schema/model.js";
import { preparedRows } from "../statements.js";
import { beyond, boundParameters, fromTable, orderColumns, orderedByRowid } from "./queries.js";

/** Rows of a range that is compared in the background. */
const COMPARED_ROWS = 2_000;

function boundText(values: readonly SqliteValue[]): Bound {
  return JSON.stringify(
    values.map((value) => {
      if (typeof value === "bigint") return ["i", value.toString()];
      if (typeof value === "number") return ["r", String(value)];
      if (typeof value === "string") return ["t", value];
      if (value instanceof InvalidText) return ["x", Buffer.from(value.bytes).toString("hex")];
      if (value === null) throw new Error("NULL stands in no order");
      return ["b", Buffer.from(value).toString("hex")];
    }),
  );
}

export function boundValues(bound: Bound): SqliteValue[] {
  return (JSON.parse(bound) as [string, string][]).map(([kind, text]) => {
    if (kind === "i") return BigInt(text);
    if (kind === "r") return Number(text);
    if (kind === "t") return text;
    const bytes = Buffer.from(text, "hex");
    return kind === "x" ? new InvalidText(bytes) : bytes;
  });
}

/** The approximate number of rows: counted where that is quick, else estimated from the span of rowids. */
export function estimateRows(db: Database.Database, table: Table): number {
  const pages = Number(db.pragma("page_count", { simple: true }));
  const name = quote(table.name);
  // Counting reads one b-tree: a few milliseconds for every hundred megabytes in the page cache.
  if (pages < 500_000 || !orderedByRowid(table))
    return Number(db.prepare(`SELECT count(*) FROM ${name}`).pluck().get());
  const alias = present(rowidName(table), "name for the rowid");
  const span = db.prepare(`SELECT max(${alias}) - min(${alias}) + 1 FROM ${name}`).pluck().get();
  return Math.max(0, Number(span ?? 0));
}

/** The number of rows, without those whose key has a NULL. */
export function countKeyed(db: Database.Database, table: Table): number {
  const count = (where: string) =>
    Number(
      db
        .prepare(`SELECT count(*) FROM ${quote(table.name)}${where}`)
        .pluck()
        .get(),
    );
  const all = count("");
  if (table.key.kind !== "columns" || table.withoutRowid || table.integerPrimaryKey !== null) return all;
  return all - count(` WHERE ${table.key.columns.map((name) => `${quote(name)} IS NULL`).join(" OR ")}`);
}

/**
 * Cuts a table into ranges of about `rowsPerRange` rows. The outer ends are open, so that the ranges also
 * cover future rows.
 */
export function cutRanges(db: Database.Database, table: Table, rows: number, rowsPerRange: number): Range[] {
  const pieces = Math.max(1, Math.min(100_000, Math.ceil(rows / rowsPerRange)));
  const cuts =
    pieces === 1
      ? []
      : orderedByRowid(table)
        ? rowidCuts(db, table, pieces)
        : keyCuts(db, table, rowsPerRange);
  const ends: (Bound | null)[] = [null, ...cuts, null];
  return ends.slice(1).map((hi, number) => ({ table: table.name, number, lo: ends[number] ?? null, hi }));
}

/**
 * Cuts a table for a comparison, from its first row to its last one now, one range at a time. Each is a piece of some
 * ten milliseconds, however unevenly the keys are spread and however fast rows come in.
 */
export function comparisonCuts(db: Database.Database, table: Table): (after: Range | null) => Range | null {
  const last = edge(db, table, "DESC", "", []);
  return (after) => {
    if (last === null || after?.hi === last) return null;
    const lo = after?.hi ?? null;
    const low = lo === null ? { sql: "", values: [] } : within(db, table, lo, ">");
    const high = within(db, table, last, "<=");
    const where = `WHERE ${low.sql === "" ? "" : `${low.sql} AND `}${high.sql}`;
    const hi = edge(db, table, "ASC", where, [...low.values, ...high.values], COMPARED_ROWS - 1) ?? last;
    return { table: table.name, number: (after?.number ?? -1) + 1, lo, hi };
  };
}

/** The bound of the row at a place from one end of some rows; null where there are not as many. */
function edge(
  db: Database.Database,
  table: Table,
  order: "ASC" | "DESC",
  where: string,
  parameters: readonly unknown[],
  offset = 0,
): Bound | null {
  const columns = orderColumns(table);
  const by = columns.map((column) => `${column} ${order}`).join(", ");
  const row = preparedRows(
    db,
    `SELECT ${exactValues(columns)} FROM ${fromTable(table)} ${where} ORDER BY ${by} LIMIT 1 OFFSET ${offset}`,
  ).get(...parameters) as unknown[] | undefined;
  if (row === undefined) return null;
  const values = StoredText.of(db).values(row, columns.length);
  // Rows whose key has a NULL are in no target.
  return values.includes(null) ? null : boundText(values);
}

function within(
  db: Database.Database,
  table: Table,
  bound: Bound,
  operator: ">" | "<=",
): { sql: string; values: unknown[] } {
  return {
    sql: beyond(table, operator),
    values: boundParameters(table, StoredText.of(db), boundValues(bound)),
  };
}

/** Evenly spaced rowids: no scan is needed, and uneven ranges cost only balance. */
function rowidCuts(db: Database.Database, table: Table, pieces: number): Bound[] {
  const alias = present(rowidName(table), "name for the rowid");
  const row = db
    .prepare(`SELECT min(${alias}) AS lo, max(${alias}) AS hi FROM ${quote(table.name)}`)
    .safeIntegers()
    .get() as {
    lo: bigint | null;
    hi: bigint | null;
  };
  if (row.lo === null || row.hi === null) return [];
  const span = row.hi - row.lo;
  const cuts: Bound[] = [];
  for (let i = 1; i < pieces; i++) {
    const cut = boundText([row.lo + (span * BigInt(i)) / BigInt(pieces)]);
    if (cuts.at(-1) !== cut) cuts.push(cut);
  }
  return cuts;
}

/** Every n-th key of a WITHOUT ROWID table, in one scan. */
function keyCuts(db: Database.Database, table: Table, rowsPerRange: number): Bound[] {
  const columns = orderColumns(table);
  const order = columns.join(", ");
  const stored = StoredText.of(db);
  const walk = (where: string) =>
    db
      .prepare(
        `SELECT ${exactValues(columns)} FROM ${fromTable(table)} ${where} ORDER BY ${order} LIMIT 1 OFFSET ${rowsPerRange - 1}`,
      )
      .raw()
      .safeIntegers();
  const cuts: Bound[] = [];
  let row = walk("").get() as unknown[] | undefined;
  const next = walk(`WHERE ${beyond(table, ">")}`);
  while (row) {
    const key = stored.values(row, columns.length);
    cuts.push(boundText(key));
    row = next.get(...boundParameters(table, stored, key)) as unknown[] | undefined;
  }
  return cuts;
}

/** SQL and its parameters: the row lies in a range that the target holds. Adjoining ranges are merged first. */
export function copiedCondition(
  mapping: TableMapping,
  text: StoredText,
  copied: Copied,
): { sql: string; values: unknown[] } {
  if (copied === "all") return { sql: "", values: [] };
  const merged: Range[] = [];
  for (const range of [...copied].sort((a, b) => a.number - b.number)) {
    const last = merged.at(-1);
    if (last && last.hi !== null && last.hi === range.lo)
      merged[merged.length - 1] = { ...last, hi: range.hi };
    else merged.push(range);
  }
  const values: unknown[] = [];
  const inside = (bound: string | null, operator: ">" | "<=") => {
    if (bound === null) return [];
    values.push(...boundParameters(mapping.table, text, boundValues(bound)));
    return [beyond(mapping.table, operator)];
  };
  const terms = merged.map((range) =>
    ["1", ...inside(range.lo, ">"), ...inside(range.hi, "<=")].join(" AND "),
  );
  return { sql: terms.length === 0 ? "0" : `(${terms.join(" OR ")})`, values };
}
