// The values that a SQLite table really holds, read from the file. It owns the SQL that reads values before a
// mapping exists. It reads only what a decision needs: a column of a definite type is not read. It decides
// nothing.
//
// No decision rests on a sample: a sample only proposes a type, and `refutation` checks the proposal over
// every row. SQLite does that with the codec's own `clean`. Only the values that SQLite cannot confirm are
// checked in JavaScript, one at a time.
import type Database from "better-sqlite3";
import { type Codec, Refusal, type SqliteValue } from "../codec/codec.js";
import { exactValues, StoredText } from "../codec/stored-text.js";
import { quote, type Table } from "../schema/model.js";

/** How many non-NULL values of each storage class a column holds. */
interface Classes {
  readonly integer: number;
  readonly real: number;
  readonly text: number;
  readonly blob: number;
}

export interface Evidence {
  /** Some values from both ends of the table, NULLs left out. */
  sample(column: string): readonly SqliteValue[];
  /** Over all rows. */
  classes(column: string): Classes;
  /** The smallest and the largest number; null when the column holds none. */
  numbers(column: string): { readonly min: number; readonly max: number } | null;
  /** True when some text has exactly this many characters. */
  anyOfLength(column: string, characters: number): boolean;
  /**
   * Why the codec does not hold every value of the column; null when it does. Stops at the first value that
   * it does not hold.
   */
  refutation(column: string, codec: Codec): string | null;
}

/** From each end; enough to see how a column is spelled. */
const SAMPLE_ROWS = 100;

/** Evidence about one table. Each query runs once. */
export function evidenceOf(db: Database.Database, table: Table): Evidence {
  const samples = new Map<string, readonly SqliteValue[]>();
  const classes = new Map<string, Classes>();
  return {
    sample: (column) => remembered(samples, column, () => sample(db, table, column)),
    classes: (column) => remembered(classes, column, () => classesOf(db, table, column)),
    numbers: (column) => numbersOf(db, table, column),
    anyOfLength: (column, characters) => anyOfLength(db, table, column, characters),
    refutation: (column, codec) => refutation(db, table, column, codec),
  };
}

function remembered<T>(known: Map<string, T>, column: string, ask: () => T): T {
  const value = known.get(column) ?? ask();
  known.set(column, value);
  return value;
}

function sample(db: Database.Database, table: Table, column: string): SqliteValue[] {
  const order = table.withoutRowid
    ? table.primaryKey.map((name) => `r.${quote(name)}`)
    : table.rowidAlias === null
      ? []
      : [`r.${table.rowidAlias}`];
  const select = `SELECT ${exactValues([`r.${quote(column)}`])} FROM ${quote(table.name)} AS r WHERE r.${quote(column)} IS NOT NULL`;
  const text = StoredText.of(db);
  const ends = order.length === 0 ? [""] : ["ASC", "DESC"];
  return ends.flatMap((direction) => {
    const by = direction === "" ? "" : ` ORDER BY ${order.map((term) => `${term} ${direction}`).join(", ")}`;
    return db
      .prepare(`${select}${by} LIMIT ${SAMPLE_ROWS}`)
      .raw()
      .all()
      .map((row) => text.values(row as unknown[], 1)[0] ?? null);
  });
}

function classesOf(db: Database.Database, table: Table, column: string): Classes {
  const sums = ["integer", "real", "text", "blob"].map(
    (name) => `sum(typeof(r.${quote(column)}) = '${name}')`,
  );
  const row = db
    .prepare(`SELECT ${sums.join(", ")} FROM ${quote(table.name)} AS r`)
    .raw()
    .get();
  const [integer = 0, real = 0, text = 0, blob = 0] = (row as (bigint | number | null)[]).map(Number);
  return { integer, real, text, blob };
}

function numbersOf(db: Database.Database, table: Table, column: string): { min: number; max: number } | null {
  const c = `r.${quote(column)}`;
  // Zero is left out: applications often write it for "never".
  const row = db
    .prepare(
      `SELECT min(${c}), max(${c}) FROM ${quote(table.name)} AS r WHERE typeof(${c}) IN ('integer', 'real') AND ${c} <> 0`,
    )
    .raw()
    .get() as [bigint | number | null, bigint | number | null];
  return row[0] === null || row[1] === null ? null : { min: Number(row[0]), max: Number(row[1]) };
}

function anyOfLength(db: Database.Database, table: Table, column: string, characters: number): boolean {
  const c = `r.${quote(column)}`;
  const where = `typeof(${c}) = 'text' AND length(${c}) = ${characters}`;
  return db.prepare(`SELECT 1 FROM ${quote(table.name)} AS r WHERE ${where} LIMIT 1`).get() !== undefined;
}

function refutation(db: Database.Database, table: Table, column: string, codec: Codec): string | null {
  const doubtful = `NOT (${vouched(codec, `r.${quote(column)}`)})`;
  const rows = db
    .prepare(`SELECT ${exactValues([`r.${quote(column)}`])} FROM ${quote(table.name)} AS r WHERE ${doubtful}`)
    .raw();
  const stored = StoredText.of(db);
  for (const row of rows.iterate()) {
    const text = codec.encode(stored.values(row as unknown[], 1)[0] ?? null);
    if (text instanceof Refusal) return text.reason;
  }
  return null;
}

/** Codecs of free text: their `clean` does not check whether the bytes are valid. */
const FREE_TEXT = new Set(["text", "varchar", "char", "json", "jsonb", "any"]);

/** A character that is not ASCII. */
const FOREIGN = "'*[^' || char(1) || '-' || char(127) || ']*'";

/**
 * SQL over a quoted column: 1 only when the codec certainly holds the value. ASCII is valid UTF-8. GLOB and
 * length() stop at a NUL; octet_length() does not.
 */
export function vouched(codec: Codec, column: string): string {
  if (!FREE_TEXT.has(codec.name)) return codec.clean(column);
  const ascii = `${column} NOT GLOB ${FOREIGN} AND length(${column}) = octet_length(${column})`;
  return `(${codec.clean(column)} AND ifnull(${ascii}, 1))`;
}
