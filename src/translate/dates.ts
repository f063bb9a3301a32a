// SQLite's clock and random functions, as they stand in a column's default, in PostgreSQL's SQL:
// CURRENT_TIMESTAMP, datetime('now'), strftime(...), unixepoch(), hex(randomblob(16)) … SQLite's clock is UTC
// and prints text. A default in PostgreSQL must give the same text. For a column that became a timestamptz it
// must give the same moment with the same precision: reverse replication writes it in the column's old
// spelling.

import { literal } from "../schema/pg-names.js";
import { type Node, Untranslatable } from "./parse.js";
import { type TypedSql, value } from "./typed-sql.js";

/** An expression that reads the clock: the moment as SQL of type timestamptz, and how SQLite shows it. */
interface Clock {
  readonly moment: string;
  readonly shows: { readonly format: string } | "epoch" | "julian day";
  readonly precision: "second" | "millisecond" | "day" | "part";
}

const DATE = "YYYY-MM-DD";
const TIME = "HH24:MI:SS";
const STANDARD: Readonly<Record<string, readonly [string, Clock["precision"]]>> = {
  current_timestamp: [`${DATE} ${TIME}`, "second"],
  current_date: [DATE, "day"],
  current_time: [TIME, "part"],
  datetime: [`${DATE} ${TIME}`, "second"],
  date: [DATE, "day"],
  time: [TIME, "part"],
};

/** The reading that the node is, or null. Throws Untranslatable for one that PostgreSQL cannot make. */
export function clockOf(node: Node): Clock | null {
  if (node.kind === "name" && node.quotes === "" && /^current_(timestamp|date|time)$/i.test(node.name)) {
    return standard(node.name.toLowerCase(), []);
  }
  if (node.kind !== "call") return null;
  if (node.name === "datetime" || node.name === "date" || node.name === "time")
    return standard(node.name, node.args);
  if (node.name === "unixepoch") return special(node.args, "epoch");
  if (node.name === "julianday") return special(node.args, "julian day");
  return node.name === "strftime" ? formatted(node.args) : null;
}

function standard(name: string, args: readonly Node[]): Clock {
  const [format, precision] = STANDARD[name] ?? [DATE, "day" as const];
  const { moment, subsecond } = reading(args);
  if (!subsecond) return { moment, shows: { format }, precision };
  return {
    moment,
    shows: { format: `${format}.MS` },
    precision: precision === "second" ? "millisecond" : precision,
  };
}

function special(args: readonly Node[], shows: "epoch" | "julian day"): Clock {
  const { moment, subsecond } = reading(args);
  if (subsecond) throw new Untranslatable("it reads the clock in fractions of a second");
  return { moment, shows, precision: shows === "epoch" ? "second" : "millisecond" };
}

const SECONDS: Readonly<Record<string, number>> = { day: 86_400, hour: 3_600, minute: 60, second: 1 };

/** The moment that a time value and its modifiers name; only `now`, moved by fixed amounts. */
function reading(args: readonly Node[]): { moment: string; subsecond: boolean } {
  const words = args.map((arg) =>
    arg.kind === "literal" && arg.of === "text" ? arg.value.toLowerCase() : "",
  );
  if (words.length > 0 && words[0] !== "now") throw new Untranslatable("it computes with a fixed date");
  let seconds = 0;
  let subsecond = false;
  for (const modifier of words.slice(1)) {
    const move = /^([+-]?\d{1,6}) (day|hour|minute|second)s?$/.exec(modifier);
    if (move) seconds += Number(move[1]) * (SECONDS[move[2] ?? ""] ?? 0);
    else if (modifier === "subsec" || modifier === "subsecond") subsecond = true;
    else if (modifier === "localtime")
      throw new Untranslatable("it uses the time zone of the application's machine");
    else throw new Untranslatable(`its time modifier '${modifier}' has no exact counterpart`);
  }
  return { moment: seconds === 0 ? "now()" : `now() + interval '${seconds} seconds'`, subsecond };
}

const FORMATS: Readonly<Record<string, string>> = {
  Y: "YYYY",
  m: "MM",
  d: "DD",
  H: "HH24",
  M: "MI",
  S: "SS",
  f: "SS.MS",
  j: "DDD",
  F: DATE,
  T: TIME,
  R: "HH24:MI",
};

