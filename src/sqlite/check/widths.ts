// Counts the rows of wide tables that would not fit into a page of PostgreSQL, before anything is copied.
// PostgreSQL moves long values out of a row, but leaves a pointer of 18 bytes, and never moves values of up
// to 24 bytes. A row of hundreds of columns may be too wide although no value is long.
import type Database from "better-sqlite3";
import { StoredText } from "../../codec/stored-text.js";
import type { TableMapping } from "../../mapping/mapping.js";
import { encodeRow, keyOf } from "../../mapping/row-format.js";
import { exactList, fromTable } from "../source/queries.js";
import { stretches } from "./values.js";

/** The capacity of a heap page, with PostgreSQL's usual page of 8 KiB. */
export const ROW_BYTES_MAX = 8_160;
/** Tables with at most this many columns always fit. */
const WIDE_COLUMNS = 300;

const [POINTER, MOVABLE, HEADER] = [18, 24, 23];
/** Types of a fixed width, which is their alignment as well; the others are variable. */
const FIXED: Readonly<Record<string, number>> = {
  boolean: 1,
  smallint: 2,
  integer: 4,
  date: 4,
  real: 4,
  bigint: 8,
  "double precision": 8,
  timestamptz: 8,
  timestamp: 8,
  time: 8,
};

interface TooWide {
  readonly rows: number;
  /** The first such row's key, as JSON text. */
  readonly key: string;
  /** The widest row's width. */
  readonly bytes: number;
}

/** The rows that are too wide by estimate; null when there are none. */
export function tooWideRows(db: Database.Database, mapping: TableMapping): TooWide | null {
  if (mapping.columns.length <= WIDE_COLUMNS) return null;
  const text = StoredText.of(db);
  let [rows, key, widest] = [0, "", 0];
  for (const where of stretches(db, mapping)) {
    const select = `SELECT ${exactList(mapping.columns)} FROM ${fromTable(mapping.table)} WHERE ${where}`;
    for (const raw of db.prepare(select).safeIntegers(true).raw().iterate()) {
      const values = text.values(raw as unknown[], mapping.columns.length);
      const { row } = encodeRow(mapping.columns, values);
      if (row === null) continue;
      const bytes = widthOf(mapping, row);
      if (bytes <= ROW_BYTES_MAX) continue;
      if (rows === 0) key = keyOf(mapping, values);
      rows++;
      widest = Math.max(widest, bytes);
    }
  }
  return rows === 0 ? null : { rows, key, bytes: widest };
}

/** The minimum size of a row in PostgreSQL, in bytes. */
function widthOf(mapping: TableMapping, row: readonly (string | null)[]): number {
  const nulls = row.includes(null) ? Math.ceil(row.length / 8) : 0;
  let width = aligned(HEADER + nulls, 8);
  for (const [i, { codec }] of mapping.columns.entries()) {
    const text = row[i] ?? null;
    if (text === null) continue;
    const fixed = codec.type === "uuid" ? 16 : FIXED[codec.type];
    if (fixed === undefined) {
      const bytes = 1 + variable(codec.type, text);
      width += bytes > MOVABLE ? POINTER : bytes;
    } else {
      width = aligned(width, fixed === 16 ? 1 : fixed) + fixed;
    }
  }
  return aligned(width, 8);
}

/** A variable value's bytes without its header. */
function variable(type: string, text: string): number {
  if (type === "bytea") return (text.length - 2) / 2;
  if (type === "jsonb") {
    if (text.startsWith('"')) return 8 + Buffer.byteLength(text) - 2;
    return /^[-\d]/.test(text) ? 8 + 4 + numeric(text) : 8 + Buffer.byteLength(text);
  }
  return /^numeric|^decimal/.test(type) ? numeric(text) : Buffer.byteLength(text);
}

/** Two bytes for the sign and the weight, and two for every four digits on either side of the decimal point. */
function numeric(text: string): number {
  const [whole = "", fraction = ""] = text.replace("-", "").split(".");
  return 2 + 2 * (Math.ceil(whole.replace(/^0+/, "").length / 4) + Math.ceil(fraction.length / 4));
}

function aligned(bytes: number, to: number): number {
  return Math.ceil(bytes / to) * to;
}
