// How a column spells its values, guessed from a sample: the zone and the fraction of its moments, the words
// of its booleans, the layout of its JSON. A guess is only a proposal; see evidence.ts.

import { BOOLEAN_PAIRS } from "../codec/boolean.js";
import type { SqliteValue } from "../codec/codec.js";
import { readDigits } from "../codec/datetime.js";
import { parseSpelling, readMoment, readTime, spellingText } from "../codec/datetime-text.js";
import { uuidSpelling } from "../codec/uuid.js";
import type { MomentSource } from "../schema/moment-source.js";

/**
 * The prevailing spelling for a codec of that name; undefined where the type has no spellings, or its own
 * default fits.
 */
export function spellingFor(
  name: string,
  sample: readonly SqliteValue[],
  from: MomentSource = "text",
): string | undefined {
  const texts = sample.filter((value) => typeof value === "string");
  switch (name) {
    case "timestamptz":
    case "timestamp":
      if (from !== "text") return numberSpelling(sample, from);
      return commonSpelling(texts, readMoment);
    case "date": {
      if (from !== "text") return numberSpelling(sample, from);
      const common = prevailing(texts.map((text) => spelled(readMoment(text))));
      return common === DATE_ONLY ? undefined : common;
    }
    case "time":
      return commonSpelling(texts, readTime);
    case "boolean":
      return booleanPair(texts);
    case "uuid":
      return uuidForm(sample);
    case "jsonb":
      return prevailing(texts.map(jsonLayout));
    default:
      return undefined;
  }
}

const DATE_ONLY = "YYYY-MM-DD";

function uuidForm(sample: readonly SqliteValue[]): string | undefined {
  const form = prevailing(sample.map(uuidSpelling));
  return form === "lower" ? undefined : form;
}

function numberSpelling(sample: readonly SqliteValue[], from: MomentSource): string | undefined {
  if (sample.length === 0) return undefined;
  if (from === "digits") return sample.every((value) => typeof value === "bigint") ? "integer" : undefined;
  return sample.every(isReal) ? "real" : undefined;
}

function isReal(value: SqliteValue): boolean {
  return typeof value === "number";
}

/** Python leaves a fraction of six digits out where it is zero, and few samples show that. */
const PYTHON_DIGITS = 6;

function commonSpelling(texts: readonly string[], read: typeof readMoment): string | undefined {
  const common = parseSpelling(prevailing(texts.map((text) => spelled(read(text)))) ?? "");
  if (!common) return undefined;
  if (common.fraction === 0) return spellingText(common);
  const whole = texts.flatMap((text) => {
    const moment = read(text);
    const alike = moment?.spelling.separator === common.separator && moment.spelling.zone === common.zone;
    return alike && moment.micros === 0 ? [moment.spelling.fraction] : [];
  });
  const keepsZero = whole.some((digits) => digits > 0);
  const dropsZero = !keepsZero && (whole.length > 0 || common.fraction === PYTHON_DIGITS);
  return spellingText({ ...common, dropsZero });
}

function spelled(moment: ReturnType<typeof readMoment>): string | undefined {
  return moment ? spellingText(moment.spelling) : undefined;
}

function jsonLayout(text: string): string | undefined {
  if (!/[,:]/.test(text)) return undefined;
  return /[,:]\s/.test(text) ? "spaced" : "compact";
}

/** The pair to which all texts belong; undefined when there is none. */
export function booleanPair(texts: readonly string[]): string | undefined {
  const words = new Set(texts);
  if (words.size === 0 || words.size > 2) return undefined;
  return BOOLEAN_PAIRS.find((pair) => [...words].every((word) => pair.split("/").includes(word)));
}

function prevailing(spellings: readonly (string | undefined)[]): string | undefined {
  const counts = new Map<string, number>();
  for (const spelling of spellings) {
    if (spelling !== undefined) counts.set(spelling, (counts.get(spelling) ?? 0) + 1);
  }
  return [...counts].sort(([, a], [, b]) => b - a)[0]?.[0];
}

/**
 * Numbers below this are read as seconds, from here on as milliseconds: 1e11 is the year 5138 in seconds,
 * 1973 in milliseconds.
 */
const MILLISECONDS_FROM = 1e11;
/** 1973-03-03 in seconds. Smaller numbers are years, ages or counters rather than epochs. */
const SECONDS_FROM = 1e8;
/** From here on microseconds: 1e14 is the year 5138 in milliseconds, 1973 in microseconds. */
const MICROSECONDS_FROM = 1e14;
/** From here on nanoseconds, for the same reason. */
const NANOSECONDS_FROM = 1e17;
/** The years 1 to 9999 as Julian days. */
const JULIAN = { from: 1_721_425.5, to: 5_373_484.5 };

/** The unit that numbers between these bounds count, or null when they are certainly no epoch. */
export function epochOf(bounds: { readonly min: number; readonly max: number }): "unix" | "unix_ms" | null {
  if (bounds.min >= SECONDS_FROM && bounds.max < MILLISECONDS_FROM) return "unix";
  if (bounds.min >= MILLISECONDS_FROM && bounds.max < MICROSECONDS_FROM) return "unix_ms";
  return null;
}

/** The likely spelling of moments, where the configuration says that the values are moments. */
export function sourceOf(sample: readonly SqliteValue[]): MomentSource {
  if (sample.length > 0 && sample.every((value) => readDigits(value) !== null)) return "digits";
  const numbers = sample.flatMap((v) => (typeof v === "number" || typeof v === "bigint" ? [Number(v)] : []));
  if (numbers.length <= sample.length / 2) return "text";
  const typical = numbers.sort((a, b) => a - b)[Math.floor(numbers.length / 2)] ?? 0;
  if (typical >= JULIAN.from && typical < JULIAN.to && numbers.some((n) => !Number.isInteger(n)))
    return "julian";
  const size = Math.abs(typical);
  if (size >= NANOSECONDS_FROM) return "unix_ns";
  if (size >= MICROSECONDS_FROM) return "unix_us";
  return size >= MILLISECONDS_FROM ? "unix_ms" : "unix";
}
