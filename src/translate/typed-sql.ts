// A translated part of an expression: PostgreSQL's text, and the kind and collation that the translator needs
// to continue. Also the conversions between kinds that mean the same in both engines. There are no other
// conversions. It knows no grammar and no tables.

import { literal } from "../schema/pg-names.js";
import { Untranslatable } from "./parse.js";

/** The kind of SQLite's value in PostgreSQL; `other` compares with nothing and can only be tested for NULL. */
export type Kind = "integer" | "real" | "numeric" | "text" | "boolean" | "bytea" | "date" | "null" | "other";

export interface TypedSql {
  readonly sql: string;
  readonly kind: Kind;
  /** True when it needs no parentheses as an operand. */
  readonly atom: boolean;
  /** The literal's value, as text; null when it is no literal. */
  readonly constant: string | null;
  /** SQLite's collation of the value in a comparison: `explicit` from COLLATE, else from its column. */
  readonly collation: { readonly name: string; readonly explicit: boolean } | null;
}

export function value(
  kind: Kind,
  sql: string,
  extra: Partial<Omit<TypedSql, "kind" | "sql">> = {},
): TypedSql {
  return { sql, kind, atom: false, constant: null, collation: null, ...extra };
}

const KINDS: Readonly<Record<string, Kind>> = {
  bigint: "integer",
  integer: "integer",
  smallint: "integer",
  "double precision": "real",
  numeric: "numeric",
  text: "text",
  varchar: "text",
  "character varying": "text",
  boolean: "boolean",
  bytea: "bytea",
  date: "date",
};

/** The kind of a column of that PostgreSQL type. */
export function kindOfType(type: string): Kind {
  return (
    KINDS[
      type
        .replace(/\(.*\)$/, "")
        .trim()
        .toLowerCase()
    ] ?? "other"
  );
}

/** As an operand of another operator. */
export function operand(v: TypedSql): string {
  return v.atom ? v.sql : `(${v.sql})`;
}

/** As a condition: to SQLite any number but 0 is true. */
export function asCondition(v: TypedSql): TypedSql {
  if (v.kind === "boolean") return v;
  if (v.kind === "null") return value("boolean", "NULL::boolean", { atom: true });
  if (v.kind === "integer" && v.constant !== null) return booleanLiteral(v.constant !== "0");
  if (isNumber(v)) return value("boolean", `${operand(v)} <> 0`);
  throw new Untranslatable("it takes a value that is no number for a condition");
}

/** A condition as the 0 or 1 that SQLite makes of it; other values as they are. */
export function asNumber(v: TypedSql): TypedSql {
  if (v.kind !== "boolean") return v;
  if (v.constant !== null) return integerLiteral(v.constant === "true" ? "1" : "0");
  return value("integer", `${operand(v)}::integer::bigint`, { atom: true });
}

/** As SQLite prints it in a concatenation. A REAL's text differs between the engines. */
export function asText(v: TypedSql): TypedSql {
  const number = asNumber(v);
  if (number.kind === "text") return number;
  if (number.kind === "integer") return value("text", `${operand(number)}::text`, { atom: true });
  throw new Untranslatable("it makes text of a value whose spelling differs between the two databases");
}

export function isNumber(v: TypedSql): boolean {
  return v.kind === "integer" || v.kind === "real" || v.kind === "numeric";
}

export function integerLiteral(digits: string): TypedSql {
  return value("integer", digits, { atom: !digits.startsWith("-"), constant: digits });
}

export function booleanLiteral(truth: boolean): TypedSql {
  return value("boolean", String(truth), { atom: true, constant: String(truth) });
}

/**
 * SQLite's lower() and its NOCASE fold the 26 ASCII letters and no others, as the C collation does. A literal is
 * folded here: in a generated column PostgreSQL loses the collation of one.
 */
export function foldCase(v: TypedSql, way: "lower" | "upper" = "lower"): TypedSql {
  if (v.constant === null) return value("text", `${way}(${operand(v)} COLLATE "C")`, { atom: true });
  const constant =
    way === "lower"
      ? v.constant.replace(/[A-Z]/g, (letter) => letter.toLowerCase())
      : v.constant.replace(/[a-z]/g, (letter) => letter.toUpperCase());
  return value("text", literal(constant), { atom: true, constant });
}

/** The value as it is stored into a column of `type` after SQLite applied the column's affinity; throws where that is not exact. */
export function stored(v: TypedSql, type: string): string {
  const wanted = kindOfType(type);
  if (v.kind === "null") return "NULL";
  if (wanted === "boolean") return asCondition(v).sql;
  const given = asNumber(v);
  if (wanted === "integer" && type === "bigint" && given.kind === "integer") return given.sql;
  if (wanted === "numeric" && type === "numeric" && given.kind === "integer") return given.sql;
  if (wanted === "real" && given.kind === "real") return given.sql;
  if (wanted === "real" && given.kind === "integer") return `${operand(given)}::double precision`;
  if (type === "text" && (given.kind === "text" || given.kind === "integer")) return asText(given).sql;
  if (wanted === "bytea" && given.kind === "bytea") return given.sql;
  throw new Untranslatable(`its value is not always exactly a ${type}`);
}
