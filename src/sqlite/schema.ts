// Reads an application's SQLite schema into the model that everything else uses. It owns which tables count
// (ordinary ones: not SQLite's, not switchback's, not virtual ones), and how a table's rows are named (its
// key). It reports what has no counterpart. It changes nothing in the file and knows no PostgreSQL.
import type Database from "better-sqlite3";
import { affinityOf } from "../schema/declared-affinity.js";
import type {
  Column,
  ForeignKey,
  Index,
  IndexTerm,
  Key,
  Oddity,
  RowidAlias,
  Schema,
  Table,
} from "../schema/model.js";
import { quote } from "../schema/model.js";
import { readCreateIndex, readCreateTable, type TableText } from "../schema/sqlite-ddl.js";
import { isOperator, textOf, tokens } from "../schema/sqlite-tokens.js";
import { sql } from "../sql-files.js";

interface TableRow {
  readonly name: string;
  readonly type: "table" | "view" | "virtual" | "shadow";
  readonly wr: number | bigint;
  readonly strict: number | bigint;
  readonly sql: string | null;
}
interface ColumnRow {
  readonly name: string;
  readonly type: string;
  readonly notnull: number | bigint;
  readonly dflt_value: string | null;
  readonly pk: number | bigint;
  readonly hidden: number | bigint;
}
interface IndexRow {
  readonly name: string;
  readonly unique: number | bigint;
  readonly origin: Index["origin"];
  readonly sql: string | null;
}
interface TermRow {
  readonly name: string | null;
  readonly desc: number | bigint;
  readonly coll: string;
}
interface ForeignKeyRow {
  readonly id: number | bigint;
  readonly table: string;
  readonly from: string;
  readonly to: string | null;
  readonly on_update: string;
  readonly on_delete: string;
}

const ROWID_ALIASES: readonly RowidAlias[] = ["rowid", "_rowid_", "oid"];

/** True for the tables, triggers and indexes that switchback itself keeps in the file. */
export function isOurs(name: string): boolean {
  return name.toLowerCase().startsWith("_switchback_");
}

/** The application's schema, in name order. For a consistent result, call it inside a read transaction. */
export function readSchema(db: Database.Database): Schema {
  const oddities: Oddity[] = [];
  const rows = list<TableRow>(db, "tables").filter((row) => !isInternal(row.name));
  const shadows = shadowsOfUnknownModules(db, rows);
  const tables: Table[] = [];
  for (const row of rows.sort((a, b) => (a.name < b.name ? -1 : 1))) {
    if (row.type === "view") oddities.push(view(row.name));
    else if (row.type === "virtual") oddities.push(virtualTable(row.name));
    else if (row.type === "table" && !shadows.has(row.name)) {
      const table = readTable(db, row);
      if (table) tables.push(table);
      else oddities.push(unreachable(row.name));
    }
  }
  oddities.push(...triggers(db));
  return { tables: tables.map((table) => resolveForeignKeys(table, tables, oddities)), oddities };
}

/** Null when neither a key nor the rowid can name its rows. */
function readTable(db: Database.Database, row: TableRow): Table | null {
  const ddl = row.sql ?? "";
  const text = readCreateTable(ddl);
  const columnRows = list<ColumnRow>(db, "columns", row.name);
  const indexes = list<IndexRow>(db, "indexes", row.name).map((index) => readIndex(db, index));
  const withoutRowid = Number(row.wr) === 1;
  const strict = Number(row.strict) === 1;
  const primary = columnRows
    .filter((column) => Number(column.pk) > 0)
    .sort((a, b) => Number(a.pk) - Number(b.pk));
  const integerPrimaryKey = integerPrimaryKeyOf(primary, indexes, withoutRowid);
  const keyIsNotNull = withoutRowid || strict || integerPrimaryKey !== null;
  const columns = columnRows.map((column) =>
    readColumn(column, text, strict, keyIsNotNull && Number(column.pk) > 0),
  );
  const primaryKey = primary.map((column) => column.name);
  const rowidAlias = withoutRowid ? null : freeAlias(columns);
  const key = keyOf(db, row.name, primaryKey, columns, rowidAlias);
  if (!key) return null;
  return {
    name: row.name,
    columns,
    key,
    primaryKey,
    integerPrimaryKey,
    autoincrement: text.autoincrement,
    withoutRowid,
    rowidAlias,
    indexes,
    foreignKeys: readForeignKeys(db, row.name, text),
    checks: text.checks,
    sql: ddl,
  };
}

