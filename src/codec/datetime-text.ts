// Dates, times and moments as text: reads the spellings that SQLite applications use, strictly and with the
// calendar, and writes them. 'now', two-digit years, 24:00 and leap seconds are refused, never interpreted.
// It knows no storage classes and no SQL.
//
// A moment is whole seconds since 1970 in UTC and the microseconds within that second. Text without a zone is
// UTC; a date alone is its midnight.
//
// A spelling is written as an example of itself: YYYY-MM-DD HH:MM:SS.fff+00:00. Its parts: the separator (blank
// or T), the seconds, the digits of the fraction, the zone (none, Z or an offset). YYYY-MM-DD alone is a date. A
// fraction in brackets is left out where it is zero, as Python does it: YYYY-MM-DD HH:MM:SS[.ffffff].

export interface Moment {
  readonly seconds: number;
  readonly micros: number;
}

export interface Spelling {
  /** Null: the date alone, for values at midnight. */
  readonly separator: " " | "T" | null;
  readonly withSeconds: boolean;
  /** The number of fraction digits; more are written where the value needs them. */
  readonly fraction: number;
  /** True where a whole second has no fraction at all. */
  readonly dropsZero: boolean;
  /** '', Z, +00, +0000, +00:00 or another offset in one of these forms. */
  readonly zone: string;
}

const DATE = String.raw`(\d{4})-(\d\d)-(\d\d)`;
const TIME = String.raw`(\d\d):(\d\d)(?::(\d\d)(?:\.(\d+))?)?`;
const ZONE = String.raw`(Z|[+-]\d\d(?::?\d\d)?)?`;
const MOMENT = new RegExp(`^${DATE}(?:([ T])${TIME}${ZONE})?$`);
const TIME_ONLY = new RegExp(`^${TIME}$`);

/** The years that both PostgreSQL and SQLite print with four digits. */
export const SECONDS_MIN = -62_135_596_800; // 0001-01-01 00:00:00
export const SECONDS_MAX = 253_402_300_799; // 9999-12-31 23:59:59
export const DAY_SECONDS = 86_400;
/** 1970-01-01 counted in days from 0000-03-01. */
const EPOCH_DAY = 719_468;
/** PostgreSQL keeps microseconds. */
export const FRACTION_DIGITS = 6;

interface ReadMoment extends Moment {
  readonly spelling: Spelling;
}

/** The moment that a text names, with its spelling; null when PostgreSQL holds no such moment exactly. */
export function readMoment(text: string): ReadMoment | null {
  const match = MOMENT.exec(text);
  if (!match) return null;
  const [, year, month, day, separator, hour = "00", minute = "00", second, fraction = "", zone = ""] = match;
  const days = dayNumber(Number(year), Number(month), Number(day));
  const time = clock(hour, minute, second, fraction);
  const offset = offsetSeconds(zone);
  if (days === null || time === null || offset === null) return null;
  const seconds = days * DAY_SECONDS + time.seconds - offset;
  if (seconds < SECONDS_MIN || seconds > SECONDS_MAX) return null;
  const spelling: Spelling = {
    separator: separator === " " || separator === "T" ? separator : null,
    withSeconds: second !== undefined,
    fraction: Math.min(fraction.length, FRACTION_DIGITS),
    dropsZero: false,
    zone,
  };
  return { seconds, micros: time.micros, spelling };
}

/** Seconds and microseconds since midnight for `HH:MM[:SS[.fraction]]`, or null. */
export function readTime(text: string): ReadMoment | null {
  const match = TIME_ONLY.exec(text);
  if (!match) return null;
  const [, hour = "", minute = "", second, fraction = ""] = match;
  const time = clock(hour, minute, second, fraction);
  if (!time) return null;
  const digits = Math.min(fraction.length, FRACTION_DIGITS);
  return {
    ...time,
    spelling: {
      separator: " ",
      withSeconds: second !== undefined,
      fraction: digits,
      dropsZero: false,
      zone: "",
    },
  };
}

function clock(hour: string, minute: string, second: string | undefined, fraction: string): Moment | null {
  const [h, m, s] = [Number(hour), Number(minute), Number(second ?? 0)];
  if (h > 23 || m > 59 || s > 59 || /[1-9]/.test(fraction.slice(FRACTION_DIGITS))) return null;
  const micros = Number(fraction.slice(0, FRACTION_DIGITS).padEnd(FRACTION_DIGITS, "0"));
  return { seconds: h * 3_600 + m * 60 + s, micros };
}

