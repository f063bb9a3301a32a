// Translates the expressions of a SQLite schema into PostgreSQL's SQL, given the types of the columns there:
// CHECKs, partial-index predicates, index terms, generated columns. It is conservative: either the result is
// the same for every value that the columns can hold, or it gives a reason why not. Defaults are in
// src/postgres/ddl/defaults.ts. It opens no database.
import type { Column, Table } from "../schema/model.js";
import { quote } from "../schema/model.js";
import { literal } from "../schema/pg-names.js";
import { callFunction, caseOf } from "./functions.js";
import {
  arithmetic,
  between,
  bits,
  comparison,
  isComparison,
  isIn,
  negate,
  uncollated,
} from "./operators.js";
import { type Node, parseExpression, Untranslatable } from "./parse.js";
import { glob, like } from "./patterns.js";
import {
  asCondition,
  asNumber,
  asText,
  booleanLiteral,
  foldCase,
  integerLiteral,
  kindOfType,
  operand,
  stored,
  type TypedSql,
  value,
} from "./typed-sql.js";

/** A SQLite column in the target: its name there, and its type as in the DDL. */
export interface ColumnTarget {
  readonly target: string;
  readonly type: string;
}

/** By the SQLite column's exact name. A column that is missing here cannot be referred to. */
export type ColumnTargets = ReadonlyMap<string, ColumnTarget>;

export type Translation = { readonly sql: string } | { readonly why: string };

/** The scope in which an expression's names and functions are resolved. */
export interface NameLookup {
  /** The column of that name, or null. */
  column(name: string, table: string | null): TypedSql | null;
  /** A function or name that has a meaning only here, or null. */
  special(node: Node, translate: (node: Node) => TypedSql): TypedSql | null;
}

/** The condition of a CHECK or of a partial index. */
export function translateCondition(table: Table, expression: string, targets: ColumnTargets): Translation {
  return attemptTranslation(
    () => asCondition(translateNode(parseExpression(expression), columnsOf(table, targets))).sql,
  );
}

const COLUMN_ALONE = /^"(?:[^"]|"")*"$/;

/**
 * An index term, a column's quoted name or an expression, under the term's collation, as CREATE INDEX takes
 * it.
 */
export function translateTerm(
  table: Table,
  expression: string,
  collation: string,
  targets: ColumnTargets,
): Translation {
  return attemptTranslation(() => {
    const term = translateNode(parseExpression(expression), columnsOf(table, targets));
    if (term.kind !== "text" || collation === "BINARY")
      return COLUMN_ALONE.test(term.sql) ? term.sql : `(${term.sql})`;
    if (collation === "NOCASE") return foldCase(term).sql;
    throw new Untranslatable(`PostgreSQL has no counterpart of the collation ${collation}`);
  });
}

interface GeneratedColumn {
  readonly type: string;
  /** The expression, without parentheses. */
  readonly sql: string;
}

/**
 * How PostgreSQL can compute a generated column, with the type that follows from the declared type and the
 * expression; or the reason why it cannot.
 */
export function generatedColumn(
  table: Table,
  column: Column,
  targets: ColumnTargets,
): GeneratedColumn | { why: string } {
  if (column.generatedAs === null) return { why: "it is no generated column" };
  const columns = columnsOf(table, targets);
  const lookup: NameLookup = {
    ...columns,
    column: (name, qualifier) => notGenerated(table, name, columns.column(name, qualifier)),
  };
  const text = column.generatedAs;
  let type = "";
  const translation = attemptTranslation(() => {
    const computed = translateNode(parseExpression(text), lookup);
    type = generatedType(column, computed);
    return stored(computed, type);
  });
  return "sql" in translation ? { type, sql: translation.sql } : translation;
}

/**
 * The expression with which PostgreSQL computes the column, or null when the column must carry SQLite's
 * value. `targets` must not hold the column itself unless its type is decided already. Null also when that
 * type is not the one that PostgreSQL's own computation would give.
 */
export function translateGenerated(table: Table, column: Column, targets: ColumnTargets): string | null {
  const generated = generatedColumn(table, column, targets);
  const decided = targets.get(column.name);
  if ("why" in generated || (decided && decided.type !== generated.type)) return null;
  return generated.sql;
}

