// Values to and from PostgreSQL: its results get the form that SQLite's results have. It knows no statement.
import pg from "pg";
import { type Plain, safeInteger } from "./values.js";

/** As text that PostgreSQL reads by the type it expects: '1' is a valid boolean and a valid bigint. */
export function forPostgres(values: readonly Plain[]): (string | Buffer | null)[] {
  return values.map((value) => {
    if (value === null || typeof value === "string") return value;
    if (value instanceof Uint8Array) return Buffer.from(value.buffer, value.byteOffset, value.byteLength);
    if (Object.is(value, -0)) return "-0";
    // All digits: the shortest spelling of 2^60 is not the integer that SQLite would store.
    return typeof value === "number" && Number.isInteger(value) ? String(BigInt(value)) : String(value);
  });
}

const MOMENT = /^(\d{4}-\d\d-\d\d) (\d\d:\d\d:\d\d)(?:\.(\d+))?\+00$/;

/** timestamptz as Date.toISOString spells it, with microseconds where they are not zero. Needs TimeZone = UTC. */
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

/** For pg's `types` option: this library's own parsers, without changing those of the process. */
export const postgresTypes = {
  getTypeParser(oid: number, format?: "text" | "binary"): (value: string) => unknown {
    const own = format === "binary" ? undefined : PARSERS[oid];
    return own ?? (pg.types.getTypeParser(oid, format ?? "text") as (value: string) => unknown);
  },
} as pg.CustomTypesConfig;
