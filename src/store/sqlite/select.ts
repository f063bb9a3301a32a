// The SELECTs that read a mapped table, built from its mapping, and the decoding of what they return.
//
// Two forms. The exact form returns every value with its storage class, so that JavaScript can encode it
// value by value. The bulk form lets SQLite itself write COPY's CSV for a whole group of rows, beside a flag
// that says whether every value in the group has the class that its codec renders exactly.
import { isUtf8 } from "node:buffer";
import { InvalidText, type SqliteValue } from "../../mapping/codec.js";
import type { ColumnMapping, TableMapping } from "../../mapping/mapping.js";
import { quote, type Table } from "../../schema.js";

/** The table's alias in every SELECT here. */
const ROW = "r";

/** `FROM` text for the table. */
export function fromTable(table: Table): string {
  return `${quote(table.name)} AS ${ROW}`;
}

/** A table's own order, by which ranges are cut: the rowid, or a WITHOUT ROWID table's key. */
export function orderColumns(table: Table): string[] {
  if (!table.withoutRowid) return [`${ROW}.${table.rowidAlias ?? "rowid"}`];
  return table.primaryKey.map((name) => `${ROW}.${quote(name)}`);
}

/** True when the order column is the rowid and hence an integer. */
export function orderedByRowid(table: Table): boolean {
  return !table.withoutRowid;
}

/** SQL: the row lies after (`>`) or up to (`<=`) a bound, given as one parameter per order column. */
export function beyond(table: Table, operator: ">" | "<="): string {
  const columns = orderColumns(table);
  const marks = columns.map(() => "?").join(", ");
  return columns.length === 1
    ? `${columns[0]} ${operator} ${marks}`
    : `(${columns.join(", ")}) ${operator} (${marks})`;
}

/** Exact form: the SELECT list for `columns`; read each result row with `readExact`. */
export function exactList(columns: readonly ColumnMapping[]): string {
  const expressions = columns.map((column) => `${ROW}.${column.source}`);
  const values = expressions.map((x) => `iif(typeof(${x}) = 'text', CAST(${x} AS BLOB), ${x})`);
  // One letter a value: i, r, t, b or n. TEXT travels as its bytes, because better-sqlite3 would silently
  // replace bytes that are not UTF-8.
  const classes = joined(expressions.map((x) => `substr(typeof(${x}), 1, 1)`));
  return [...values, classes].join(", ");
}

/** The values of one row of the exact form, starting at column `offset` of the result. */
export function readExact(row: readonly unknown[], count: number, offset = 0): SqliteValue[] {
  const classes = String(row[offset + count]);
  const values: SqliteValue[] = new Array(count);
  for (let i = 0; i < count; i++) {
    const value = row[offset + i] as SqliteValue;
    values[i] = classes.charCodeAt(i) === 116 /* t */ ? readText(value as Buffer) : value;
  }
  return values;
}

function readText(bytes: Buffer): string | InvalidText {
  return isUtf8(bytes) ? bytes.toString("utf8") : new InvalidText(bytes);
}

/** Bulk form: SQL for one row as a CSV line, newline included. */
export function csvExpression(mapping: TableMapping): string {
  const fields = mapping.columns.map(
    (column) => `ifnull(${column.codec.render(`${ROW}.${column.source}`)}, '')`,
  );
  return joined(fields.flatMap((field, i) => (i === 0 ? [field] : ["','", field])).concat("char(10)"));
}

/** Bulk form: SQL that is 0 when some value of the row is not rendered exactly; else 1, or NULL where NULLs are. */
export function cleanExpression(mapping: TableMapping): string {
  const tests = mapping.columns.flatMap((column) => {
    const x = `${ROW}.${column.source}`;
    return column.notNull ? [column.codec.clean(x), `${x} IS NOT NULL`] : [column.codec.clean(x)];
  });
  return tree(tests.length === 0 ? ["1"] : tests, " AND ");
}

/** True when bytes that SQLite rendered may go to PostgreSQL as they are: valid UTF-8 without NUL. */
export function isSound(bytes: Buffer): boolean {
  return isUtf8(bytes) && !bytes.includes(0);
}

function joined(parts: readonly string[]): string {
  return tree(parts, " || ");
}

/** Joins operands as a balanced tree: SQLite limits the depth of an expression, not its size. */
function tree(parts: readonly string[], operator: string): string {
  if (parts.length <= 2) return `(${parts.join(operator)})`;
  const half = Math.ceil(parts.length / 2);
  return `(${tree(parts.slice(0, half), operator)}${operator}${tree(parts.slice(half), operator)})`;
}
