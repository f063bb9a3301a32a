// Translates a column's DEFAULT. A literal is translated like a value: SQLite applies the column's affinity, and the
// column's codec makes PostgreSQL's text of it. So a default always means the same as the same value in a row
// (DEFAULT 0 on a boolean is false, DEFAULT 'null' the four letters). Time and randomness are in
// src/translate/dates.ts; every other expression is translated by translate.ts. It knows no table.
import { storedAs } from "../../codec/affinity.js";
import type { Codec, SqliteValue } from "../../codec/codec.js";
import { Refusal } from "../../codec/codec.js";
import type { Affinity, Column } from "../../schema/model.js";
import { literal } from "../../schema/pg-names.js";
import { chanceOf, clockMoment, clockOf, clockValue } from "../../translate/dates.js";
import { type Node, parseExpression, Untranslatable } from "../../translate/parse.js";
import {
  attemptTranslation,
  type NameLookup,
  type Translation,
  translateNode,
} from "../../translate/translate.js";
import { asText, kindOfType, operand, stored, type TypedSql, value } from "../../translate/typed-sql.js";

/** The DEFAULT of `column` in PostgreSQL for a target of `codec`'s type; the column must have one. */
export function translateDefault(column: Pick<Column, "default" | "affinity">, codec: Codec): Translation {
  return attemptTranslation(() =>
    defaultSql(parseExpression(column.default ?? "NULL"), column.affinity, codec),
  );
}

function defaultSql(node: Node, affinity: Affinity, codec: Codec): string {
  const clock = clockOf(node);
  const moment = clock && clockMoment(clock, codec.name);
  if (moment) return moment;
  const computed = translateNode(node, LOOKUP);
  const fixed = constantOf(computed);
  if (fixed !== undefined) return encoded(withAffinity(fixed, affinity), codec);
  if (codec.name === "timestamptz" && mentions(node, (n) => clockOf(n) !== null)) {
    // An expression over the current time, such as milliseconds since 1970.
    return "date_trunc('millisecond', now())";
  }
  if (codec.type === "uuid" && mentions(node, (n) => chanceOf(n) !== null)) return "gen_random_uuid()";
  return fitted(computed, codec);
}

function fitted(computed: TypedSql, codec: Codec): string {
  const bare = codec.type.replace(/\(.*\)$/, "");
  if (codec.type === "jsonb" && codec.name === "any" && computed.kind !== "other")
    return `to_jsonb(${computed.sql})`;
  if (kindOfType(codec.type) === "text") return asText(computed).sql;
  return stored(computed, bare);
}

/** The scope of a default's names and functions: no columns, but time and random functions. */
const LOOKUP: NameLookup = {
  column: () => null,
  special(node, go) {
    const clock = clockOf(node);
    if (clock) return clockValue(clock);
    if (node.kind === "name") return bareWord(node);
    if (node.kind === "cast") return castFromClock(node, go);
    if (node.kind !== "call") return null;
    if (node.name === "json_array" && node.args.length === 0) return text("[]");
    if (node.name === "json_object" && node.args.length === 0) return text("{}");
    return chanceOf(node) ?? substringAt(node, go);
  },
};

/** Any name but TRUE and FALSE is a string in a default: DEFAULT abc, DEFAULT "abc", DEFAULT [abc]. */
function bareWord(node: Node & { kind: "name" }): TypedSql | null {
  if (node.quotes === "" && /^(true|false)$/i.test(node.name)) return null;
  return text(node.name);
}

function text(constant: string): TypedSql {
  return value("text", literal(constant), { atom: true, constant });
}

/** CAST(... AS INTEGER) over the current time: milliseconds from julianday(), or digits joined as text. */
function castFromClock(node: Node & { kind: "cast" }, go: (node: Node) => TypedSql): TypedSql | null {
  if (!/INT/i.test(node.type)) return null;
  const inner = go(node.operand);
  if (inner.constant !== null) return null;
  if (inner.kind === "real") return value("integer", `trunc(${inner.sql})::bigint`, { atom: true });
  if (inner.kind === "text") return value("integer", `${operand(inner)}::bigint`, { atom: true });
  return null;
}

/** substr() from a computed position, as in the usual expression for a random UUID. */
function substringAt(node: Node & { kind: "call" }, go: (node: Node) => TypedSql): TypedSql | null {
  if (node.name !== "substr" && node.name !== "substring") return null;
  const [from, start, ...count] = node.args.map(go);
  if (from?.kind !== "text" || start?.kind !== "integer" || start.constant !== null) return null;
  if (count.some((v) => v.kind !== "integer" || v.constant === null)) return null;
  const args = [from.sql, `(${start.sql})::integer`, ...count.map((v) => v.sql)];
  return value("text", `substr(${args.join(", ")})`, { atom: true });
}

function mentions(node: Node, test: (node: Node) => boolean): boolean {
  return test(node) || childrenOf(node).some((child) => mentions(child, test));
}

function childrenOf(node: Node): readonly Node[] {
  switch (node.kind) {
    case "unary":
    case "collate":
    case "cast":
      return [node.operand];
    case "binary":
      return [node.left, node.right];
    case "call":
      return node.args;
    default:
      return [];
  }
}

/** The SQLite value of a literal; undefined when it is none. */
function constantOf(v: TypedSql): SqliteValue | undefined {
  if (v.constant === null) return undefined;
  if (v.kind === "null") return null;
  if (v.kind === "text") return v.constant;
  if (v.kind === "integer") return BigInt(v.constant);
  if (v.kind === "boolean") return v.constant === "true" ? 1n : 0n;
  if (v.kind === "bytea") return Buffer.from(v.constant, "hex");
  if (v.kind !== "real") return undefined;
  // SQLite reads this one literal as an integer although its digits alone do not fit.
  return v.constant === "-9223372036854775808.0" ? -(2n ** 63n) : Number(v.constant);
}

/** The value that SQLite stores in a column of that affinity. */
function withAffinity(v: SqliteValue, affinity: Affinity): SqliteValue {
  return affinity === "TEXT" && typeof v === "number" ? realText(v) : storedAs(v, affinity);
}

/** SQLite's text of a REAL, for values that both engines print alike. */
function realText(v: number): string {
  const plain = Number.isInteger(v) ? `${v}.0` : String(v);
  if (!/^-?\d{1,12}\.\d{1,9}$/.test(plain)) throw new Untranslatable("it is a fraction in a text column");
  return plain;
}

/** The codec's text as a literal of the column's type. */
function encoded(v: SqliteValue, codec: Codec): string {
  const printed = codec.encode(v);
  if (printed instanceof Refusal) throw new Untranslatable(printed.reason);
  if (printed === null) return "NULL";
  const kind = kindOfType(codec.type);
  if (kind === "boolean" && /^t(rue)?$/.test(printed)) return "true";
  if (kind === "boolean" && /^f(alse)?$/.test(printed)) return "false";
  const isNumeral = /^-?\d+(\.\d+)?(e[+-]?\d+)?$/i.test(printed);
  if ((kind === "integer" || kind === "real" || kind === "numeric") && isNumeral) return printed;
  return kind === "text" ? literal(printed) : `${literal(printed)}::${codec.type}`;
}
