// The statements that follow a copy: primary keys, unique constraints, indexes, foreign keys, each with a name that
// is the same in every run. SQLite's NOCASE becomes an index over the ASCII-folded text. Uniqueness and references
// that PostgreSQL would judge differently are left out and named.

import type { TableMapping } from "../../mapping/mapping.js";
import { ROWID_COLUMN } from "../../mapping/mapping.js";
import { comparable } from "../../mapping/review.js";
import { present } from "../../present.js";
import type { ForeignKey, Index, IndexTerm, Oddity } from "../../schema/model.js";
import { quote } from "../../schema/model.js";
import { defaultTargetName, type Names } from "../../schema/pg-names.js";
import { translateCondition, translateTerm } from "../../translate/translate.js";
import { kindOfType } from "../../translate/typed-sql.js";
import type { Shape } from "./tables.js";

export interface NamedStatement {
  readonly name: string;
  readonly kind: "primary key" | "unique" | "index" | "foreign key";
  readonly sql: string;
  /** True when it makes PostgreSQL refuse duplicates. */
  readonly unique: boolean;
  /** The target columns, in order; null where a term is an expression. */
  readonly columns: readonly (string | null)[];
  /** True for an index over only part of the rows. */
  readonly partial: boolean;
}

export interface ForeignKeyStatement extends NamedStatement {
  /** The parent's target table. */
  readonly parent: string;
}

interface Keyed {
  readonly mapping: TableMapping;
  readonly primaryKey: NamedStatement;
  readonly indexes: readonly NamedStatement[];
}

/** PostgreSQL's limit. */
const INDEX_TERMS_MAX = 32;

export function primaryKeyOf(mapping: TableMapping, names: Names): NamedStatement {
  const columns = mapping.key.map((column) => column.target);
  const name = names.take(`${mapping.target}_pkey`, mapping.target);
  const sql = `ALTER TABLE ${relation(mapping)} ADD CONSTRAINT ${quote(name)} PRIMARY KEY (${list(columns)})`;
  return { name, kind: "primary key", sql, unique: true, columns, partial: false };
}

export function indexesOf(shape: Shape, names: Names, oddities: Oddity[]): NamedStatement[] {
  return shape.mapping.table.indexes.flatMap((index) => indexStatement(shape, index, names, oddities) ?? []);
}

function indexStatement(shape: Shape, index: Index, names: Names, oddities: Oddity[]): NamedStatement | null {
  const { mapping } = shape;
  const isKey = index.origin === "pk" && mapping.table.key.kind === "columns";
  const folds = index.terms.some((term) => term.collation === "NOCASE" && isText(shape, term));
  // The primary key itself is byte-exact; SQLite's also refuses keys that differ in case only.
  if (isKey && !folds) return null;
  const parts = index.terms.map((term) => termSql(shape, term));
  const where = index.where === null ? null : translateCondition(mapping.table, index.where, shape.targets);
  const why = whyNot(shape, index, [...parts, ...(where ? [where] : [])]);
  if (why !== null) {
    oddities.push(leftOut(mapping, index, why));
    return null;
  }
  const terms = parts.flatMap((part) => ("sql" in part ? part.sql : []));
  const name = names.take(indexName(mapping, index, isKey), index.name);
  const columns = index.terms.map((term) =>
    term.column === null || isFolded(shape, term) ? null : targetOf(shape, term.column),
  );
  const predicate = where && "sql" in where ? ` WHERE ${where.sql}` : "";
  const base = { name, unique: index.unique, columns, partial: index.where !== null };
  if (index.origin === "u" && columns.every((column) => column !== null)) {
    const sql = `ALTER TABLE ${relation(mapping)} ADD CONSTRAINT ${quote(name)} UNIQUE (${list(columns)})`;
    return { ...base, kind: "unique", sql };
  }
  const unique = index.unique ? "UNIQUE " : "";
  const sql = `CREATE ${unique}INDEX ${quote(name)} ON ${relation(mapping)} (${terms.join(", ")})${predicate}`;
  return { ...base, kind: index.unique ? "unique" : "index", sql };
}

function termSql(shape: Shape, term: IndexTerm): { sql: string } | { why: string } {
  const direction = term.descending ? " DESC" : "";
  const rowid =
    term.column === null && /^(rowid|_rowid_|oid)$/i.test(term.expression) ? rowidColumn(shape) : null;
  if (rowid !== null) return { sql: `${quote(rowid)}${direction}` };
  const text = term.column === null ? term.expression : quote(term.column);
  const translation = translateTerm(shape.mapping.table, text, term.collation, shape.targets);
  return "sql" in translation ? { sql: `${translation.sql}${direction}` } : translation;
}

/** The column that holds the rowid; null where the target has none. */
function rowidColumn({ mapping, targets }: Shape): string | null {
  const alias = mapping.table.integerPrimaryKey;
  if (alias !== null) return targets.get(alias)?.target ?? null;
  return mapping.table.key.kind === "rowid" ? ROWID_COLUMN : null;
}

function whyNot(
  shape: Shape,
  index: Index,
  parts: readonly ({ sql: string } | { why: string })[],
): string | null {
  if (index.terms.length > INDEX_TERMS_MAX) return `it has more than ${INDEX_TERMS_MAX} columns`;
  const json = index.terms.find(
    (term) => term.column !== null && shape.targets.get(term.column)?.type === "json",
  );
  if (json) return `PostgreSQL cannot order the type json of ${json.column}; jsonb it can`;
  for (const part of parts) if ("why" in part) return part.why;
  return null;
}

