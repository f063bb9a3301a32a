// date, time, timestamp and timestamptz. Moments come from TEXT in the spellings of datetime-text.ts, or from
// numbers: Unix seconds, Unix milliseconds, Julian days. A number must come back as the very same number;
// text that PostgreSQL did not change keeps its spelling, so several spellings may share a column.
//
// `clean` takes the column's prevailing spelling only. It relies on SQLite's date functions: a text that
// strftime() gives back unchanged has the right pattern and exists in the calendar.

import type { MomentSource } from "../schema/moment-source.js";
import { sameValue, storedAs } from "./affinity.js";
import type { SqliteValue } from "./codec.js";
import { type ColumnCodec, type PresentValue, refuse, unheld } from "./column-codec.js";
import {
  DAY_SECONDS,
  FRACTION_DIGITS,
  fractionText,
  type Moment,
  PLAIN,
  parseSpelling,
  printed,
  readMoment,
  readTime,
  SECONDS_MAX,
  SECONDS_MIN,
  type Spelling,
  writeMoment,
  writeTime,
} from "./datetime-text.js";
import type { CodecSpec } from "./registry.js";

const NOT_A_MOMENT = "is not a moment that PostgreSQL holds exactly";

/** `digits`: how many of a fraction of a second the type keeps; PostgreSQL would round what has more. */
export function momentCodec(spec: CodecSpec, [digits = FRACTION_DIGITS]: readonly number[]): ColumnCodec {
  if (spec.from === undefined || spec.from === "text") return textMoment(spec, digits);
  return spec.from === "digits" ? digitsMoment(spec) : numberMoment(spec, spec.from, digits);
}

function isFiner(micros: number, digits: number): boolean {
  return micros % 10 ** (FRACTION_DIGITS - digits) !== 0;
}

function tooFine(value: SqliteValue, { type }: CodecSpec) {
  return refuse(value, `has more digits after the seconds than ${type} keeps`);
}

function suffixOf({ type }: CodecSpec): "+00" | "" {
  return type.startsWith("timestamptz") ? "+00" : "";
}

function textMoment(spec: CodecSpec, digits: number): ColumnCodec {
  const spelling = parseSpelling(spec.spelling) ?? PLAIN;
  const suffix = suffixOf(spec);
  return {
    encode(value) {
      if (typeof value !== "string") return refuse(value, NOT_A_MOMENT);
      const moment = readMoment(value);
      if (!moment) return refuse(value, NOT_A_MOMENT);
      if (isFiner(moment.micros, digits)) return tooFine(value, spec);
      if (suffix === "" && !isUtc(moment.spelling.zone))
        return refuse(value, "has a zone, and timestamp has none");
      // These spellings are close to PostgreSQL's output; formatting a date again for comparison is slow.
      const { zone, withSeconds } = moment.spelling;
      if (withSeconds && (zone === "" || zone === "Z")) {
        return `${value.slice(0, 10)} ${value.slice(11, 19)}${fractionText(moment.micros)}${suffix}`;
      }
      return printed(moment, suffix);
    },
    decode(text) {
      const moment = readMoment(text);
      return moment ? writeMoment(moment, spelling) : unheld(text, "is not a moment of the years 1 to 9999");
    },
    clean: (c) => (spelling.fraction > digits ? `(${c} IS NULL)` : cleanMoment(c, spelling, suffix)),
    render: (c) => (spelling.zone === "" && suffix !== "" ? `(${c} || '+00')` : c),
  };
}

function isUtc(zone: string): boolean {
  return /^(?:|Z|[+-]00(?::?00)?)$/.test(zone);
}

function cleanMoment(c: string, spelling: Spelling, suffix: string): string {
  const utc = isUtc(spelling.zone);
  if (suffix === "" && !utc) return `(${c} IS NULL)`;
  // An offset moves moments of the first and the last day outside the supported years.
  const years = utc ? `${c} >= '0001-'` : `${c} >= '0002-' AND ${c} < '9999-'`;
  // SQLite's functions accept 24:00.
  const hours = spelling.separator === null ? "" : ` AND substr(${c}, 12, 2) <> '24'`;
  return `ifnull(${matches(c, spelling)} AND ${years}${hours}, 1)`;
}

