// SQLite's operators in PostgreSQL's SQL, given the kinds of their operands. The rule is: the same result for
// every value that the columns' types can hold, or a refusal that says why. It knows neither the grammar
// (parse.ts) nor the columns (translate.ts).
//
// One difference is accepted: where SQLite turns an integer beyond 64 bits into a REAL, PostgreSQL raises an
// error. The bigint column of a generated column or a CHECK could not hold such a value either.
import { Untranslatable } from "./parse.js";
import {
  asNumber,
  foldCase,
  integerLiteral,
  isNumber,
  type Kind,
  operand,
  type TypedSql,
  value,
} from "./typed-sql.js";

const COMPARISONS: Readonly<Record<string, string>> = {
  "=": "=",
  "==": "=",
  "<>": "<>",
  "!=": "<>",
  "<": "<",
  "<=": "<=",
  ">": ">",
  ">=": ">=",
  IS: "IS NOT DISTINCT FROM",
  "IS NOT": "IS DISTINCT FROM",
};

/** Integers up to here are exact as a double. */
const EXACT_MAX = 2n ** 53n;

export function isComparison(operator: string): boolean {
  return operator in COMPARISONS;
}

export function comparison(operator: string, left: TypedSql, right: TypedSql): TypedSql {
  const equality = !operator.includes("<") && !operator.includes(">") ? true : operator === "<>";
  const pair = comparable(left, right, equality);
  return value("boolean", `${pair.left} ${COMPARISONS[operator]} ${pair.right}`);
}

export function between(v: TypedSql, low: TypedSql, high: TypedSql, not: boolean): TypedSql {
  const from = comparable(v, low, false);
  const to = comparable(v, high, false);
  if (from.left !== to.left) throw new Untranslatable("its bounds compare by different rules");
  return value("boolean", `${from.left} ${not ? "NOT " : ""}BETWEEN ${from.right} AND ${to.right}`);
}

export function isIn(v: TypedSql, list: readonly TypedSql[], not: boolean): TypedSql {
  if (list.length === 0) throw new Untranslatable("it compares with an empty list or with a query");
  if (list.some((item) => item.collation?.explicit)) throw new Untranslatable("it has COLLATE inside a list");
  // The left side alone decides how IN compares.
  const pairs = list.map((item) => comparable(v, { ...item, collation: null }, true));
  const left = pairs[0]?.left ?? "";
  if (pairs.some((pair) => pair.left !== left)) throw new Untranslatable("its list mixes kinds of values");
  return value("boolean", `${left} ${not ? "NOT " : ""}IN (${pairs.map((pair) => pair.right).join(", ")})`);
}

interface Pair {
  readonly left: string;
  readonly right: string;
}

/** Casts both sides so that PostgreSQL compares them as SQLite does. */
function comparable(l: TypedSql, r: TypedSql, equality: boolean): Pair {
  const [left, right] = sameNumbers(l, r);
  if (left.kind === "text" && right.kind === "text") return comparableText(left, right, equality);
  const exact =
    (left.kind === right.kind && left.kind !== "other") ||
    left.kind === "null" ||
    right.kind === "null" ||
    (isNumber(left) && isNumber(right) && numbersCompareExactly(left, right));
  if (!exact) throw new Untranslatable(`it compares ${describeKind(left)} with ${describeKind(right)}`);
  if (left.kind === "null" && right.kind === "null") throw new Untranslatable("it compares NULL with NULL");
  return { left: operand(left), right: operand(right) };
}

/** A boolean column beside 0 or 1 is compared as a boolean; beside any other number as SQLite's 0 or 1. */
function sameNumbers(left: TypedSql, right: TypedSql): [TypedSql, TypedSql] {
  if (left.kind === "boolean" && right.kind !== "boolean") {
    const literal = right.kind === "integer" ? asBooleanLiteral(right) : null;
    return left.constant === null && literal ? [left, literal] : [asNumber(left), right];
  }
  if (right.kind === "boolean" && left.kind !== "boolean") {
    const [second, first] = sameNumbers(right, left);
    return [first, second];
  }
  return [left, right];
}

function asBooleanLiteral(v: TypedSql): TypedSql | null {
  if (v.constant !== "0" && v.constant !== "1") return null;
  const truth = v.constant === "1" ? "true" : "false";
  return value("boolean", truth, { atom: true, constant: truth });
}

/** A bigint beside a double would be rounded, and so would a numeric; beside a literal neither is. */
function numbersCompareExactly(left: TypedSql, right: TypedSql): boolean {
  if (left.kind !== "real" && right.kind !== "real") return true;
  const constant = left.constant ?? right.constant;
  if (constant === null) return false;
  const digits = /^-?\d+$/.test(constant) ? BigInt(constant) : 0n;
  return digits <= EXACT_MAX && digits >= -EXACT_MAX;
}

