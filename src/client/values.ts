// Values to and from both stores. SQLite's behaviour is the reference, because the application was written
// for it. It knows no statement and no driver: its types are part of the library's public interface.
import { QueryError } from "./errors.js";

/** The values that may be bound. `undefined` and NaN become NULL, as in SQLite. */
export type Value = string | number | bigint | boolean | Date | Uint8Array | null | undefined;
export type Row = Record<string, unknown>;

/** The values that both stores can hold. */
export type Plain = string | number | bigint | Uint8Array | null;

/** Checks the number and the kinds of values; returns values that both stores can hold. @throws QueryError */
function plain(value: Value, position: number): Plain {
  if (value === null || value === undefined || (typeof value === "number" && Number.isNaN(value)))
    return null;
  if (typeof value === "string" || typeof value === "number" || typeof value === "bigint") return value;
  if (typeof value === "boolean") return value ? 1 : 0;
  if (value instanceof Uint8Array) return value;
  if (value instanceof Date) {
    if (!Number.isNaN(value.getTime())) return value.toISOString();
    throw new QueryError(`parameter ${position} is an invalid Date`, { code: "VALUE" });
  }
  throw new QueryError(
    `parameter ${position} is ${describe(value)}: bind text, numbers, bigints, booleans, Dates, Uint8Arrays or null; for JSON pass JSON.stringify(value)`,
    { code: "VALUE" },
  );
}

function describe(value: unknown): string {
  return Array.isArray(value) ? "an array" : typeof value === "object" ? "an object" : `a ${typeof value}`;
}

/** The values for the placeholders, by the slots of a translated statement. @throws QueryError */
export function placedValues(
  values: readonly Value[],
  slots: readonly number[],
  parameters: number,
): Plain[] {
  if (!Array.isArray(values)) throw new QueryError("parameters are passed as an array", { code: "VALUE" });
  if (values.length !== parameters) {
    throw new QueryError(`the statement has ${parameters} parameters, ${values.length} values were passed`, {
      code: "VALUE",
    });
  }
  const ready = values.map((value, i) => plain(value, i + 1));
  return slots.map((slot) => ready[slot] ?? null);
}

/** By their numbers, as better-sqlite3 takes them for ?1, ?2 …; whole numbers are integers, not 1.0. */
export function forSqlite(values: readonly Plain[]): Record<string, Plain> {
  return Object.fromEntries(
    values.map((value, i) => [
      String(i + 1),
      typeof value === "number" && Number.isSafeInteger(value) && !Object.is(value, -0)
        ? BigInt(value)
        : value,
    ]),
  );
}

/** A number when it is exact, else the bigint. */
export function safeInteger(value: bigint): number | bigint {
  return value >= Number.MIN_SAFE_INTEGER && value <= Number.MAX_SAFE_INTEGER ? Number(value) : value;
}

/** A row of better-sqlite3 with safe integers, in place. */
export function fromSqlite(row: Row): Row {
  for (const name of Object.keys(row)) {
    const value = row[name];
    if (typeof value === "bigint") row[name] = safeInteger(value);
  }
  return row;
}
