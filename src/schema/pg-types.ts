// The PostgreSQL types that a column may be mapped to, under their usual names: `VARCHAR( 50 )`, int8,
// `timestamp with time zone`. It owns the spelling and the limits of type names, not what the types mean.

interface ParsedType {
  /** The codec's name: bigint, varchar, any … */
  readonly name: string;
  /** The arguments in parentheses, the scale always given: numeric(10) is [10, 0]. */
  readonly args: readonly number[];
  /** The type as DDL and configuration spell it, for example `numeric(10,2)`. */
  readonly type: string;
}

const ALIASES: Readonly<Record<string, string>> = {
  int: "integer",
  int4: "integer",
  int8: "bigint",
  int2: "smallint",
  bool: "boolean",
  float: "double precision",
  float8: "double precision",
  double: "double precision",
  float4: "real",
  decimal: "numeric",
  "character varying": "varchar",
  character: "char",
  bpchar: "char",
  "timestamp with time zone": "timestamptz",
  "timestamp without time zone": "timestamp",
  "time without time zone": "time",
};

const PLAIN = new Set([
  "bigint",
  "integer",
  "smallint",
  "double precision",
  "real",
  "numeric",
  "text",
  "varchar",
  "char",
  "boolean",
  "date",
  "time",
  "timestamp",
  "timestamptz",
  "uuid",
  "json",
  "jsonb",
  "bytea",
  "any",
]);

/** The names that `parseType` understands, for messages. */
export const TYPE_NAMES: readonly string[] = [...PLAIN];

/** PostgreSQL's limits. */
const LENGTH_MAX = 10_485_760;
const PRECISION_MAX = 1_000;

/** The digits of a fraction of a second that PostgreSQL keeps unless the type says otherwise. */
const FRACTION_DIGITS = 6;
const CLOCKED = new Set(["timestamptz", "timestamp", "time"]);

/** The type in canonical spelling, or null when no codec exists for it. */
export function parseType(text: string): ParsedType | null {
  // PostgreSQL puts the digits of the seconds in the middle: timestamp(3) without time zone.
  const plain = text.replace(/^\s*(timestamp|time)\s*(\([^)]*\))\s*(with(?:out)? time zone)\s*$/i, "$1 $3$2");
  const match = /^\s*([a-z][a-z0-9 ]*?)\s*(?:\(\s*(\d{1,9})\s*(?:,\s*(\d{1,9})\s*)?\))?\s*$/i.exec(plain);
  if (!match) return null;
  const written = (match[1] ?? "").toLowerCase().replace(/\s+/g, " ");
  const name = ALIASES[written] ?? written;
  if (!PLAIN.has(name)) return null;
  const args = match.slice(2).flatMap((arg) => (arg === undefined ? [] : [Number(arg)]));
  return withArguments(name, args);
}

function withArguments(name: string, args: readonly number[]): ParsedType | null {
  const [first, second] = args;
  if (name === "numeric") {
    if (first === undefined) return { name, args: [], type: name };
    const scale = second ?? 0;
    if (first < 1 || first > PRECISION_MAX || scale > first) return null;
    return { name, args: [first, scale], type: `numeric(${first},${scale})` };
  }
  if (name === "varchar" || name === "char") {
    // Without a length varchar is text, and char is char(1), which is rarely meant.
    if (first === undefined) return name === "varchar" ? { name: "text", args: [], type: "text" } : null;
    if (second !== undefined || first < 1 || first > LENGTH_MAX) return null;
    return { name, args: [first], type: `${name}(${first})` };
  }
  if (CLOCKED.has(name) && first !== undefined) {
    if (second !== undefined || first > FRACTION_DIGITS) return null;
    return first === FRACTION_DIGITS
      ? { name, args: [], type: name }
      : { name, args: [first], type: `${name}(${first})` };
  }
  return args.length === 0 ? { name, args: [], type: name } : null;
}