function formatted([format, ...rest]: readonly Node[]): Clock {
  if (format?.kind !== "literal" || format.of !== "text")
    throw new Untranslatable("the format of strftime() is computed");
  if (format.value === "%s") return special(rest, "epoch");
  if (format.value === "%J") return special(rest, "julian day");
  const { moment, subsecond } = reading(rest);
  if (subsecond) throw new Untranslatable("strftime() has the modifier subsec");
  let pattern = "";
  for (const part of format.value.match(/%.|[^%]+/gsu) ?? []) {
    const field = part.startsWith("%") ? FORMATS[part.charAt(1)] : verbatim(part);
    if (field === undefined || /["\\]/.test(part))
      throw new Untranslatable(`strftime('${format.value}') has no exact counterpart`);
    pattern += field;
  }
  const full = /%[FY].*/.test(format.value) && /%[TS]/.test(format.value);
  const precision = format.value.includes("%f")
    ? "millisecond"
    : full
      ? "second"
      : format.value === "%Y-%m-%d" || format.value === "%F"
        ? "day"
        : "part";
  return { moment, shows: { format: pattern }, precision };
}

/** to_char() reads letters as fields unless they are quoted. */
function verbatim(part: string): string {
  return /[a-z]/i.test(part) ? `"${part}"` : part;
}

/** The reading as SQLite's own value: text, an integer, or a REAL. */
export function clockValue(clock: Clock): TypedSql {
  if (clock.shows === "epoch")
    return value("integer", `floor(extract(epoch FROM ${clock.moment}))::bigint`, { atom: true });
  if (clock.shows === "julian day") {
    return value("real", `(extract(epoch FROM ${clock.moment})::double precision / 86400 + 2440587.5)`, {
      atom: true,
    });
  }
  const utc = `(${clock.moment}) AT TIME ZONE 'UTC'`.replace("(now())", "now()");
  return value("text", `to_char(${utc}, ${literal(clock.shows.format)})`, { atom: true });
}

/** The same for a column of a date or time type; null for any other type. */
export function clockMoment(clock: Clock, type: string): string | null {
  const utc = `(${clock.moment}) AT TIME ZONE 'UTC'`;
  const { precision } = clock;
  if (type === "date") return precision === "day" ? `(${utc})::date` : null;
  if (type === "time") return precision === "part" ? `date_trunc('second', ${utc})::time` : null;
  if (type !== "timestamptz" && type !== "timestamp") return null;
  if (precision === "part") throw new Untranslatable("it is only a part of a moment");
  // Both carry UTC: timestamptz by definition, timestamp by convention.
  const truncated = `date_trunc('${precision}', ${utc})`;
  if (type === "timestamp") return truncated;
  return precision === "day"
    ? `date_trunc('day', ${clock.moment}, 'UTC')`
    : `date_trunc('${precision}', ${clock.moment})`;
}

/** The first twelve digits of gen_random_uuid() are random; a later one is the version. */
const RANDOM_BYTES = 6;
const RANDOM_DIGITS = "substr(replace(gen_random_uuid()::text, '-', ''), 1, 12)";
const RANDOM_BYTES_MAX = 64;

/** hex(randomblob(n)) and random(), or null. */
export function chanceOf(node: Node): TypedSql | null {
  if (node.kind !== "call") return null;
  if (node.name === "random" && node.args.length === 0) {
    return value("integer", `('x' || ${hexDigits(8)})::bit(64)::bigint`, { atom: true });
  }
  const inner = node.args[0];
  if (node.name !== "hex" || inner?.kind !== "call" || inner.name !== "randomblob") return null;
  const count = inner.args[0];
  if (count?.kind !== "literal" || count.of !== "integer")
    throw new Untranslatable("randomblob() has a computed length");
  const bytes = Number(count.value);
  if (bytes < 1 || bytes > RANDOM_BYTES_MAX) throw new Untranslatable("randomblob() is too long");
  return value("text", `upper(${hexDigits(bytes)})`, { atom: true });
}

function hexDigits(bytes: number): string {
  const pieces = Array.from({ length: Math.ceil(bytes / RANDOM_BYTES) }, () => RANDOM_DIGITS).join(" || ");
  return bytes === RANDOM_BYTES ? pieces : `left(${pieces}, ${bytes * 2})`;
}
