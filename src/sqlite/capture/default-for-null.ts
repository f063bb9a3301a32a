// The value that SQLite stores instead of a NULL in a NOT NULL column under REPLACE: the column's default, as
// SQL that means the same inside a trigger. A default whose value changes between evaluations has no such
// SQL.
import type { Column } from "../../schema/model.js";
import { isOperator, isWord, type Token, tokens } from "../../schema/sqlite-tokens.js";

/**
 * Functions that return the same value to a trigger as to its statement. Dates are included, because the
 * clock stands still within a statement.
 */
const STEADY = new Set(
  (
    "abs char coalesce date datetime format hex ifnull iif instr julianday length lower ltrim max min nullif printf quote " +
    "replace round rtrim sign strftime substr substring time trim typeof unicode unixepoch upper zeroblob json_array json_object json"
  ).split(" "),
);

/** The default as SQL; null where NULL is refused or kept, or the default differs at each evaluation. */
export function substituteOf(column: Column): string | null {
  if (!column.notNull || column.default === null || column.generated !== "no") return null;
  const list = tokens(column.default);
  const literal = literalOf(list);
  if (literal !== undefined) return literal === null ? null : stored(literal, column);
  return isSteady(list) ? `(${column.default})` : null;
}

/** A literal as SQL; null for NULL, undefined for anything else. */
function literalOf(list: readonly Token[]): string | null | undefined {
  const last = list.at(-1);
  const sign = list.length === 2 && isOperator(list[0], "+", "-") ? list[0]?.text : "";
  if (last === undefined || (list.length !== 1 && !sign)) return undefined;
  if (last.kind === "number") return `${sign}${last.text}`;
  if (sign) return undefined;
  if (last.kind === "string" || last.kind === "blob") return last.text;
  if (isWord(last, "NULL")) return null;
  if (isWord(last, "TRUE", "FALSE")) return isWord(last, "TRUE") ? "1" : "0";
  if (isWord(last, "CURRENT_TIME", "CURRENT_DATE", "CURRENT_TIMESTAMP")) return last.text;
  // Any other name is a string in a default: DEFAULT abc, DEFAULT "abc".
  if (last.kind === "word" || last.kind === "name") return `'${last.value.replaceAll("'", "''")}'`;
  return undefined;
}

/** As the column stores it, where an expression over the column could see a difference. */
function stored(literal: string, { affinity }: Column): string {
  const isNumber = /^[+-]?[\d.]/.test(literal);
  return isNumber && (affinity === "TEXT" || affinity === "REAL")
    ? `CAST(${literal} AS ${affinity})`
    : literal;
}

/**
 * True for an expression of literals, operators and deterministic functions, without a name that could be a
 * column's.
 */
function isSteady(list: readonly Token[]): boolean {
  return list.every((token, i) => {
    if (token.kind === "name") return false;
    if (token.kind !== "word") return true;
    if (isOperator(list[i + 1], "(")) return STEADY.has(token.text.toLowerCase()) || isWord(token, "CAST");
    return isWord(token, ...KEYWORDS);
  });
}

const KEYWORDS = (
  "NULL TRUE FALSE CURRENT_TIME CURRENT_DATE CURRENT_TIMESTAMP CASE WHEN THEN ELSE END AND OR NOT IS IN BETWEEN LIKE " +
  "AS INTEGER INT TEXT REAL NUMERIC BLOB"
).split(" ");
