// Finds the rows that a mapping would send to quarantine, before anything is copied. SQLite confirms most
// rows in one pass; only the doubtful ones are checked in JavaScript, one at a time. Long tables are read in
// parts, because in a rollback-journal database an open read blocks the application's commits.
import type Database from "better-sqlite3";
import { Refusal } from "../../codec/codec.js";
import { StoredText } from "../../codec/stored-text.js";
import { vouched } from "../../mapping/evidence.js";
import type { TableMapping } from "../../mapping/mapping.js";
import { encodeValue, keyOf } from "../../mapping/row-format.js";
import { quote } from "../../schema/model.js";
import { exactList, fromTable } from "../source/queries.js";

interface Refused {
  /** The SQLite column. */
  readonly column: string;
  readonly rows: number;
  /** The first such row's key, as JSON text. */
  readonly key: string;
  readonly reason: string;
}

export interface Assessment {
  readonly rows: number;
  /** How many rows hold a value that is not NULL, by SQLite column. */
  readonly values: ReadonlyMap<string, number>;
  readonly refused: readonly Refused[];
}

/** SQLite reads one part in about 20 ms. */
const STRETCH_ROWS = 20_000;

export function assess(db: Database.Database, mapping: TableMapping): Assessment {
  const refused = new Map<string, { rows: number; key: string; reason: string }>();
  for (const where of stretches(db, mapping)) {
    for (const { column, key, reason } of refusedValues(db, mapping, where)) {
      const known = refused.get(column) ?? { rows: 0, key, reason };
      refused.set(column, { ...known, rows: known.rows + 1 });
    }
  }
  return { ...countsOf(db, mapping), refused: [...refused].map(([column, rest]) => ({ column, ...rest })) };
}

/** Each value that is refused: a row with several counts for each of their columns. */
function* refusedValues(
  db: Database.Database,
  mapping: TableMapping,
  where: string,
): Generator<{ readonly column: string; readonly key: string; readonly reason: string }> {
  const sound = mapping.columns.map((column) => {
    const c = `r.${column.source}`;
    return `${vouched(column.codec, c)}${column.notNull ? ` AND ${c} IS NOT NULL` : ""}`;
  });
  // One test after another, because SQLite limits how deep an expression may nest.
  const doubtful = `CASE ${sound.map((test) => `WHEN NOT (${test}) THEN 1`).join(" ")} ELSE 0 END`;
  const select = `SELECT ${exactList(mapping.columns)} FROM ${fromTable(mapping.table)} WHERE ${where} AND ${doubtful}`;
  const text = StoredText.of(db);
  for (const row of db.prepare(select).safeIntegers(true).raw().iterate()) {
    const values = text.values(row as unknown[], mapping.columns.length);
    for (const [i, column] of mapping.columns.entries()) {
      const encoded = encodeValue(column, values[i] ?? null);
      if (!(encoded instanceof Refusal)) continue;
      yield { column: column.column ?? column.target, key: keyOf(mapping, values), reason: encoded.reason };
    }
  }
}

/** Conditions that together match every row exactly once. */
export function* stretches(db: Database.Database, mapping: TableMapping): Generator<string> {
  const { table } = mapping;
  if (table.withoutRowid || table.rowidAlias === null) {
    yield "TRUE";
    return;
  }
  const rowid = `r.${table.rowidAlias}`;
  let after = "TRUE";
  while (true) {
    const end = db
      .prepare(
        `SELECT ${rowid} FROM ${fromTable(table)} WHERE ${after} ORDER BY ${rowid} LIMIT 1 OFFSET ${STRETCH_ROWS - 1}`,
      )
      .safeIntegers(true)
      .pluck()
      .get() as bigint | undefined;
    if (end === undefined) {
      yield after;
      return;
    }
    yield `${after} AND ${rowid} <= ${literal(end)}`;
    after = `${rowid} > ${literal(end)}`;
  }
}

/** SQLite reads the digits of -2^63 as a REAL. */
function literal(value: bigint): string {
  return value === -(2n ** 63n) ? "(-9223372036854775807 - 1)" : value.toString();
}

/** A SELECT has a limit on its columns. */
const COUNTED_MAX = 500;

function countsOf(db: Database.Database, mapping: TableMapping): Pick<Assessment, "rows" | "values"> {
  const names = mapping.columns
    .flatMap(({ column }) => (column === null ? [] : [column]))
    .slice(0, COUNTED_MAX);
  const counts = db
    .prepare(
      `SELECT ${["count(*)", ...names.map((name) => `count(r.${quote(name)})`)].join(", ")} FROM ${fromTable(mapping.table)}`,
    )
    .raw()
    .get() as (bigint | number)[];
  const [rows, ...values] = counts.map(Number);
  return { rows: rows ?? 0, values: new Map(names.map((name, i) => [name, values[i] ?? 0])) };
}
