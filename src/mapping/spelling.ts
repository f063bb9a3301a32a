// How a column spells its values, guessed from a sample: the zone and the fraction of its moments, the words
// of its booleans, the layout of its JSON. A guess is only a proposal; see evidence.ts.

import { BOOLEAN_PAIRS } from "../codec/boolean.js";
import type { SqliteValue } from "../codec/codec.js";
import { readMoment, readTime, spellingText } from "../codec/datetime-text.js";
import type { MomentSource } from "../codec/registry.js";

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
      if (from !== "text") return sample.length > 0 && sample.every(isReal) ? "real" : undefined;
      return prevailing(texts.map((text) => spelled(readMoment(text))));
    case "date": {
      if (from !== "text") return sample.length > 0 && sample.every(isReal) ? "real" : undefined;
      const common = prevailing(texts.map((text) => spelled(readMoment(text))));
      return common === DATE_ONLY ? undefined : common;
    }
    case "time":
      return prevailing(texts.map((text) => spelled(readTime(text))));
    case "boolean":
      return booleanPair(texts);
    case "uuid":
      return prevailing(
        texts.map((text) => (/[A-F]/.test(text) && !/[a-f]/.test(text) ? "upper" : "lower")),
      ) === "upper"
        ? "upper"
        : undefined;
    case "jsonb":
      return prevailing(texts.map(jsonLayout));
    default:
      return undefined;
  }
}

const DATE_ONLY = "YYYY-MM-DD";

function isReal(value: SqliteValue): boolean {
  return typeof value === "number";
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
/** Year 5138 in milliseconds. */
const MILLISECONDS_TO = 1e14;
/** The years 1 to 9999 as Julian days. */
const JULIAN = { from: 1_721_425.5, to: 5_373_484.5 };

/** The unit that numbers between these bounds count, or null when they are certainly no epoch. */
export function epochOf(bounds: { readonly min: number; readonly max: number }): "unix" | "unix_ms" | null {
  if (bounds.min >= SECONDS_FROM && bounds.max < MILLISECONDS_FROM) return "unix";
  if (bounds.min >= MILLISECONDS_FROM && bounds.max < MILLISECONDS_TO) return "unix_ms";
  return null;
}

/** The likely spelling of moments, where the configuration says that the values are moments. */
export function sourceOf(sample: readonly SqliteValue[]): MomentSource {
  const numbers = sample.flatMap((v) => (typeof v === "number" || typeof v === "bigint" ? [Number(v)] : []));
  if (numbers.length <= sample.length / 2) return "text";
  const typical = numbers.sort((a, b) => a - b)[Math.floor(numbers.length / 2)] ?? 0;
  if (typical >= JULIAN.from && typical < JULIAN.to && numbers.some((n) => !Number.isInteger(n)))
    return "julian";
  return Math.abs(typical) >= MILLISECONDS_FROM ? "unix_ms" : "unix";
}
