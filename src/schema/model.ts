// The model of a SQLite table that both stores and the mapping share: plain, frozen data.
// src/sqlite/schema.ts reads it from a file, src/postgres/ddl/tables.ts turns it into PostgreSQL's DDL.

export type Affinity = "INTEGER" | "TEXT" | "BLOB" | "REAL" | "NUMERIC";

export interface Column {
  readonly name: string;
  /** As written in the DDL; '' when the column has none. */
  readonly declaredType: string;
  readonly affinity: Affinity;
  /** True when SQLite itself refuses NULL: NOT NULL, INTEGER PRIMARY KEY, or a WITHOUT ROWID primary key. */
  readonly notNull: boolean;
  /** The default's SQL text as written, or null. */
  readonly default: string | null;
  /** `virtual` and `stored` columns are computed by SQLite and never written. */
  readonly generated: "no" | "virtual" | "stored";
  /** The generating expression's SQL text, without the outer parentheses; null unless generated. */
  readonly generatedAs: string | null;
  /** BINARY, NOCASE, RTRIM or an application's own. */
  readonly collation: string;
}

export type RowidAlias = "rowid" | "_rowid_" | "oid";

/** How a row is named in the change log and in the target. */
export type Key =
  | { readonly kind: "columns"; readonly columns: readonly string[] }
  | { readonly kind: "rowid"; readonly alias: RowidAlias };

/** A column, or the SQL text of an expression. */
export type IndexTerm = {
  readonly collation: string;
  readonly descending: boolean;
} & (
  | { readonly column: string; readonly expression: null }
  | { readonly column: null; readonly expression: string }
);

export interface Index {
  readonly name: string;
  readonly unique: boolean;
  /** c: CREATE INDEX, u: a UNIQUE constraint, pk: the primary key. */
  readonly origin: "c" | "u" | "pk";
  readonly terms: readonly IndexTerm[];
  /** A partial index's predicate as SQL text, or null. */
  readonly where: string | null;
}

export interface ForeignKey {
  readonly columns: readonly string[];
  readonly parent: string;
  /** The parent's columns; its primary key where the DDL names none. */
  readonly parentColumns: readonly string[];
  readonly onUpdate: string;
  readonly onDelete: string;
  readonly deferred: boolean;
}

export interface Check {
  readonly name: string | null;
  readonly expression: string;
}

export interface Table {
  readonly name: string;
  /** Every column, generated ones too, in declaration order. */
  readonly columns: readonly Column[];
  readonly key: Key;
  /** The declared primary key's columns, also when NULLs in them make it unusable as `key`. */
  readonly primaryKey: readonly string[];
  /** The column that is the rowid under another name, or null. */
  readonly integerPrimaryKey: string | null;
  readonly autoincrement: boolean;
  readonly withoutRowid: boolean;
  /** A name for the rowid that no column hides; null for WITHOUT ROWID, or when all three are hidden. */
  readonly rowidAlias: RowidAlias | null;
  readonly indexes: readonly Index[];
  readonly foreignKeys: readonly ForeignKey[];
  readonly checks: readonly Check[];
  /** The DDL as SQLite stores it: two equal texts are the same shape. */
  readonly sql: string;
}

/** An object of the file that cannot be followed or has no counterpart; `check` and `plan` list these. */
export interface Oddity {
  readonly kind:
    | "virtual table"
    | "view"
    | "trigger"
    | "check"
    | "index"
    | "default"
    | "foreign key"
    | "generated column"
    | "table"
    | "column";
  /** The table it belongs to, or its own name. */
  readonly table: string;
  readonly name: string;
  readonly why: string;
  readonly remedy: string;
}

export interface Schema {
  /** Every ordinary application table, in name order; switchback's and SQLite's own are left out. */
  readonly tables: readonly Table[];
  readonly oddities: readonly Oddity[];
}

/** Quotes an identifier for both engines; no other function does. */
export function quote(identifier: string): string {
  return `"${identifier.replaceAll('"', '""')}"`;
}

/** What names the rowid in SQL; null for WITHOUT ROWID, and where columns hide all its names. */
export function rowidName({ rowidAlias, integerPrimaryKey }: Table): string | null {
  if (rowidAlias !== null) return rowidAlias;
  return integerPrimaryKey === null ? null : quote(integerPrimaryKey);
}

/** A name as SQLite compares names: the case of ASCII letters makes no difference. */
export function folded(name: string): string {
  return name.replace(/[A-Z]/g, (letter) => letter.toLowerCase());
}

/** The SQL expressions (unqualified, quoted) that make up a table's key, in order. */
export function keyExpressions(table: Table): string[] {
  return table.key.kind === "rowid" ? [table.key.alias] : table.key.columns.map(quote);
}

/** The column of that name. Asking for a column that does not exist is a bug of the caller. */
export function columnOf(table: Table, name: string): Column {
  const column = table.columns.find((c) => c.name === name);
  if (!column) throw new Error(`table ${table.name} has no column ${name}`);
  return column;
}
