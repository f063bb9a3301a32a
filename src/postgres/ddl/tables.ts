// Makes PostgreSQL's schema from the mapping of a SQLite schema: CREATE TABLE with defaults, CHECKs and generated
// columns. Separately it gives the statements that follow the copy (keys.ts). Parts without an exact counterpart are
// left out and named as an oddity, never approximated. The statements are plain text without a semicolon, for running
// and for `plan --sql`. inspect.ts reads what is in a target already.

import { type ColumnMapping, ROWID_COLUMN, type TableMapping } from "../../mapping/mapping.js";
import { present } from "../../present.js";
import type { Column, Oddity, Table } from "../../schema/model.js";
import { quote } from "../../schema/model.js";
import { defaultTargetName, Names } from "../../schema/pg-names.js";
import { type ColumnTargets, generatedColumn, translateCondition } from "../../translate/translate.js";
import { kindOfType } from "../../translate/typed-sql.js";
import { translateDefault } from "./defaults.js";
import {
  type ForeignKeyStatement,
  foreignKeysOf,
  indexesOf,
  type NamedStatement,
  primaryKeyOf,
} from "./keys.js";

export interface TargetColumn {
  readonly name: string;
  /** As in the DDL. */
  readonly type: string;
  readonly notNull: boolean;
  /** The expression with which PostgreSQL computes it, or null for a column that is written. */
  readonly generated: string | null;
}

export interface TargetTable {
  readonly mapping: TableMapping;
  /** Every column in the target's order, computed ones too. */
  readonly columns: readonly TargetColumn[];
  /** CREATE TABLE, without the keys and constraints that would slow the copy. */
  readonly create: string;
  /** Each column as CREATE TABLE and ADD COLUMN spell it, by name. */
  readonly columnLines: ReadonlyMap<string, string>;
  /** The part of a column's line after DEFAULT, by name; columns without a default are missing. */
  readonly defaults: ReadonlyMap<string, string>;
  readonly checks: readonly NamedCheck[];
  readonly primaryKey: NamedStatement;
  /** Unique constraints and indexes, and plain indexes. */
  readonly indexes: readonly NamedStatement[];
  readonly foreignKeys: readonly ForeignKeyStatement[];
}

export interface TargetSchema {
  readonly tables: readonly TargetTable[];
  readonly oddities: readonly Oddity[];
}

/** The target's DDL. The same mappings always give the same names. */
export function buildTargetSchema(mappings: readonly TableMapping[]): TargetSchema {
  const oddities: Oddity[] = [];
  const shapes = mappings.map((mapping) => shapeOf(mapping, oddities));
  const names = reservedNames(mappings);
  const tables = shapes.map((shape) => {
    const inSchema = names.get(shape.mapping.schema) ?? new Names();
    const primaryKey = primaryKeyOf(shape.mapping, inSchema);
    const indexes = indexesOf(shape, inSchema, oddities);
    const checks = checksOf(shape, [primaryKey, ...indexes], oddities);
    const defaults = defaultsOf(shape, oddities);
    const columnLines = new Map(
      shape.columns.map((column) => [column.name, columnLine(shape.mapping, column, defaults)]),
    );
    const create = createTable(shape.mapping, [...columnLines.values()], checks);
    const constraints = [primaryKey, ...indexes, ...checks].map((constraint) => constraint.name);
    const { mapping, columns } = shape;
    return { mapping, columns, create, columnLines, defaults, checks, primaryKey, indexes, constraints };
  });
  // A foreign key may point at any table, so it needs every table's unique keys.
  return {
    tables: tables.map(({ constraints, ...table }) => {
      return { ...table, foreignKeys: foreignKeysOf(table, constraints, tables, oddities) };
    }),
    oddities,
  };
}

/** A target table before its statements are written. */
export interface Shape {
  readonly mapping: TableMapping;
  readonly columns: readonly TargetColumn[];
  readonly targets: ColumnTargets;
}

