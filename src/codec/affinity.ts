// SQLite's type affinity: how SQLite changes a value when it stores it in a column. Decoding needs it,
// because a value that SQLite would turn into another storage class cannot be given back as it is. It knows
// no codec.
import type { Affinity } from "../schema/model.js";
import { InvalidText, type SqliteValue } from "./codec.js";

/** Text that SQLite takes for a number: digits with an optional point and exponent, white space around it. */
const NUMBER = /^[ \t\n\v\f\r]*([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)[ \t\n\v\f\r]*$/;
const WHOLE = /^[+-]?\d+$/;
const INT64_MAX = 2n ** 63n - 1n;
const INT64_MIN = -(2n ** 63n);

/**
 * The value that a column of that affinity holds after `value` was stored in it. The digits of a number
 * stored in a TEXT column depend on SQLite's version; JavaScript's are used here.
 */
export function storedAs(value: SqliteValue, affinity: Affinity): SqliteValue {
  if (value === null || typeof value === "object") return value;
  if (affinity === "BLOB") return value;
  if (affinity === "TEXT") return typeof value === "string" ? value : String(value);
  const number = typeof value === "string" ? numberIn(value) : value;
  if (number === null) return value;
  if (affinity === "REAL") return Number(number) + 0;
  return typeof number === "number" ? wholeAsInteger(number) : number;
}

function numberIn(text: string): bigint | number | null {
  const digits = NUMBER.exec(text)?.[1];
  if (digits === undefined) return null;
  if (WHOLE.test(digits)) {
    const whole = BigInt(digits.startsWith("+") ? digits.slice(1) : digits);
    if (whole >= INT64_MIN && whole <= INT64_MAX) return whole;
  }
  return Number(digits);
}

/** INTEGER and NUMERIC columns keep a whole REAL as an INTEGER, except at the very ends of the range. */
function wholeAsInteger(real: number): bigint | number {
  if (!Number.isInteger(real) || Math.abs(real) >= 2 ** 63) return real;
  return BigInt(real);
}

/** True when both have the same class and the same value, byte for byte: 1 is not 1.0, 0.0 is not -0.0. */
export function sameValue(a: SqliteValue, b: SqliteValue): boolean {
  if (a instanceof Uint8Array && b instanceof Uint8Array) return Buffer.compare(a, b) === 0;
  if (a instanceof InvalidText && b instanceof InvalidText) return Buffer.compare(a.bytes, b.bytes) === 0;
  return Object.is(a, b);
}

/** A value as a message shows it: `the text "abc…"`, `the integer 12`. */
export function describeValue(value: SqliteValue): string {
  if (value === null) return "NULL";
  if (typeof value === "bigint") return `the integer ${value}`;
  if (typeof value === "number") return `the real ${Object.is(value, -0) ? "-0.0" : value}`;
  if (typeof value === "string") return `the text ${JSON.stringify(shortened(value))}`;
  if (value instanceof InvalidText) return `text that is not valid ${value.encoding}`;
  return `a blob of ${value.length} bytes`;
}

/** Long enough to recognise a value, short enough for a log line. */
const SHOWN_MAX = 40;

function shortened(text: string): string {
  return text.length <= SHOWN_MAX ? text : `${text.slice(0, SHOWN_MAX)}…`;
}