function readColumn(row: ColumnRow, text: TableText, strict: boolean, keyIsNotNull: boolean): Column {
  const written = text.columns.find((column) => column.name.toLowerCase() === row.name.toLowerCase());
  const hidden = Number(row.hidden);
  return {
    name: row.name,
    declaredType: row.type,
    affinity: affinityOf(row.type, strict),
    notNull: Number(row.notnull) === 1 || keyIsNotNull,
    default: row.dflt_value === null ? null : textOf(tokens(row.dflt_value)),
    generated: hidden === 2 ? "virtual" : hidden === 3 ? "stored" : "no",
    generatedAs: hidden === 2 || hidden === 3 ? (written?.generatedAs ?? null) : null,
    collation: collationName(written?.collation ?? "BINARY"),
  };
}

/** SQLite's own collations in capitals, whatever the DDL's spelling; the application's own as written. */
function collationName(name: string): string {
  const upper = name.toUpperCase();
  return ["BINARY", "NOCASE", "RTRIM"].includes(upper) ? upper : name;
}

/**
 * The column that is the rowid. Only the exact type INTEGER makes one, and not with `PRIMARY KEY DESC` in the
 * column's definition. SQLite then keeps a separate index of origin pk, which reveals that case.
 */
function integerPrimaryKeyOf(
  primary: readonly ColumnRow[],
  indexes: readonly Index[],
  withoutRowid: boolean,
): string | null {
  const only = primary[0];
  if (withoutRowid || primary.length !== 1 || !only || only.type.toUpperCase() !== "INTEGER") return null;
  return indexes.some((index) => index.origin === "pk") ? null : only.name;
}

function freeAlias(columns: readonly Column[]): RowidAlias | null {
  const taken = new Set(columns.map((column) => column.name.toLowerCase()));
  return ROWID_ALIASES.find((alias) => !taken.has(alias)) ?? null;
}

function keyOf(
  db: Database.Database,
  table: string,
  primaryKey: readonly string[],
  columns: readonly Column[],
  rowidAlias: RowidAlias | null,
): Key | null {
  const nullable = primaryKey.filter((name) => !columns.find((column) => column.name === name)?.notNull);
  if (primaryKey.length > 0 && nullable.every((column) => !holdsNull(db, table, column))) {
    return { kind: "columns", columns: primaryKey };
  }
  return rowidAlias ? { kind: "rowid", alias: rowidAlias } : null;
}

/** SQLite permits several NULLs in a PRIMARY KEY that is neither INTEGER nor WITHOUT ROWID. */
function holdsNull(db: Database.Database, table: string, column: string): boolean {
  return (
    db.prepare(`SELECT 1 FROM main.${quote(table)} WHERE ${quote(column)} IS NULL LIMIT 1`).get() !==
    undefined
  );
}

function readIndex(db: Database.Database, row: IndexRow): Index {
  const text = row.sql === null ? null : readCreateIndex(row.sql);
  const terms = list<TermRow>(db, "index-terms", row.name).map((term, i): IndexTerm => {
    const order = { collation: collationName(term.coll), descending: Number(term.desc) === 1 };
    if (term.name !== null) return { column: term.name, expression: null, ...order };
    // The rowid, named in an index, has no column.
    return { column: null, expression: text?.terms[i] ?? "rowid", ...order };
  });
  return {
    name: row.name,
    unique: Number(row.unique) === 1,
    origin: row.origin,
    terms,
    where: text?.where ?? null,
  };
}

/** As declared: the parent's names may differ in case, and its columns may be empty; see resolveForeignKeys. */
function readForeignKeys(db: Database.Database, table: string, text: TableText): ForeignKey[] {
  const byId = new Map<number, ForeignKeyRow[]>();
  for (const row of list<ForeignKeyRow>(db, "foreign-keys", table)) {
    byId.set(Number(row.id), [...(byId.get(Number(row.id)) ?? []), row]);
  }
  return [...byId.values()].flatMap((rows, i) => {
    const first = rows[0];
    if (!first) return [];
    return {
      columns: rows.map((row) => row.from),
      parent: first.table,
      parentColumns: rows.flatMap((row) => (row.to === null ? [] : [row.to])),
      onUpdate: first.on_update,
      onDelete: first.on_delete,
      deferred: text.deferred[i] ?? false,
    };
  });
}

