// The SQLite functions that have an exact counterpart in PostgreSQL, for text, numbers and NULL. Every other
// function is refused by name. Functions of time and randomness are in dates.ts: they may stand in a default
// and nowhere else.

import { describeKind, uncollated } from "./operators.js";
import { Untranslatable } from "./parse.js";
import {
  asCondition,
  asNumber,
  asText,
  foldCase,
  isNumber,
  type Kind,
  operand,
  type TypedSql,
  value,
} from "./typed-sql.js";

type Translate = (args: readonly TypedSql[]) => TypedSql;

const FUNCTIONS: Readonly<Record<string, Translate>> = {
  lower: (args) => fold("lower", args),
  upper: (args) => fold("upper", args),
  length: ([v, ...more]) => length(only(v, more)),
  octet_length: ([v, ...more]) => call("integer", "octet_length", [kind(only(v, more), "text", "bytea")]),
  abs: ([v, ...more]) => abs(only(v, more)),
  coalesce: (args) => coalesce(args),
  ifnull: (args) => coalesce(args),
  nullif: ([a, b, ...more]) => nullIf(needed(a), only(b, more)),
  iif: ([when, then, otherwise]) => caseOf([[needed(when), needed(then)]], otherwise ?? null),
  if: ([when, then, otherwise]) => caseOf([[needed(when), needed(then)]], otherwise ?? null),
  trim: (args) => trim("btrim", args),
  ltrim: (args) => trim("ltrim", args),
  rtrim: (args) => trim("rtrim", args),
  replace: (args) =>
    call(
      "text",
      "replace",
      exactly(3, args).map((v) => kind(v, "text")),
    ),
  instr: (args) =>
    call(
      "integer",
      "strpos",
      exactly(2, args).map((v) => kind(v, "text")),
    ),
  substr: (args) => substring(args),
  substring: (args) => substring(args),
  concat: (args) => concat(args),
  typeof: ([v, ...more]) => typeOf(only(v, more)),
  likely: ([v, ...more]) => only(v, more),
  unlikely: ([v, ...more]) => only(v, more),
};

export function callFunction(name: string, args: readonly TypedSql[]): TypedSql {
  const translate = Object.hasOwn(FUNCTIONS, name) ? FUNCTIONS[name] : undefined;
  if (!translate) throw new Untranslatable(`${name}() has no exact counterpart`);
  return translate(args.map(uncollated));
}

/** CASE with conditions; the results must be of one kind. */
export function caseOf(
  whens: readonly (readonly [TypedSql, TypedSql])[],
  otherwise: TypedSql | null,
): TypedSql {
  const results = sameKind([...whens.map(([, then]) => then), ...(otherwise ? [otherwise] : [])]);
  const branches = whens.map(([when], i) => `WHEN ${asCondition(when).sql} THEN ${results.values[i]?.sql}`);
  const end = otherwise ? ` ELSE ${results.values.at(-1)?.sql}` : "";
  return value(results.kind, `CASE ${branches.join(" ")}${end} END`, { atom: true });
}

function fold(way: "lower" | "upper", args: readonly TypedSql[]): TypedSql {
  const [v] = exactly(1, args);
  return foldCase(kind(needed(v), "text"), way);
}

function length(v: TypedSql): TypedSql {
  return call("integer", "length", [v.kind === "bytea" ? v : asText(v)]);
}

function abs(v: TypedSql): TypedSql {
  const number = asNumber(v);
  if (!isNumber(number)) throw new Untranslatable(`abs() looks at ${describeKind(v)}`);
  return call(number.kind, "abs", [number]);
}

function coalesce(args: readonly TypedSql[]): TypedSql {
  if (args.length < 2) throw new Untranslatable("coalesce() needs two values");
  const { kind: common, values } = sameKind(args);
  return call(common, "COALESCE", values);
}

function nullIf(a: TypedSql, b: TypedSql): TypedSql {
  const { kind: common, values } = sameKind([a, b]);
  return call(common, "NULLIF", values);
}