function dayNumber(year: number, month: number, day: number): number | null {
  if (year < 1 || month < 1 || month > 12 || day < 1 || day > daysIn(year, month)) return null;
  // Counting years from March puts the leap day at the end of one.
  const y = month <= 2 ? year - 1 : year;
  const sinceMarch = Math.floor((153 * ((month + 9) % 12) + 2) / 5) + day - 1;
  return 365 * y + Math.floor(y / 4) - Math.floor(y / 100) + Math.floor(y / 400) + sinceMarch - EPOCH_DAY;
}

function daysIn(year: number, month: number): number {
  if (month === 2) return (year % 4 === 0 && year % 100 !== 0) || year % 400 === 0 ? 29 : 28;
  return [4, 6, 9, 11].includes(month) ? 30 : 31;
}

/** Null beyond the offsets that PostgreSQL accepts. */
function offsetSeconds(zone: string): number | null {
  if (zone === "" || zone === "Z") return 0;
  const hours = Number(zone.slice(1, 3));
  const minutes = Number(zone.slice(3).replace(":", "") || 0);
  if (hours > 15 || minutes > 59) return null;
  return (zone.startsWith("-") ? -1 : 1) * (hours * 3_600 + minutes * 60);
}

/** The moment in that spelling; a fraction grows to 3 or 6 digits where the value needs them. */
export function writeMoment({ seconds, micros }: Moment, spelling: Spelling): string {
  const offset = offsetSeconds(spelling.zone) ?? 0;
  const local = seconds + offset;
  const inRange = local >= SECONDS_MIN && local <= SECONDS_MAX;
  const iso = new Date((inRange ? local : seconds) * 1_000).toISOString();
  const date = iso.slice(0, 10);
  if (spelling.separator === null && micros === 0 && iso.slice(11, 19) === "00:00:00") return date;
  const zone = inRange ? spelling.zone : "Z";
  return `${date}${spelling.separator ?? " "}${clockText(iso.slice(11, 19), micros, spelling)}${zone}`;
}

export function writeTime({ seconds, micros }: Moment, spelling: Spelling): string {
  return clockText(new Date(seconds * 1_000).toISOString().slice(11, 19), micros, spelling);
}

function clockText(time: string, micros: number, spelling: Spelling): string {
  if (micros === 0 && spelling.dropsZero) return time;
  const digits = micros === 0 ? "" : String(micros).padStart(FRACTION_DIGITS, "0").replace(/0+$/, "");
  const length = [spelling.fraction, 3].find((n) => n >= digits.length) ?? FRACTION_DIGITS;
  if (!spelling.withSeconds && digits === "" && time.endsWith(":00")) return time.slice(0, 5);
  return length === 0 ? time : `${time}.${digits.padEnd(length, "0")}`;
}

/** The moment as PostgreSQL prints timestamptz in UTC: a fraction without trailing zeros. */
export function printed({ seconds, micros }: Moment, zone: "+00" | ""): string {
  return `${new Date(seconds * 1_000).toISOString().slice(0, 19).replace("T", " ")}${fractionText(micros)}${zone}`;
}

export function fractionText(micros: number): string {
  return micros === 0 ? "" : `.${String(micros).padStart(FRACTION_DIGITS, "0").replace(/0+$/, "")}`;
}

export function spellingText(spelling: Spelling): string {
  if (spelling.separator === null) return "YYYY-MM-DD";
  const digits = spelling.fraction === 0 ? "" : `.${"f".repeat(spelling.fraction)}`;
  const fraction = spelling.dropsZero ? `[${digits}]` : digits;
  const clockPart = spelling.withSeconds ? `HH:MM:SS${fraction}` : "HH:MM";
  return `YYYY-MM-DD${spelling.separator}${clockPart}${spelling.zone}`;
}

const SPELLING = /^YYYY-MM-DD(?:([ T])HH:MM(:SS(?:(\[)?\.(f{1,6})\]?)?)?(Z|[+-]\d\d(?::?\d\d)?)?)?$/;

/** SQLite's own spelling, which CURRENT_TIMESTAMP and datetime() write. */
export const PLAIN: Spelling = { separator: " ", withSeconds: true, fraction: 0, dropsZero: false, zone: "" };

/** The inverse of `spellingText`; null for a text that is no spelling. */
export function parseSpelling(text: string | undefined): Spelling | null {
  if (text === undefined) return PLAIN;
  const match = SPELLING.exec(text);
  if (!match) return null;
  const [, separator, seconds, bracket, fraction = "", zone = ""] = match;
  return {
    separator: separator === " " || separator === "T" ? separator : null,
    withSeconds: seconds !== undefined,
    fraction: fraction.length,
    dropsZero: bracket !== undefined,
    zone,
  };
}