/** A generated column of PostgreSQL cannot refer to another one. */
function notGenerated(table: Table, name: string, found: TypedSql | null): TypedSql | null {
  const column = table.columns.find((c) => c.name.toLowerCase() === name.toLowerCase());
  if (found && column && column.generated !== "no")
    throw new Untranslatable(`it uses the generated column ${column.name}`);
  return found;
}

function generatedType(column: Column, computed: TypedSql): string {
  const kind = asNumber(computed).kind;
  if (column.affinity === "TEXT") return "text";
  if (column.affinity === "REAL") return "double precision";
  if (/^bool/i.test(column.declaredType) && computed.kind === "boolean") return "boolean";
  if (column.affinity === "NUMERIC" && kind === "integer") {
    return /^(num|dec)/i.test(column.declaredType) ? "numeric" : "bigint";
  }
  if (kind === "integer") return "bigint";
  // Numeric affinity would change text and round fractions; without affinity they stay.
  if (column.affinity === "BLOB" && column.declaredType === "" && kind === "text") return "text";
  if (column.affinity === "BLOB" && kind === "bytea") return "bytea";
  throw new Untranslatable("SQLite may store its value as one of several kinds");
}

export function attemptTranslation(make: () => string): Translation {
  try {
    return { sql: make() };
  } catch (error) {
    if (error instanceof Untranslatable) return { why: error.message };
    throw error;
  }
}

function columnsOf(table: Table, targets: ColumnTargets): NameLookup {
  return {
    column(name, qualifier) {
      if (qualifier !== null && qualifier.toLowerCase() !== table.name.toLowerCase()) return null;
      const column = table.columns.find((c) => c.name.toLowerCase() === name.toLowerCase());
      const target = column && targets.get(column.name);
      if (!column) return null;
      if (!target) throw new Untranslatable(`it uses the column ${column.name}, which is not in PostgreSQL`);
      const collation = { name: column.collation, explicit: false };
      return value(kindOfType(target.type), quote(target.target), { atom: true, collation });
    },
    special: (node) => (node.kind === "call" ? jsonValid(node, table, targets) : null),
  };
}

/** json_valid() of a column that is jsonb is true, and NULL for NULL. */
function jsonValid(node: Node & { kind: "call" }, table: Table, targets: ColumnTargets): TypedSql | null {
  const argument = node.args[0];
  if (node.name !== "json_valid" || node.args.length !== 1 || argument?.kind !== "name") return null;
  const column = table.columns.find((c) => c.name.toLowerCase() === argument.name.toLowerCase());
  const target = column && targets.get(column.name);
  if (target?.type !== "jsonb") return null;
  return value("boolean", `${quote(target.target)} IS NOT NULL OR NULL::boolean`);
}

/** The value of a tree. Throws Untranslatable. */
export function translateNode(node: Node, lookup: NameLookup): TypedSql {
  const go = (child: Node): TypedSql => translateNode(child, lookup);
  const special = lookup.special(node, go);
  if (special) return special;
  switch (node.kind) {
    case "literal":
      return literalValue(node.of, node.value);
    case "name":
      return nameValue(node, lookup);
    case "unary":
      return unary(node.operator, go(node.operand));
    case "binary":
      return node.operator === "IS" || node.operator === "IS NOT"
        ? is(node, go)
        : isChain(node)
          ? chain(node, go)
          : binary(node.operator, go(node.left), go(node.right));
    case "between":
      return between(go(node.operand), go(node.low), go(node.high), node.not);
    case "in":
      return isIn(go(node.operand), node.list.map(go), node.not);
    case "like":
      return pattern(node, go);
    case "call":
      return callFunction(node.name, node.args.map(go));
    case "collate":
      return { ...go(node.operand), collation: { name: node.collation, explicit: true } };
    case "cast":
      return cast(go(node.operand), node.type);
    case "case":
      return caseOf(
        node.whens.map(([when, then]) => [
          node.base ? comparison("=", go(node.base), go(when)) : go(when),
          go(then),
        ]),
        node.otherwise ? go(node.otherwise) : null,
      );
  }
}

function literalValue(of: "integer" | "real" | "text" | "blob" | "null", written: string): TypedSql {
  if (of === "integer") return integerLiteral(written);
  if (of === "real") return value("real", written, { atom: true, constant: written });
  if (of === "text") return value("text", literal(written), { atom: true, constant: written });
  if (of === "blob")
    return value("bytea", `${literal(`\\x${written}`)}::bytea`, { atom: true, constant: written });
  return value("null", "NULL", { atom: true, constant: "NULL" });
}