/**
 * Gives every foreign key its parent's own spelling and columns; one that SQLite itself cannot enforce is an
 * oddity.
 */
function resolveForeignKeys(table: Table, tables: readonly Table[], oddities: Oddity[]): Table {
  const foreignKeys = table.foreignKeys.flatMap((foreignKey) => {
    const parent = tables.find((other) => sameName(other.name, foreignKey.parent));
    const wanted =
      foreignKey.parentColumns.length > 0 ? foreignKey.parentColumns : (parent?.primaryKey ?? []);
    const parentColumns = wanted.flatMap(
      (name) => parent?.columns.find((column) => sameName(column.name, name))?.name ?? [],
    );
    if (parent && wanted.length === foreignKey.columns.length && parentColumns.length === wanted.length) {
      return { ...foreignKey, parent: parent.name, parentColumns };
    }
    oddities.push({
      kind: "foreign key",
      table: table.name,
      name: foreignKey.columns.join(", "),
      why: parent
        ? `it refers to columns that ${parent.name} does not have, or to a different number of columns`
        : `it refers to ${foreignKey.parent}, which is no ordinary table of this file`,
      remedy:
        "Nothing is lost: SQLite cannot enforce it either. Add the right constraint in PostgreSQL after the cutover.",
    });
    return [];
  });
  return { ...table, foreignKeys };
}

function isInternal(name: string): boolean {
  return name.toLowerCase().startsWith("sqlite_") || isOurs(name);
}

/**
 * A module that this connection lacks (an application's extension) cannot name its shadow tables, so they look
 * ordinary. Their names always begin with the virtual table's and an underscore.
 */
function shadowsOfUnknownModules(db: Database.Database, rows: readonly TableRow[]): Set<string> {
  const known = new Set(list<{ name: string }>(db, "modules").map((row) => row.name.toLowerCase()));
  const unknown = rows.filter((row) => row.type === "virtual" && !known.has(moduleOf(row.sql ?? "")));
  const isShadow = (row: TableRow): boolean =>
    unknown.some((virtual) => row.name.startsWith(`${virtual.name}_`));
  return new Set(rows.filter(isShadow).map((row) => row.name));
}

function moduleOf(ddl: string): string {
  const words = tokens(ddl);
  const using = words.findIndex((token) => token.text.toUpperCase() === "USING");
  const name = words[using + 1];
  return using < 0 || !name || isOperator(name, "(") ? "" : name.value.toLowerCase();
}

function triggers(db: Database.Database): Oddity[] {
  return list<{ name: string; tbl_name: string }>(db, "triggers")
    .filter((row) => !isOurs(row.name) && !isOurs(row.tbl_name))
    .map((row) => ({
      kind: "trigger",
      table: row.tbl_name,
      name: row.name,
      why: "a trigger's program has no translation into PostgreSQL; the rows that it writes are followed like any others",
      remedy:
        "If the application still needs it there, write an equivalent trigger on the copy in PostgreSQL. It may be created at any time: it stays disabled while SQLite has the writes, and the cutover enables it.",
    }));
}

function view(name: string): Oddity {
  return {
    kind: "view",
    table: name,
    name,
    why: "a view holds no rows, and its query may use SQLite's functions",
    remedy: "Create the view in PostgreSQL by hand before the cutover, if the application reads it.",
  };
}

function virtualTable(name: string): Oddity {
  return {
    kind: "virtual table",
    table: name,
    name,
    why: "SQLite allows no triggers on a virtual table, so its changes cannot be followed; its shadow tables are left out too",
    remedy:
      "Replace it in PostgreSQL before the cutover (full-text search: a tsvector column with a GIN index; R-Tree: GiST). After a revert rebuild it, because it misses what was written there.",
  };
}

function unreachable(name: string): Oddity {
  return {
    kind: "table",
    table: name,
    name,
    why: "it has no usable primary key, and columns named rowid, _rowid_ and oid hide the rowid: its rows cannot be told apart",
    remedy: "Give the table a primary key without NULLs, or rename one of these columns.",
  };
}

function sameName(a: string, b: string): boolean {
  return a.toLowerCase() === b.toLowerCase();
}

function list<Row>(db: Database.Database, name: string, ...parameters: string[]): Row[] {
  return db.prepare<string[], Row>(sql(`sqlite/schema/${name}`)).all(...parameters);
}
