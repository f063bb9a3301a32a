// The part of a codec that each type in this folder provides. codecFor() adds the rules that hold for every
// type. Values are never NULL here, and text is valid UTF-8.
//
// `encode` is canonical: two SQLite values that mean one PostgreSQL value give the same text, and
// encode(decode(x)) is that text again. So whether a row still holds what PostgreSQL holds is a comparison of
// texts.
import type { Affinity } from "../schema/model.js";
import { describeValue } from "./affinity.js";
import { Refusal, type SqliteValue } from "./codec.js";

export type PresentValue = bigint | number | string | Uint8Array;

export interface ColumnCodec {
  encode(value: SqliteValue): string | Refusal;
  decode(text: string): PresentValue | Refusal;
  clean(column: string): string;
  render(column: string): string;
}

export function refuse(value: SqliteValue, why: string): Refusal {
  return new Refusal(`${describeValue(value)} ${why}`);
}

/** PostgreSQL holds a value that has no exact counterpart in SQLite for this column. */
export function unheld(text: string, why: string): Refusal {
  return new Refusal(`PostgreSQL's ${text.length > 40 ? `${text.slice(0, 40)}…` : text} ${why}`);
}

/** SQL: the column's class is one of `classes`, or NULL. */
export function isClass(
  column: string,
  ...classes: readonly ("integer" | "real" | "text" | "blob")[]
): string {
  return `(typeof(${column}) IN (${[...classes, "null"].map((name) => `'${name}'`).join(", ")}))`;
}

/**
 * SQL: as isClass, but a single comparison, for a column whose affinity leaves only some classes. SQLite
 * orders numbers before TEXT before BLOB, so one constant separates them at half the cost of typeof(). NULL
 * for NULL.
 */
export function isBelowText(column: string): string {
  return `(${column} < '')`;
}

export function isBelowBlob(column: string): string {
  return `(${column} < x'')`;
}

export function isBlob(column: string): string {
  return `(${column} >= x'')`;
}

/** SQL: text as a quoted CSV field. */
export function csvText(expression: string): string {
  return `('"' || replace(${expression}, '"', '""') || '"')`;
}

/** True for columns in which SQLite turns whole reals into integers and number-like text into numbers. */
export function turnsNumeric(affinity: Affinity): boolean {
  return affinity === "INTEGER" || affinity === "NUMERIC";
}
