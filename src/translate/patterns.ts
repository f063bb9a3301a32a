// SQLite's LIKE and GLOB with a literal pattern, in PostgreSQL. LIKE folds the case of ASCII letters and has no
// escape character unless told; GLOB is case-sensitive and has sets of characters. A pattern that is computed,
// or that uses a set in an unusual way, is refused.

import { literal } from "../schema/pg-names.js";
import { Untranslatable } from "./parse.js";
import { foldCase, operand, type TypedSql, value } from "./typed-sql.js";

export function like(v: TypedSql, pattern: TypedSql, escaped: TypedSql | null, not: boolean): TypedSql {
  const text = patternText(v, pattern, "LIKE");
  if (
    escaped &&
    (escaped.kind !== "text" || escaped.constant?.length !== 1 || /[a-z]/i.test(escaped.constant))
  ) {
    throw new Untranslatable("its ESCAPE is not one character that has no case");
  }
  const fold = text.replace(/[A-Z]+/g, (letters) => letters.toLowerCase());
  const sql = `${foldCase(v).sql} ${not ? "NOT " : ""}LIKE ${literal(fold)} ESCAPE ${literal(escaped?.constant ?? "")}`;
  return value("boolean", sql);
}

export function glob(v: TypedSql, pattern: TypedSql, not: boolean): TypedSql {
  const regex = globToRegex(patternText(v, pattern, "GLOB"));
  return value("boolean", `${operand(v)} COLLATE "C" ${not ? "!~" : "~"} ${literal(`^${regex}$`)}`);
}

function patternText(v: TypedSql, pattern: TypedSql, operator: string): string {
  if (v.kind !== "text")
    throw new Untranslatable(`${operator} looks at a value that is no text in PostgreSQL`);
  if (v.constant !== null) throw new Untranslatable("it compares two literals");
  if (pattern.kind !== "text" || pattern.constant === null) {
    throw new Untranslatable(`the pattern of its ${operator} is computed`);
  }
  return pattern.constant;
}

function globToRegex(pattern: string): string {
  let regex = "";
  for (let rest = pattern; rest !== ""; ) {
    const set = /^\[(\^?)([\w \-.,:;/@+#]+)\]/.exec(rest);
    if (set) regex += `[${set[1]}${setBody(set[2] ?? "")}]`;
    else if (rest.startsWith("[")) throw new Untranslatable("its GLOB holds an unusual set of characters");
    else if (rest.startsWith("*")) regex += ".*";
    else if (rest.startsWith("?")) regex += ".";
    else regex += one(rest).replace(/[\\^$.|+(){}\]]/, "\\$&");
    rest = rest.slice(set ? set[0].length : one(rest).length);
  }
  return regex;
}

function one(text: string): string {
  return String.fromCodePoint(text.codePointAt(0) ?? 0);
}

/** Only ascending ranges, and a hyphen only between two ends: the two dialects differ on the rest. */
function setBody(body: string): string {
  const plain = body.replace(/(\w)-(\w)/g, (range, from: string, to: string) => (from <= to ? "" : range));
  if (plain.includes("-") || /[.:=]/.test(body.charAt(0))) {
    throw new Untranslatable("its GLOB holds an unusual set of characters");
  }
  return body;
}