function shapeOf(mapping: TableMapping, oddities: Oddity[]): Shape {
  const targets = new Map<string, { target: string; type: string }>();
  for (const { column, target, codec } of mapping.columns) {
    if (column !== null) targets.set(column, { target, type: codec.type });
  }
  const written = mapping.columns.map(writtenColumn);
  const columns: TargetColumn[] = [];
  const rest = new Map(written.map((column) => [column.name, column]));
  for (const column of mapping.table.columns) {
    const target = targets.get(column.name);
    const shape = target ? rest.get(target.target) : computedColumn(mapping, column, targets, oddities);
    if (target && column.generated !== "no") oddities.push(carried(mapping.table, column, targets));
    if (shape) columns.push(shape);
    if (shape && column.collation !== "BINARY" && kindOfType(shape.type) === "text") {
      oddities.push(otherwiseCompared(mapping.table, column));
    }
    if (target) rest.delete(target.target);
  }
  for (const { name, type, generated } of columns) {
    const column =
      generated === null ? undefined : mapping.table.columns.find((c) => defaultTargetName(c.name) === name);
    if (column) targets.set(column.name, { target: name, type });
  }
  // The application's order, computed columns among the others; the rowid's column comes last.
  return { mapping, columns: [...columns, ...rest.values()], targets };
}

function writtenColumn({ target, codec, notNull }: ColumnMapping): TargetColumn {
  return { name: target, type: codec.type, notNull, generated: null };
}

/** A column that the mapping lets PostgreSQL compute. */
function computedColumn(
  mapping: TableMapping,
  column: Column,
  targets: ColumnTargets,
  oddities: Oddity[],
): TargetColumn | null {
  if (column.generated === "no") return null;
  const generated = generatedColumn(mapping.table, column, targets);
  if ("sql" in generated) {
    return {
      name: defaultTargetName(column.name),
      type: generated.type,
      notNull: column.notNull,
      generated: generated.sql,
    };
  }
  oddities.push({
    kind: "generated column",
    table: mapping.table.name,
    name: column.name,
    why: generated.why,
    remedy:
      "It is left out of the target; map it to carry its value, or compute it in PostgreSQL by a trigger.",
  });
  return null;
}

function carried(table: Table, column: Column, targets: ColumnTargets): Oddity {
  const others = new Map([...targets].filter(([name]) => name !== column.name));
  const generated = generatedColumn(table, column, others);
  return {
    kind: "generated column",
    table: table.name,
    name: column.name,
    why:
      "why" in generated
        ? generated.why
        : `PostgreSQL would compute a ${generated.type}, and the mapping wants another type`,
    remedy:
      "PostgreSQL keeps SQLite's value as an ordinary column; after the cutover the application, or a trigger, must fill it.",
  };
}

/** Indexes keep a collation's rule for uniqueness; no DDL can keep its rule for queries. */
function otherwiseCompared(table: Table, column: Column): Oddity {
  const folds = column.collation === "NOCASE";
  return {
    kind: "column",
    table: table.name,
    name: column.name,
    why: `SQLite compares it by ${column.collation}${folds ? ", without regard to the case of A to Z" : ""}; PostgreSQL compares it byte for byte`,
    remedy: folds
      ? `Queries that rely on it must compare lower(${quote(column.name)} COLLATE "C") after the cutover.`
      : "Look through the application's queries that compare or sort by it before the cutover.",
  };
}

function createTable(
  mapping: TableMapping,
  columns: readonly string[],
  checks: readonly NamedCheck[],
): string {
  const lines = [...columns, ...checks.map(checkLine)];
  return `CREATE TABLE ${quote(mapping.schema)}.${quote(mapping.target)} (\n  ${lines.join(",\n  ")}\n)`;
}

/** A CHECK as CREATE TABLE and ADD spell it. */
export function checkLine(check: NamedCheck): string {
  return `CONSTRAINT ${quote(check.name)} CHECK (${check.condition})`;
}