/** SQL that is 1 for texts in exactly this spelling, 0 for all else, and NULL or 1 for NULL. */
function matches(c: string, { separator, withSeconds, fraction, zone }: Spelling): string {
  if (separator === null) return `${c} IS date(${c})`;
  const native = (fraction === 0 || fraction === 3) && /^(?:|Z|[+-]00:00)$/.test(zone);
  if (native && separator === " " && withSeconds && fraction === 0 && zone === "")
    return `${c} IS datetime(${c})`;
  const base = `%Y-%m-%d${separator}%H:%M`;
  if (native && !withSeconds) return `${c} IS strftime('${base}${zone}', ${c})`;
  if (native) return `${c} IS strftime('${base}:${fraction === 3 ? "%f" : "%S"}${zone}', ${c})`;
  const length = withSeconds ? 19 : 16;
  const head = `substr(${c}, 1, ${length})`;
  const digits = fraction === 0 ? "" : `.${"[0-9]".repeat(fraction)}`;
  // substr() of an empty blob is NULL.
  return `typeof(${c}) IN ('text', 'null') AND ${head} IS strftime('${base}${withSeconds ? ":%S" : ""}', ${head}) AND substr(${c}, ${length + 1}) GLOB '${digits}${zone}'`;
}

type NumberSource = Exclude<MomentSource, "text" | "digits">;
type EpochSource = Exclude<NumberSource, "julian">;

/** How many a second has of what the number counts. */
const PER_SECOND: Readonly<Record<EpochSource, bigint>> = {
  unix: 1n,
  unix_ms: 1_000n,
  unix_us: 1_000_000n,
  unix_ns: 1_000_000_000n,
};
const MICROS = 1_000_000n;

/** YYYYMMDDHHMMSS, as text or as an INTEGER. */
function digitsMoment(spec: CodecSpec): ColumnCodec {
  const suffix = suffixOf(spec);
  return {
    encode(value) {
      const moment = readDigits(value);
      return moment ? printed(moment, suffix) : refuse(value, "is not a moment as YYYYMMDDHHMMSS");
    },
    decode(text) {
      const moment = readMoment(text);
      if (!moment) return unheld(text, "is not a moment of the years 1 to 9999");
      if (moment.micros !== 0) return unheld(text, "is finer than the seconds of YYYYMMDDHHMMSS");
      const digits = printed(moment, "").replace(/\D/g, "");
      // An INTEGER drops the zeros of the years before 1000.
      return spec.spelling === "integer" && !digits.startsWith("0") ? BigInt(digits) : digits;
    },
    clean(c) {
      const text = `CAST(${c} AS TEXT)`;
      const spelled = `${dateInDigits(text)} || ' ' || ${clockInDigits(text)}`;
      const shape = `${text} NOT GLOB '*[^0-9]*' AND length(${text}) = 14 AND ${spelled} IS datetime(${spelled})`;
      const classes = `typeof(${c}) = '${spec.spelling === "integer" ? "integer" : "text"}'`;
      return `(${c} IS NULL OR ifnull(${classes} AND ${shape} AND ${text} >= '0001' AND substr(${text}, 9, 2) <> '24', 0))`;
    },
    render: (c) => `(${dateInDigits(c)} || ' ' || ${clockInDigits(c)} || '${suffix}')`,
  };
}

function dateInDigits(c: string): string {
  return `substr(${c}, 1, 4) || '-' || substr(${c}, 5, 2) || '-' || substr(${c}, 7, 2)`;
}

function clockInDigits(c: string): string {
  return `substr(${c}, 9, 2) || ':' || substr(${c}, 11, 2) || ':' || substr(${c}, 13, 2)`;
}

/** The moment that 14 digits name, or null. */
export function readDigits(value: SqliteValue): Moment | null {
  if (typeof value !== "string" && typeof value !== "bigint") return null;
  const match = /^(\d{4})(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)$/.exec(String(value));
  if (!match) return null;
  const [, year, month, day, hour, minute, second] = match;
  return readMoment(`${year}-${month}-${day} ${hour}:${minute}:${second}`);
}

function numberMoment(spec: CodecSpec, from: NumberSource, digits: number): ColumnCodec {
  const suffix = suffixOf(spec);
  const back = (moment: Moment): PresentValue => numberOf(moment, from, spec);
  return {
    encode(value) {
      const moment = momentOf(value, from);
      if (!moment) return refuse(value, `is not ${NAMES[from]} of the years 1 to 9999`);
      if (!sameValue(storedAs(back(moment), spec.affinity), value)) {
        return refuse(value, "is finer than the microseconds that PostgreSQL keeps");
      }
      if (isFiner(moment.micros, digits)) return tooFine(value, spec);
      return printed(moment, suffix);
    },
    decode(text) {
      const moment = readMoment(text);
      if (!moment) return unheld(text, "is not a moment of the years 1 to 9999");
      const value = back(moment);
      if (typeof value === "bigint" && BigInt.asIntN(64, value) !== value)
        return unheld(text, `is beyond the range of ${NAMES[from]}`);
      const again = momentOf(value, from);
      const exact = again && again.seconds === moment.seconds && again.micros === moment.micros;
      return exact ? value : unheld(text, `is finer than ${NAMES[from]} can be`);
    },
    clean: (c) => (digits < DIGITS[from] ? `(${c} IS NULL)` : cleanNumber(c, from)),
    render: (c) => renderNumber(c, from, suffix),
  };
}