function comparableText(left: TypedSql, right: TypedSql, equality: boolean): Pair {
  // PostgreSQL cannot fold it in a generated column, where it has no collation yet.
  if (left.constant !== null && right.constant !== null) throw new Untranslatable("it compares two literals");
  const collation = collationOf(left, right);
  const shape = (v: TypedSql): string => {
    if (collation === "NOCASE") return foldCase(v).sql;
    if (collation === "RTRIM") return `rtrim(${v.sql}, ' ')`;
    return operand(v);
  };
  if (!["BINARY", "NOCASE", "RTRIM"].includes(collation)) {
    throw new Untranslatable(`the collation ${collation} exists only inside the application`);
  }
  // SQLite orders text by its bytes; PostgreSQL by the database's locale unless told otherwise.
  const order = equality || collation === "NOCASE" ? "" : ' COLLATE "C"';
  return { left: shape(left) + order, right: shape(right) };
}

/** COLLATE has precedence over a column, the left side over the right. */
function collationOf(left: TypedSql, right: TypedSql): string {
  const explicit = [left, right].find((v) => v.collation?.explicit);
  return (explicit ?? [left, right].find((v) => v.collation))?.collation?.name ?? "BINARY";
}

export function arithmetic(operator: string, l: TypedSql, r: TypedSql): TypedSql {
  const left = asNumber(l);
  const right = asNumber(r);
  if (left.kind === "numeric" || right.kind === "numeric") {
    throw new Untranslatable(
      "SQLite computes with binary fractions where numeric computes with decimal ones",
    );
  }
  if (!isNumber(left) || !isNumber(right)) {
    throw new Untranslatable(`it computes with ${describeKind(isNumber(left) ? right : left)}`);
  }
  const kind = left.kind === "integer" && right.kind === "integer" ? "integer" : "real";
  if (operator === "%" && kind === "real") throw new Untranslatable("SQLite's % cuts off fractions first");
  // PostgreSQL would compute two bare literals in 32 bits.
  const first = left.constant !== null && right.constant !== null ? widened(left) : factor(left);
  const second = operator === "/" || operator === "%" ? divisor(right) : factor(right);
  return value(kind, `${first} ${operator} ${second}`);
}

/** A literal with a fraction is a numeric in PostgreSQL, and would make the whole computation decimal. */
function factor(v: TypedSql): string {
  return v.kind === "real" && v.constant !== null ? `${operand(v)}::double precision` : operand(v);
}

function widened(v: TypedSql): string {
  return `${operand(v)}::${v.kind === "real" ? "double precision" : "bigint"}`;
}

/** SQLite's division by zero is NULL. */
function divisor(v: TypedSql): string {
  if (v.constant !== null && Number(v.constant) !== 0) return factor(v);
  return `NULLIF(${v.sql}, 0)`;
}

export function bits(operator: string, l: TypedSql, r: TypedSql): TypedSql {
  const [left, right] = [asNumber(l), asNumber(r)];
  if (left.kind !== "integer" || right.kind !== "integer")
    throw new Untranslatable(`${operator} needs integers`);
  if (operator === "<<" || operator === ">>") {
    throw new Untranslatable("shifts by negative or large amounts differ between the two databases");
  }
  return value("integer", `${operand(left)} ${operator} ${operand(right)}`);
}

export function negate(v: TypedSql): TypedSql {
  const number = asNumber(v);
  if (number.kind === "integer" && number.constant !== null) return integerLiteral(flipped(number.constant));
  if (number.kind === "real" && number.constant !== null) {
    return value("real", flipped(number.constant), { constant: flipped(number.constant) });
  }
  if (!isNumber(number)) throw new Untranslatable(`it negates ${describeKind(number)}`);
  return value(number.kind, `- ${operand(number)}`);
}

function flipped(digits: string): string {
  return digits.startsWith("-") ? digits.slice(1) : `-${digits}`;
}

/** Refuses a COLLATE that SQLite would propagate through an operator by its own rules. */
export function uncollated(v: TypedSql): TypedSql {
  if (v.collation?.explicit) throw new Untranslatable("it has COLLATE inside a larger expression");
  return { ...v, collation: null };
}

const WORDS: Readonly<Record<Kind, string>> = {
  integer: "an integer",
  real: "a floating-point number",
  numeric: "a decimal number",
  text: "text",
  boolean: "a boolean",
  bytea: "a blob",
  date: "a date",
  null: "NULL",
  other: "a column whose type in PostgreSQL is another one",
};

/** The value's kind, for a reason. */
export function describeKind(v: TypedSql): string {
  return WORDS[v.kind];
}
