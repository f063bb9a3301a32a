// The row format between the stores. It encodes a SQLite row with its mapping's codecs and writes encoded
// rows as COPY's CSV. It also makes the canonical text of a key, by which quarantine, verification and
// messages name a row.
import { storedAs } from "../codec/affinity.js";
import { InvalidText, Refusal, type SqliteValue } from "../codec/codec.js";
import type { ColumnMapping, TableMapping } from "./mapping.js";

interface Encoded {
  /** Null when the row was refused. */
  readonly row: (string | null)[] | null;
  readonly column: string | null;
  readonly reason: string;
}

/** Encodes one row's values, in the order of `columns`; one refused value refuses the row. */
export function encodeRow(columns: readonly ColumnMapping[], values: readonly SqliteValue[]): Encoded {
  const row = new Array<string | null>(columns.length);
  for (const [i, column] of columns.entries()) {
    const text = encodeValue(column, values[i] ?? null);
    if (text instanceof Refusal)
      return { row: null, column: column.column ?? column.target, reason: text.reason };
    row[i] = text;
  }
  return { row, column: null, reason: "" };
}

/** One value by its column's codec; a NULL that the target refuses and a value too large for a string are refused. */
export function encodeValue(column: ColumnMapping, value: SqliteValue): string | null | Refusal {
  if (value === null) {
    return column.notNull ? new Refusal("is NULL, and the target column refuses NULL") : null;
  }
  try {
    return column.codec.encode(value);
  } catch (error) {
    if (isTooLong(error)) return new Refusal(TOO_LARGE);
    throw error;
  }
}

const TOO_LARGE = "is too large: as text it passes the 512 MiB that one value may have";

/** True when a string passed JavaScript's limit of about 512 MiB. PostgreSQL's limit for a row is close to it. */
function isTooLong(error: unknown): boolean {
  return error instanceof RangeError || (error as { code?: unknown }).code === "ERR_STRING_TOO_LONG";
}

/** An encoded row as bytes of COPY's CSV; a refusal when it is too large for that. */
export function csvBytes(row: readonly (string | null)[]): Buffer | Refusal {
  try {
    return Buffer.from(csvLine(row), "utf8");
  } catch (error) {
    if (isTooLong(error)) return new Refusal(TOO_LARGE);
    throw error;
  }
}

/** One line of COPY's CSV, newline included: NULL is an empty field, everything else is quoted. */
export function csvLine(row: readonly (string | null)[]): string {
  return `${row.map((value) => (value === null ? "" : `"${value.replaceAll('"', '""')}"`)).join(",")}\n`;
}

/** The positions of the key's columns in `mapping.columns`. */
export function keyIndexes(mapping: TableMapping): number[] {
  return mapping.key.map((key) => mapping.columns.findIndex((column) => column.target === key.target));
}

/** The key text of a row whose values stand in the order of `mapping.columns`. */
export function keyOf(mapping: TableMapping, values: readonly SqliteValue[]): string {
  return keyText(keyIndexes(mapping).map((i) => values[i] ?? null));
}

/** The values of a key in the row format, as SQLite stores them; a refusal where SQLite cannot hold one. */
export function decodeKey(mapping: TableMapping, key: readonly (string | null)[]): SqliteValue[] | Refusal {
  const values: SqliteValue[] = [];
  for (const [i, column] of mapping.key.entries()) {
    const value = column.codec.decode(key[i] ?? null);
    if (value instanceof Refusal) return value;
    values.push(storedAs(value, column.spec.affinity));
  }
  return values;
}

/** The key text of a key in the row format; where SQLite cannot hold the key, its texts as JSON. */
export function encodedKeyText(mapping: TableMapping, key: readonly (string | null)[]): string {
  const values = decodeKey(mapping, key);
  return values instanceof Refusal ? JSON.stringify(key) : keyText(values);
}

/** A key as JSON: [1], ["a",2.0], [-0.0], [{"$blob":"ff00"}]; the same values always give the same text. */
export function keyText(values: readonly SqliteValue[]): string {
  return `[${values.map(valueText).join(",")}]`;
}

function valueText(value: SqliteValue): string {
  if (value === null) return "null";
  if (typeof value === "bigint") return value.toString();
  if (typeof value === "number") {
    if (!Number.isFinite(value)) return JSON.stringify({ $real: String(value) });
    // toFixed drops the sign, and PostgreSQL may hold rows under both zeros.
    if (Object.is(value, -0)) return "-0.0";
    return Number.isInteger(value) && Math.abs(value) < 1e21 ? value.toFixed(1) : String(value);
  }
  if (typeof value === "string") return JSON.stringify(value);
  if (value instanceof InvalidText)
    return JSON.stringify({ $text: Buffer.from(value.bytes).toString("hex") });
  return JSON.stringify({ $blob: Buffer.from(value).toString("hex") });
}

/** True for a key text with a NULL in it; what stands within quotes is none. */
export function hasNull(key: string): boolean {
  return key.replace(/"(?:[^"\\]|\\.)*"/g, "").includes("null");
}

const KEY_PART =
  /(null)|(-?\d+(?:\.\d+)?(?:e[+-]?\d+)?)|("(?:[^"\\]|\\.)*")|\{"\$(blob|real|text)":"([^"]*)"\}/y;

/** The values of a key text, as the key's columns store them; null when the text does not fit the key. */
export function parseKeyText(mapping: TableMapping, text: string): SqliteValue[] | null {
  const values: SqliteValue[] = [];
  let at = 1;
  for (const column of mapping.key) {
    if (text[at - 1] !== (values.length === 0 ? "[" : ",")) return null;
    KEY_PART.lastIndex = at;
    const part = KEY_PART.exec(text);
    if (!part) return null;
    values.push(storedAs(partValue(part), column.spec.affinity));
    at = KEY_PART.lastIndex + 1;
  }
  return at === text.length && text.endsWith("]") ? values : null;
}

function partValue([, none, number, string, kind, held = ""]: RegExpExecArray): SqliteValue {
  if (none !== undefined) return null;
  if (number !== undefined) return /^-?\d+$/.test(number) ? BigInt(number) : Number(number);
  if (string !== undefined) return String(JSON.parse(string));
  if (kind === "real") return Number(held);
  const bytes = Buffer.from(held, "hex");
  return kind === "text" ? new InvalidText(bytes) : bytes;
}