const NAMES: Readonly<Record<NumberSource, string>> = {
  unix: "a count of seconds",
  unix_ms: "a count of milliseconds",
  unix_us: "a count of microseconds",
  unix_ns: "a count of nanoseconds",
  julian: "a Julian day",
};

/** The digits of a fraction of a second that a whole number of the unit may have. */
const DIGITS: Readonly<Record<NumberSource, number>> = {
  ...{ unix: 0, unix_ms: 3, unix_us: 6, unix_ns: 6, julian: 0 },
};

const EPOCH_JULIAN = 2_440_587.5;
const DAY_MICROS = 86_400_000_000;

function momentOf(value: SqliteValue | PresentValue, from: NumberSource): Moment | null {
  if (typeof value === "bigint") {
    if (from === "julian") return null;
    const per = PER_SECOND[from];
    return inYears(floored(value, per), (modulo(value, per) * MICROS) / per);
  }
  if (typeof value !== "number" || !Number.isFinite(value)) return null;
  if (from === "julian") return fromMicros((value - EPOCH_JULIAN) * DAY_MICROS);
  // A REAL has no digits for the nanoseconds of our century.
  if (from === "unix_ns") return null;
  // Splitting first keeps every bit of the fraction: multiplying a whole epoch by 1e6 would not.
  const unit = Number(MICROS / PER_SECOND[from]);
  const whole = Math.floor(value);
  const micros = BigInt(Math.round((value - whole) * unit)) + BigInt(whole) * BigInt(unit);
  return inYears(floored(micros, MICROS), modulo(micros, MICROS));
}

function fromMicros(micros: number): Moment | null {
  if (!Number.isFinite(micros)) return null;
  const whole = BigInt(Math.round(micros));
  return inYears(floored(whole, 1_000_000n), modulo(whole, 1_000_000n));
}

function inYears(seconds: bigint, micros: bigint): Moment | null {
  if (seconds < BigInt(SECONDS_MIN) || seconds > BigInt(SECONDS_MAX)) return null;
  return { seconds: Number(seconds), micros: Number(micros) };
}

function modulo(value: bigint, unit: bigint): bigint {
  return ((value % unit) + unit) % unit;
}

function floored(value: bigint, unit: bigint): bigint {
  return (value - modulo(value, unit)) / unit;
}

function numberOf({ seconds, micros }: Moment, from: NumberSource, spec: CodecSpec): bigint | number {
  if (from === "julian") return (seconds * 1_000_000 + micros) / DAY_MICROS + EPOCH_JULIAN;
  const per = PER_SECOND[from];
  if (per > MICROS) return BigInt(seconds) * per + BigInt(micros) * (per / MICROS);
  const perUnit = Number(MICROS / per);
  const whole = BigInt(seconds) * per + BigInt(Math.floor(micros / perUnit));
  const rest = micros % perUnit;
  const real = spec.affinity === "REAL" || spec.spelling === "real";
  return rest === 0 && !real ? whole : Number(whole) + rest / perUnit;
}

function cleanNumber(c: string, from: NumberSource): string {
  if (from === "julian") return `(${c} IS NULL)`;
  // Whole numbers of smaller units before 1970 would need floor division, which SQLite does not have.
  const range = {
    unix: `${c} BETWEEN ${SECONDS_MIN} AND ${SECONDS_MAX}`,
    unix_ms: `${c} BETWEEN 0 AND ${SECONDS_MAX}999`,
    unix_us: `${c} BETWEEN 0 AND ${SECONDS_MAX}999999`,
    unix_ns: `${c} >= 0 AND ${c} % 1000 = 0`,
  };
  return `(typeof(${c}) = 'integer' AND ${range[from]} OR ${c} IS NULL)`;
}

function renderNumber(c: string, from: NumberSource, suffix: string): string {
  if (from === "julian") return "NULL";
  if (from === "unix") return `(datetime(${c}, 'unixepoch') || '${suffix}')`;
  const per = PER_SECOND[from];
  // PostgreSQL reads no nanoseconds; the clean ones have none.
  const parts = per > MICROS ? `(${c} % ${per}) / ${per / MICROS}` : `${c} % ${per}`;
  const digits = String(per > MICROS ? MICROS : per).length - 1;
  return `(datetime(${c} / ${per}, 'unixepoch') || '.' || substr('${"0".repeat(digits - 1)}' || (${parts}), -${digits}) || '${suffix}')`;
}