function leftOut({ table }: TableMapping, index: Index, why: string): Oddity {
  return {
    kind: "index",
    table: table.name,
    name: index.name,
    why,
    remedy: index.unique
      ? "PostgreSQL will not refuse duplicates as SQLite does; add an equivalent unique index there before the cutover."
      : "Add an equivalent index in PostgreSQL, if the application's queries need it.",
  };
}

function indexName(mapping: TableMapping, index: Index, isKey: boolean): string {
  if (index.origin === "c") return index.name;
  const columns = index.terms.map((term) => term.column ?? "expr").join("_");
  return `${mapping.target}_${columns}${isKey ? "_nocase" : ""}_key`;
}

function isText({ targets }: Shape, term: IndexTerm): boolean {
  const type = term.column === null ? undefined : targets.get(term.column)?.type;
  return type !== undefined && kindOfType(type) === "text";
}

function isFolded(shape: Shape, term: IndexTerm): boolean {
  return term.collation !== "BINARY" && isText(shape, term);
}

function targetOf({ targets }: Shape, column: string): string {
  return targets.get(column)?.target ?? defaultTargetName(column);
}

/** The foreign keys of one table that PostgreSQL can enforce as SQLite does; `constraints` holds the names in use. */
export function foreignKeysOf(
  child: Keyed,
  constraints: readonly string[],
  all: readonly Keyed[],
  oddities: Oddity[],
): ForeignKeyStatement[] {
  const taken = new Set(constraints);
  return child.mapping.table.foreignKeys.flatMap((foreignKey) => {
    const parent = all.find((other) => other.mapping.table.name === foreignKey.parent);
    const found = reference(child, parent, foreignKey);
    if ("why" in found) {
      oddities.push(notEnforced(child.mapping, foreignKey, found.why));
      return [];
    }
    return foreignKeyStatement(child.mapping, found, foreignKey, taken);
  });
}

interface Reference {
  readonly parent: TableMapping;
  readonly columns: readonly string[];
  readonly parentColumns: readonly string[];
}

function reference(
  child: Keyed,
  parent: Keyed | undefined,
  foreignKey: ForeignKey,
): Reference | { why: string } {
  if (!parent) return { why: `its parent ${foreignKey.parent} is not moved to PostgreSQL` };
  const pairs = foreignKey.columns.map((column, i) => ({
    here: child.mapping.columns.find((c) => c.column === column),
    there: parent.mapping.columns.find((c) => c.column === foreignKey.parentColumns[i]),
  }));
  const columns: string[] = [];
  const parentColumns: string[] = [];
  for (const { here, there } of pairs) {
    if (!here || !there) return { why: "one of its columns is not written in PostgreSQL" };
    if (!comparable(here.codec.name, there.codec.name)) {
      return { why: `${here.target} is ${here.codec.type} and ${there.target} is ${there.codec.type}` };
    }
    const collation = parent.mapping.table.columns.find((c) => c.name === there.column)?.collation;
    if (collation !== "BINARY" && kindOfType(there.codec.type) === "text") {
      return { why: `SQLite compares ${there.target} by ${collation}, PostgreSQL would byte for byte` };
    }
    columns.push(here.target);
    parentColumns.push(there.target);
  }
  if (!isUnique(parent, parentColumns))
    return { why: `${parentColumns.join(", ")} of ${foreignKey.parent} is not unique` };
  return { parent: parent.mapping, columns, parentColumns };
}

function isUnique({ primaryKey, indexes }: Keyed, columns: readonly string[]): boolean {
  return [primaryKey, ...indexes].some(
    (key) =>
      key.unique &&
      !key.partial &&
      key.columns.length === columns.length &&
      columns.every((c) => key.columns.includes(c)),
  );
}

function foreignKeyStatement(
  child: TableMapping,
  { parent, columns, parentColumns }: Reference,
  foreignKey: ForeignKey,
  taken: Set<string>,
): ForeignKeyStatement {
  let name = defaultTargetName(`${child.target}_${columns.join("_")}_fkey`);
  for (let n = 1; taken.has(name); n++)
    name = defaultTargetName(`${child.target}_${columns.join("_")}_fkey${n}`);
  taken.add(name);
  const actions = `ON UPDATE ${foreignKey.onUpdate} ON DELETE ${foreignKey.onDelete}`;
  const deferred = foreignKey.deferred ? " DEFERRABLE INITIALLY DEFERRED" : "";
  const sql =
    `ALTER TABLE ${relation(child)} ADD CONSTRAINT ${quote(name)} FOREIGN KEY (${list(columns)}) ` +
    `REFERENCES ${relation(parent)} (${list(parentColumns)}) ${actions}${deferred} NOT VALID`;
  return {
    name,
    kind: "foreign key",
    sql,
    unique: false,
    columns,
    partial: false,
    parent: parent.target,
  };
}

function notEnforced({ table }: TableMapping, foreignKey: ForeignKey, why: string): Oddity {
  return {
    kind: "foreign key",
    table: table.name,
    name: foreignKey.columns.join(", "),
    why,
    remedy:
      "PostgreSQL will not enforce it; give both sides the same type in the configuration, or add it by hand after the cutover.",
  };
}

function relation({ schema, target }: TableMapping): string {
  return `${quote(schema)}.${quote(target)}`;
}

function list(columns: readonly (string | null)[]): string {
  return columns.map((column) => quote(present(column, "column of the constraint"))).join(", ");
}
