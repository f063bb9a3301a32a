// Ranges of a table in its own order, and their bounds as text. A bound is a JSON array of [class, text]
// pairs, so that 64-bit integers, reals and blobs come back exactly.
import type Database from "better-sqlite3";
import { quote, type Table } from "../../schema.js";
import type { Bound, Range } from "../store.js";
import { beyond, fromTable, orderColumns, orderedByRowid } from "./select.js";

type BoundValue = bigint | number | string | Buffer;

export function boundText(values: readonly BoundValue[]): Bound {
  return JSON.stringify(
    values.map((value) => {
      if (typeof value === "bigint") return ["i", value.toString()];
      if (typeof value === "number") return ["r", String(value)];
      if (typeof value === "string") return ["t", value];
      return ["b", value.toString("hex")];
    }),
  );
}

export function boundValues(bound: Bound): BoundValue[] {
  return (JSON.parse(bound) as [string, string][]).map(([kind, text]) => {
    if (kind === "i") return BigInt(text);
    if (kind === "r") return Number(text);
    return kind === "t" ? text : Buffer.from(text, "hex");
  });
}

/** About how many rows a table has: counted where that is quick, else guessed from the span of rowids. */
export function estimateRows(db: Database.Database, table: Table): number {
  const pages = Number(db.pragma("page_count", { simple: true }));
  const name = quote(table.name);
  // Counting reads one b-tree: a few milliseconds for every hundred megabytes in the page cache.
  if (pages < 500_000 || !orderedByRowid(table))
    return Number(db.prepare(`SELECT count(*) FROM ${name}`).pluck().get());
  const alias = table.rowidAlias ?? "rowid";
  const span = db.prepare(`SELECT max(${alias}) - min(${alias}) + 1 FROM ${name}`).pluck().get();
  return Math.max(0, Number(span ?? 0));
}

/**
 * Cuts a table into ranges of about `rowsPerRange` rows. The outer ends are open, so that the ranges cover
 * every row that may come to be.
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

/** Evenly spaced rowids: no scan needed, and uneven ranges only cost balance. */
function rowidCuts(db: Database.Database, table: Table, pieces: number): Bound[] {
  const alias = table.rowidAlias ?? "rowid";
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

/** Every n-th key of a WITHOUT ROWID table, by one walk along it. */
function keyCuts(db: Database.Database, table: Table, rowsPerRange: number): Bound[] {
  const columns = orderColumns(table).join(", ");
  const walk = (where: string) =>
    db
      .prepare(
        `SELECT ${columns} FROM ${fromTable(table)} ${where} ORDER BY ${columns} LIMIT 1 OFFSET ${rowsPerRange - 1}`,
      )
      .raw()
      .safeIntegers();
  const cuts: Bound[] = [];
  let key = walk("").get() as BoundValue[] | undefined;
  const next = walk(`WHERE ${beyond(table, ">")}`);
  while (key) {
    cuts.push(boundText(key));
    key = next.get(...key) as BoundValue[] | undefined;
  }
  return cuts;
}