/** date: midnights, spelled as a date, as a moment, or as the number that counts to it. */
export function dateCodec(spec: CodecSpec): ColumnCodec {
  if (spec.from !== undefined && spec.from !== "text") return countedDate(spec, spec.from);
  const spelling = spec.spelling === undefined ? null : parseSpelling(spec.spelling);
  return spelling === null || spelling.separator === null ? plainDate() : midnight(spelling);
}

const NOT_A_DATE = "is not a date of the years 1 to 9999";

function isMidnight({ seconds, micros }: Moment): boolean {
  return micros === 0 && seconds % DAY_SECONDS === 0;
}

/** Moments without a zone of their own, each at midnight: a zone would make another day of some. */
function midnight(spelling: Spelling): ColumnCodec {
  return {
    encode(value) {
      const moment = typeof value === "string" ? readMoment(value) : null;
      if (!moment || !isUtc(moment.spelling.zone)) return refuse(value, NOT_A_DATE);
      return isMidnight(moment)
        ? printed(moment, "").slice(0, 10)
        : refuse(value, "has a time of day, and a date has none");
    },
    decode(text) {
      const moment = text.length === 10 ? readMoment(text) : null;
      return moment ? writeMoment(moment, spelling) : unheld(text, NOT_A_DATE);
    },
    clean: (c) =>
      isUtc(spelling.zone)
        ? `ifnull(${matches(c, spelling)} AND ${c} >= '0001-' AND ${c} = date(${c}) || '${writeMoment(EPOCH, spelling).slice(10)}', 1)`
        : `(${c} IS NULL)`,
    render: (c) => `substr(${c}, 1, 10)`,
  };
}

/** As the moments of that source, each at midnight. */
function countedDate(spec: CodecSpec, from: Exclude<MomentSource, "text">): ColumnCodec {
  const moments = momentCodec({ ...spec, type: "timestamp" }, []);
  return {
    encode(value) {
      const text = moments.encode(value);
      if (typeof text !== "string") return text;
      return text.endsWith(" 00:00:00")
        ? text.slice(0, 10)
        : refuse(value, "has a time of day, and a date has none");
    },
    decode: (text) => (text.length === 10 ? moments.decode(`${text} 00:00:00`) : unheld(text, NOT_A_DATE)),
    clean: (c) => `(${moments.clean(c)} AND (${c} IS NULL OR ${midnightIn(c, from)}))`,
    render: (c) => `substr(${moments.render(c)}, 1, 10)`,
  };
}

function midnightIn(c: string, from: Exclude<MomentSource, "text">): string {
  if (from === "digits") return `substr(${c}, 9) = '000000'`;
  return from === "julian" ? "FALSE" : `${c} % ${BigInt(DAY_SECONDS) * PER_SECOND[from]} = 0`;
}

const EPOCH: Moment = { seconds: 0, micros: 0 };

/** YYYY-MM-DD and nothing else. */
function plainDate(): ColumnCodec {
  return {
    encode(value) {
      const moment = typeof value === "string" && value.length === 10 ? readMoment(value) : null;
      return moment && typeof value === "string" ? value : refuse(value, NOT_A_DATE);
    },
    decode: (text) => (text.length === 10 && readMoment(text) ? text : unheld(text, NOT_A_DATE)),
    clean: (c) => `ifnull(${c} IS date(${c}) AND ${c} >= '0001-', 1)`,
    render: (c) => c,
  };
}

/** time: HH:MM[:SS[.fraction]], spelled as the time part of a moment's spelling. */
export function timeCodec(spec: CodecSpec, [digits = FRACTION_DIGITS]: readonly number[]): ColumnCodec {
  const spelling = parseSpelling(spec.spelling) ?? PLAIN;
  return {
    encode(value) {
      const time = typeof value === "string" ? readTime(value) : null;
      if (!time) return refuse(value, "is not a time of day");
      return isFiner(time.micros, digits) ? tooFine(value, spec) : printed(time, "").slice(11);
    },
    decode(text) {
      const time = readTime(text);
      return time ? writeTime(time, spelling) : unheld(text, "is not a time of day");
    },
    clean: (c) => `ifnull(${c} IS time(${c}) AND ${c} < '24:', 1)`,
    render: (c) => c,
  };
}