function trim(name: string, args: readonly TypedSql[]): TypedSql {
  if (args.length < 1 || args.length > 2) throw new Untranslatable(`${name}() has other arguments here`);
  return call(
    "text",
    name,
    args.map((v) => kind(v, "text")),
  );
}

/** From the left only: in PostgreSQL a start of 0 or below, and a negative length, have another meaning. */
function substring(args: readonly TypedSql[]): TypedSql {
  const [text, start, count] = args;
  if (args.length < 2 || args.length > 3) throw new Untranslatable("substr() has other arguments here");
  const first = needed(start);
  if (
    first.kind !== "integer" ||
    first.constant === null ||
    first.constant.startsWith("-") ||
    first.constant === "0"
  ) {
    throw new Untranslatable("substr() counts from the end, or from a computed place");
  }
  if (count && (count.kind !== "integer" || count.constant === null || count.constant.startsWith("-"))) {
    throw new Untranslatable("substr() has a computed length");
  }
  return call("text", "substr", [kind(needed(text), "text"), first, ...(count ? [count] : [])]);
}

/** SQLite's concat() treats NULL as the empty string. PostgreSQL's does too, but is not immutable. */
function concat(args: readonly TypedSql[]): TypedSql {
  const parts = args.map((v) =>
    v.constant === null ? `COALESCE(${asText(v).sql}, '')` : operand(asText(v)),
  );
  return value("text", parts.join(" || "));
}

const STORAGE_CLASS: Partial<Record<Kind, string>> = {
  integer: "integer",
  boolean: "integer",
  text: "text",
  bytea: "blob",
};

/**
 * The type of a column already gives the class of its values. A double may stand for an INTEGER, a date for
 * any class.
 */
function typeOf(v: TypedSql): TypedSql {
  const name = STORAGE_CLASS[v.kind];
  if (!name) throw new Untranslatable(`typeof() looks at ${describeKind(v)}`);
  return value("text", `CASE WHEN ${operand(v)} IS NULL THEN 'null' ELSE '${name}' END`, { atom: true });
}

interface Unified {
  readonly kind: Kind;
  readonly values: readonly TypedSql[];
}

/** NULL fits every kind, a condition fits integers. */
function sameKind(values: readonly TypedSql[]): Unified {
  const kinds = new Set(values.map((v) => v.kind).filter((k) => k !== "null"));
  if (kinds.size === 2 && kinds.has("boolean") && kinds.has("integer")) {
    return { kind: "integer", values: values.map(asNumber) };
  }
  const [common] = kinds;
  if (kinds.size !== 1 || common === undefined || common === "other") {
    throw new Untranslatable("it chooses among values of several kinds");
  }
  // Literals with a fraction alone would make the result a numeric.
  const typed = (v: TypedSql): TypedSql =>
    v.kind === "real" && v.constant !== null
      ? value("real", `${operand(v)}::double precision`, { atom: true })
      : v;
  return { kind: common, values: values.map(typed) };
}

function call(of: Kind, name: string, args: readonly TypedSql[]): TypedSql {
  return value(of, `${name}(${args.map((v) => v.sql).join(", ")})`, { atom: true });
}

function kind(v: TypedSql, ...kinds: readonly Kind[]): TypedSql {
  if (!kinds.includes(v.kind))
    throw new Untranslatable(`it needs ${kinds.join(" or ")} and finds ${describeKind(v)}`);
  return v;
}

function exactly(count: number, args: readonly TypedSql[]): readonly TypedSql[] {
  if (args.length !== count) throw new Untranslatable("a function has another number of arguments here");
  return args;
}

function needed(v: TypedSql | undefined): TypedSql {
  if (!v) throw new Untranslatable("a function has too few arguments");
  return v;
}

function only(v: TypedSql | undefined, more: readonly TypedSql[]): TypedSql {
  if (more.length > 0) throw new Untranslatable("a function has more arguments here");
  return needed(v);
}
