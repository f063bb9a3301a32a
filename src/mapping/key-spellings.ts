// The several spellings of one key in columns of type `any`. To SQLite 0, 0.0 and -0.0 are one key, as are 1
// and 1.0. To jsonb 1 and 1.0 are equal too, but {"$real": "-0.0"} is another key than 0. So only the sign of
// zero splits a key.
import { Refusal, type SqliteValue } from "../codec/codec.js";
import type { ColumnMapping, TableMapping } from "./mapping.js";
import { keyText } from "./row-format.js";

type Key = readonly (string | null)[];

/** The columns of the key whose values have several spellings. */
export function spelledColumns(mapping: TableMapping): readonly ColumnMapping[] {
  return mapping.key.filter(isSpelled);
}

/** The other keys that PostgreSQL may hold for this one key of SQLite; empty except for zeros. */
export function otherKeys(mapping: TableMapping, key: Key): Key[] {
  if (!mapping.key.some(isSpelled)) return [];
  const spellings = mapping.key.map((column, i) => {
    const text = key[i] ?? null;
    return [text, ...otherZero(column, text)];
  });
  return product(spellings).slice(1);
}

/**
 * The texts under which a row of this key may be named, its own first. `zeros` says whether the two signs of zero
 * are one key, as in SQLite, or two, as in PostgreSQL.
 */
export function keyNames(
  mapping: TableMapping,
  values: readonly SqliteValue[],
  zeros: "one" | "two",
): string[] {
  if (!mapping.key.some(isSpelled)) return [keyText(values)];
  const spellings = mapping.key.map((column, i) => {
    const value = values[i] ?? null;
    return isSpelled(column) ? classesOf(value, zeros) : [value];
  });
  return product(spellings).map(keyText);
}

/** True when PostgreSQL treats both as the same key, provided that SQLite does. */
export function sameZeros(
  mapping: TableMapping,
  one: readonly SqliteValue[],
  other: readonly SqliteValue[],
): boolean {
  return mapping.key.every(
    (column, i) => !isSpelled(column) || Object.is(one[i], -0) === Object.is(other[i], -0),
  );
}

function isSpelled({ codec }: ColumnMapping): boolean {
  return codec.name === "any";
}

function otherZero(column: ColumnMapping, text: string | null): string[] {
  if (text === null || !isSpelled(column)) return [];
  const value = column.codec.decode(text);
  if (value !== 0 && value !== 0n) return [];
  // A column with numeric affinity never holds -0.0, and its codec refuses it.
  const other = column.codec.encode(Object.is(value, -0) ? 0n : -0);
  return other === null || other instanceof Refusal ? [] : [other];
}

/** The value in every storage class in which it is the same key. */
function classesOf(value: SqliteValue, zeros: "one" | "two"): SqliteValue[] {
  if (value === 0 || value === 0n) {
    const all = zeros === "one" ? [0n, 0, -0] : Object.is(value, -0) ? [-0] : [0n, 0];
    return [value, ...all.filter((other) => !Object.is(other, value))];
  }
  if (typeof value === "number") return whole(value) ? [value, BigInt(value)] : [value];
  // Beyond 2^53 not every integer is a REAL.
  if (typeof value === "bigint") return BigInt(Number(value)) === value ? [value, Number(value)] : [value];
  return [value];
}

function whole(value: number): boolean {
  return Number.isInteger(value) && Math.abs(value) <= 2 ** 63;
}

function product<T>(lists: readonly (readonly T[])[]): T[][] {
  return lists.reduce<T[][]>(
    (found, list) => found.flatMap((head) => list.map((item) => [...head, item])),
    [[]],
  );
}