/**
 * In SQLite a name in double quotes that is no column is a string, and TRUE and FALSE are ordinary
 * identifiers.
 */
function nameValue(node: Node & { kind: "name" }, lookup: NameLookup): TypedSql {
  const column = lookup.column(node.name, node.table);
  if (column) return column;
  if (node.table === null && node.quotes === '"') return literalValue("text", node.name);
  if (node.quotes === "" && /^(true|false)$/i.test(node.name))
    return booleanLiteral(node.name.toLowerCase() === "true");
  throw new Untranslatable(`${node.name} is no column of the table`);
}

function unary(operator: (Node & { kind: "unary" })["operator"], v: TypedSql): TypedSql {
  switch (operator) {
    case "NOT":
      return value("boolean", `NOT ${operand(asCondition(v))}`);
    case "IS NULL":
      return value("boolean", `${operand(v)} IS NULL`);
    case "NOT NULL":
      return value("boolean", `${operand(v)} IS NOT NULL`);
    case "+":
      return v;
    case "-":
      return negate(uncollated(v));
    case "~":
      if (asNumber(v).kind !== "integer") throw new Untranslatable("~ needs an integer");
      return value("integer", `~ ${operand(asNumber(v))}`);
  }
}

function is(node: Node & { kind: "binary" }, go: (node: Node) => TypedSql): TypedSql {
  const left = go(node.left);
  const right = go(node.right);
  if (right.kind === "null") return unary(node.operator === "IS" ? "IS NULL" : "NOT NULL", left);
  // IS TRUE tests the truth of the left side; `= TRUE` compares with 1.
  if (right.kind === "boolean" && right.constant !== null) {
    return value("boolean", `${operand(asCondition(left))} ${node.operator} ${right.constant.toUpperCase()}`);
  }
  return comparison(node.operator, left, right);
}

function binary(operator: string, left: TypedSql, right: TypedSql): TypedSql {
  if (isComparison(operator)) return comparison(operator, left, right);
  const [l, r] = [uncollated(left), uncollated(right)];
  if (operator === "||") return value("text", `${operand(asText(l))} || ${operand(asText(r))}`);
  if (operator === "->" || operator === "->>")
    throw new Untranslatable(`${operator} reads JSON by rules of SQLite's own`);
  if (["&", "|", "<<", ">>"].includes(operator)) return bits(operator, l, r);
  return arithmetic(operator, l, r);
}

function isChain(node: Node & { kind: "binary" }): boolean {
  return node.operator === "AND" || node.operator === "OR";
}

/** a AND b AND c in one line, for readability. */
function chain(node: Node & { kind: "binary" }, go: (node: Node) => TypedSql): TypedSql {
  const links = (side: Node): Node[] =>
    side.kind === "binary" && side.operator === node.operator
      ? [...links(side.left), ...links(side.right)]
      : [side];
  const conditions = links(node).map((link) => operand(asCondition(uncollated(go(link)))));
  return value("boolean", conditions.join(` ${node.operator} `));
}

function pattern(node: Node & { kind: "like" }, go: (node: Node) => TypedSql): TypedSql {
  const v = uncollated(go(node.operand));
  if (node.operator === "LIKE")
    return like(v, go(node.pattern), node.escape ? go(node.escape) : null, node.not);
  if (node.operator === "GLOB" && !node.escape) return glob(v, go(node.pattern), node.not);
  throw new Untranslatable(`${node.operator} calls a function of the application's own`);
}

/** Only casts that cannot fail or round. CAST keeps a column's collation. */
function cast(v: TypedSql, type: string): TypedSql {
  const number = asNumber(v);
  const upper = type.toUpperCase();
  const { collation } = v;
  if (/INT/.test(upper) && number.kind === "integer") return { ...number, collation };
  if (/CHAR|CLOB|TEXT/.test(upper) && (number.kind === "text" || number.kind === "integer")) {
    return { ...asText(v), collation };
  }
  if (/REAL|FLOA|DOUB/.test(upper) && number.kind === "real") return { ...number, collation };
  if (/REAL|FLOA|DOUB/.test(upper) && number.kind === "integer") {
    return value("real", `${operand(number)}::double precision`, { atom: true, collation });
  }
  throw new Untranslatable(`CAST AS ${type} guesses in SQLite where PostgreSQL would refuse`);
}