function columnLine(
  mapping: TableMapping,
  column: TargetColumn,
  defaults: ReadonlyMap<string, string>,
): string {
  const head = `${quote(column.name)} ${column.type}`;
  const notNull = column.notNull ? " NOT NULL" : "";
  if (column.generated !== null) return `${head} GENERATED ALWAYS AS (${column.generated}) STORED${notNull}`;
  if (isIdentity(mapping, column)) return `${head} GENERATED BY DEFAULT AS IDENTITY NOT NULL`;
  const standard = defaults.get(column.name);
  return `${head}${notNull}${standard === undefined ? "" : ` DEFAULT ${standard}`}`;
}

const INTEGERS = new Set(["bigint", "integer", "smallint"]);

/** The rowid, under its own name or as INTEGER PRIMARY KEY: SQLite assigns its numbers. */
function isIdentity(mapping: TableMapping, column: Pick<TargetColumn, "name" | "type">): boolean {
  const written = mapping.columns.find((c) => c.target === column.name);
  if (!written || !INTEGERS.has(column.type)) return false;
  return written.column === null
    ? column.name === ROWID_COLUMN
    : written.column === mapping.table.integerPrimaryKey;
}

function defaultsOf({ mapping, columns }: Shape, oddities: Oddity[]): Map<string, string> {
  const defaults = new Map<string, string>();
  for (const column of columns) {
    const written = mapping.columns.find((c) => c.target === column.name);
    const source = mapping.table.columns.find((c) => c.name === written?.column);
    if (!written || !source || source.default === null || source.generated !== "no") continue;
    if (isIdentity(mapping, column)) continue;
    const translation = translateDefault(source, written.codec);
    if ("why" in translation) oddities.push(untranslatedDefault(mapping.table, source, translation.why));
    else if (translation.sql !== "NULL") defaults.set(column.name, translation.sql);
  }
  return defaults;
}

function untranslatedDefault(table: Table, column: Column, why: string): Oddity {
  return {
    kind: "default",
    table: table.name,
    name: column.name,
    why: `DEFAULT ${column.default}: ${why}`,
    remedy:
      "The target column has no default; set one in PostgreSQL before the cutover, if the application relies on it.",
  };
}

interface NamedCheck {
  readonly name: string;
  readonly condition: string;
}

/** The CHECKs, under names that neither another constraint of the table nor PostgreSQL's NOT NULLs have. */
function checksOf(
  { mapping, columns, targets }: Shape,
  keys: readonly NamedStatement[],
  oddities: Oddity[],
): NamedCheck[] {
  const names = new Names();
  for (const { name } of keys) names.take(name, name);
  for (const { name } of columns) names.take(`${mapping.target}_${name}_not_null`, name);
  return mapping.table.checks.flatMap((check) => {
    const translation = translateCondition(mapping.table, check.expression, targets);
    if ("sql" in translation) {
      const name = names.take(check.name ?? `${mapping.target}_check`, check.expression);
      return { name, condition: translation.sql };
    }
    oddities.push({
      kind: "check",
      table: mapping.table.name,
      name: check.name ?? check.expression,
      why: `CHECK (${check.expression}): ${translation.why}`,
      remedy:
        "The target has no such constraint; add an equivalent one in PostgreSQL before the cutover, if the application relies on it.",
    });
    return [];
  });
}

/** One namespace per schema: tables first, and the sequences that PostgreSQL names by itself. */
function reservedNames(mappings: readonly TableMapping[]): Map<string, Names> {
  const names = new Map<string, Names>();
  for (const { schema, target } of mappings) {
    const inSchema = names.get(schema) ?? new Names();
    inSchema.take(target, target);
    names.set(schema, inSchema);
  }
  for (const mapping of mappings) {
    for (const { target, codec } of mapping.columns) {
      if (!isIdentity(mapping, { name: target, type: codec.type })) continue;
      const inSchema = present(names.get(mapping.schema), `names of schema ${mapping.schema}`);
      inSchema.take(`${mapping.target}_${target}_seq`, mapping.target);
    }
  }
  return names;
}
