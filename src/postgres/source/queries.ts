// The statements that read rows by their logged keys, built from a table's mapping, and the form in which their
// values are transferred. A logged key is text; cast to its column's type it finds the row through the key's index.
//
// Bounds a read in bytes before any large value is fetched: the stored size of a value gives the size of its text.
import { Refusal } from "../../codec/codec.js";
import type { ColumnMapping, TableMapping } from "../../mapping/mapping.js";
import type { EncodedRow } from "../../protocol/contract.js";
import { quote } from "../../schema/model.js";
import { qualifiedName } from "../target/merge.js";

/** The text of rows held in memory at a time; one row may be larger. */
const BYTES_MAX = 8 * 2 ** 20;
/**
 * A row with more text than this is not read. A JavaScript string holds 512 Mi characters, and PostgreSQL sends no
 * row of more than 1 GiB.
 */
export const TEXT_MAX = 500 * 2 ** 20;
/** Rows of a batch. */
const BATCH_ROWS = 2_000;
/** The minimum weight of a row, so that one sum enforces both limits of a batch. */
const WEIGHT_MIN = Math.ceil(BYTES_MAX / BATCH_ROWS);

/** How a table is read by key. */
export interface TableReading {
  readonly id: number;
  readonly mapping: TableMapping;
  /** The key columns' types, as SQL. */
  readonly keyTypes: readonly string[];
}

/**
 * One row per distinct key of the JSON array $1: whether the row exists, the key, the row's columns. Fewer rows than
 * keys, each with the count of all, when the rows together exceed BYTES_MAX; a single one may have up to TEXT_MAX.
 */
export function readFew(reading: TableReading): string {
  const { mapping } = reading;
  const keys = mapping.key.map((_, i) => `k${i}`);
  const columns = mapping.columns.map((_, i) => `c${i}`);
  return `SELECT x.total, x.present, ${[...keys, ...columns].map((name) => `x.${name}`).join(", ")} FROM (
    SELECT count(*) OVER () AS total, t.tableoid IS NOT NULL AS present, ${keys.map((name) => `d.${name}`).join(", ")}, ${selected(mapping)},
           sum(${weight(mapping)}) OVER (ROWS UNBOUNDED PRECEDING) AS weight
      FROM (SELECT DISTINCT ${typedKey(reading, (i) => `j.key ->> ${i}`)} FROM json_array_elements($1::json) AS j(key)) AS d
      LEFT JOIN ${qualifiedName(mapping)} AS t ON ${matched(reading, "d")}) AS x
   WHERE x.weight <= ${BYTES_MAX} OR (x.total = 1 AND x.weight <= ${TEXT_MAX})`;
}

/** The temporary table of a wide window's changes, all followed tables together. */
export const TAKEN = "pg_temp.switchback_taken";

/**
 * Creates the list of a table's distinct keys. Each has three facts: whether its row exists, whether it is too large
 * to be read, and its batch.
 */
export function listKeys(reading: TableReading): string {
  const { mapping, id } = reading;
  const keys = mapping.key.map((_, i) => `k${i}`).join(", ");
  return `CREATE TEMP TABLE ${listName(id)} ON COMMIT DROP AS
    SELECT ${keys}, present, weight > ${TEXT_MAX} AS large,
           (sum(greatest(weight, ${WEIGHT_MIN})) OVER (PARTITION BY present, weight > ${TEXT_MAX} ORDER BY ${keys} ROWS UNBOUNDED PRECEDING) / ${BYTES_MAX})::bigint AS batch
      FROM (SELECT d.*, t.tableoid IS NOT NULL AS present, ${weight(mapping)} AS weight
              FROM (SELECT DISTINCT ${typedKey(reading, (i) => `a.key[${i + 1}]`)} FROM ${TAKEN} AS a WHERE a.t = ${id}) AS d
              LEFT JOIN ${qualifiedName(mapping)} AS t ON ${matched(reading, "d")}) AS weighed;
    CREATE INDEX ON ${listName(id)} (present, batch);
    ANALYZE ${listName(id)}`;
}

/** The batches of a table's list that hold any rows, or any keys of deleted rows. */
export function selectListBatches(reading: TableReading, present: boolean): string {
  return `SELECT DISTINCT batch FROM ${listName(reading.id)} WHERE present = ${present} AND NOT large ORDER BY batch`;
}

