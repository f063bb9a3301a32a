// Values on their way into both stores and back. What SQLite would store and return is the measure: the
// application was written for it, so PostgreSQL's results are brought into the same form. It knows no statement.
import pg from "pg";
import { QueryError } from "./errors.js";

/** What may be bound. `undefined` and NaN become NULL, as SQLite has them. */
export type Value = string | number | bigint | boolean | Date | Uint8Array | null | undefined;
export type Row = Record<string, unknown>;

type Plain = string | number | bigint | Uint8Array | null;

/** Checks the number and the kinds of values and gives what both stores can hold. @throws QueryError */
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

/** Named by their numbers, as better-sqlite3 wants them for ?1, ?2 …; whole numbers are integers, not 1.0. */
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

/** As text that PostgreSQL reads by the type it expects: '1' is a valid boolean and a valid bigint. */
export function forPostgres(values: readonly Plain[]): (string | Buffer | null)[] {
  return values.map((value) => {
    if (value === null || typeof value === "string") return value;
    if (value instanceof Uint8Array) return Buffer.from(value.buffer, value.byteOffset, value.byteLength);
    if (Object.is(value, -0)) return "-0";
    // All digits: the shortest spelling of 2^60 is another integer than the one SQLite would store.
    return typeof value === "number" && Number.isInteger(value) ? String(BigInt(value)) : String(value);
  });
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

const MOMENT = /^(\d{4}-\d\d-\d\d) (\d\d:\d\d:\d\d)(?:\.(\d+))?\+00$/;

/** timestamptz as Date.toISOString spells it, with microseconds where there are some. Needs TimeZone = UTC. */
function moment(text: string): string {
  const [, day, time, fraction = ""] = MOMENT.exec(text) ?? [];
  return day === undefined ? text : `${day}T${time}.${fraction.padEnd(3, "0")}Z`;
}

/** SQLite has no decimals: a whole number stays exact, a fraction becomes the nearest double. */
function decimal(text: string): number | bigint {
  return /^-?\d+$/.test(text) ? safeInteger(BigInt(text)) : Number(text);
}

const asIs = (text: string) => text;

const PARSERS: Readonly<Record<number, (text: string) => unknown>> = {
  16: (text) => (text === "t" ? 1 : 0),
  20: (text) => safeInteger(BigInt(text)),
  114: asIs,
  1082: asIs,
  1114: asIs,
  1184: moment,
  1700: decimal,
  3802: asIs,
};

/** For pg's `types` option: this library's own parsers, others of the process left alone. */
export const postgresTypes = {
  getTypeParser(oid: number, format?: "text" | "binary"): (value: string) => unknown {
    const own = format === "binary" ? undefined : PARSERS[oid];
    return own ?? (pg.types.getTypeParser(oid, format ?? "text") as (value: string) => unknown);
  },
} as pg.CustomTypesConfig;