/** The number of keys in the JSON array $1 that are not among the changes in the log. */
export function countStrange(reading: TableReading): string {
  return `SELECT count(*) AS strange FROM (
    SELECT ${typedKey(reading, (i) => `j.key ->> ${i}`)} FROM json_array_elements($1::json) AS j(key)
    EXCEPT SELECT ${typedKey(reading, (i) => `c.key[${i + 1}]`)} FROM switchback.change AS c WHERE c.t = ${reading.id}) AS x`;
}

/** The rows of batch $1. */
export function readBatch(reading: TableReading): string {
  return `SELECT ${selected(reading.mapping)} FROM ${listName(reading.id)} AS d
    JOIN ${qualifiedName(reading.mapping)} AS t ON ${matched(reading, "d")} WHERE d.present AND NOT d.large AND d.batch = $1`;
}

/** The keys of rows that are too large to be read. */
export function readLarge(reading: TableReading): string {
  const keys = reading.mapping.key.map((_, i) => `d.k${i}`).join(", ");
  return `SELECT ${keys} FROM ${listName(reading.id)} AS d WHERE d.large`;
}

/** The keys of batch $1 whose rows were deleted. */
export function readGone(reading: TableReading): string {
  const keys = reading.mapping.key.map((_, i) => `d.k${i}`).join(", ");
  return `SELECT ${keys} FROM ${listName(reading.id)} AS d WHERE NOT d.present AND d.batch = $1`;
}

/**
 * Values as PostgreSQL prints them, in the row format. A value may have several texts (1.50 and 1.5, 1e+15 and
 * 1000000000000000, char(n) with and without its blanks). The text that the codec's `encode` gives is used. A value
 * that the codec does not hold stays as printed, for the target to refuse.
 */
export function interchanged(columns: readonly ColumnMapping[], row: (string | null)[]): EncodedRow {
  for (const [i, column] of columns.entries()) {
    if (SEVERAL_TEXTS.test(column.codec.name)) row[i] = canonical(column, row[i] ?? null);
  }
  return row;
}

const SEVERAL_TEXTS = /^(numeric|double precision|real|char)$/;

function canonical({ codec }: ColumnMapping, text: string | null): string | null {
  const value = codec.decode(text);
  if (value instanceof Refusal) return text;
  const encoded = codec.encode(value);
  return encoded instanceof Refusal ? text : encoded;
}

function listName(id: number): string {
  return `pg_temp.switchback_keys_${id}`;
}

function selected(mapping: TableMapping): string {
  return mapping.columns.map(({ target }, i) => `t.${quote(target)} AS c${i}`).join(", ");
}

function typedKey({ keyTypes }: TableReading, text: (i: number) => string): string {
  return keyTypes.map((type, i) => `(${text(i)})::${type} AS k${i}`).join(", ");
}

/**
 * The join by key. A collation may treat different texts as equal, as after 'Bob' became 'bob': the index finds both,
 * and the second comparison separates them.
 */
function matched({ mapping, keyTypes }: TableReading, alias: string): string {
  const tests = mapping.key.flatMap(({ target }, i) => {
    const [own, other] = [`t.${quote(target)}`, `${alias}.k${i}`];
    const textual = /^(text|character varying)$/.test(keyTypes[i] ?? "");
    return [`${own} = ${other}`, ...(textual ? [`${own} COLLATE "C" = ${other} COLLATE "C"`] : [])];
  });
  return tests.join(" AND ");
}

/** The approximate size of a row's values as text; large values are not fetched for it. */
function weight(mapping: TableMapping): string {
  const sizes = mapping.columns.flatMap(({ target, codec }) => {
    const own = `t.${quote(target)}`;
    if (/^(text|varchar|char|json)$/.test(codec.name)) return [`coalesce(octet_length(${own}::text), 0)`];
    if (codec.name === "bytea") return [`2 * coalesce(octet_length(${own}), 0)`];
    if (codec.name === "numeric") return [`3 * coalesce(pg_column_size(${own}), 0)`];
    // A small document cannot be large as text; a compressed one's stored size proves little.
    if (codec.type === "jsonb") {
      return [`CASE WHEN pg_column_size(${own}) > 1900 THEN octet_length(${own}::text) ELSE 2000 END`];
    }
    return [];
  });
  const fixed = 32 * (mapping.columns.length - sizes.length);
  return `(${[String(fixed), ...sizes].join(" + ")})::bigint`;
}
