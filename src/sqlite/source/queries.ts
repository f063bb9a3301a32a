// The SELECTs that read a mapped table, built from its mapping, and the decoding of their results.
//
// Two forms. The exact form returns every value with its storage class, so that JavaScript can encode it
// value by value. In the bulk form SQLite itself writes COPY's CSV for a whole group of rows. A flag beside
// it says whether every value in the group has the class that its codec renders exactly. Only a file in UTF-8
// has a bulk form: SQLite's functions convert other text, and hide invalid text.
import { isUtf8 } from "node:buffer";
import type { SqliteValue } from "../../codec/codec.js";
import { EXACT_SLOT, exactValues, type StoredText, tree } from "../../codec/stored-text.js";
import type { ColumnMapping, TableMapping } from "../../mapping/mapping.js";
import { quote, rowidName, type Table } from "../../schema/model.js";

/** The table's alias in every SELECT here. */
const ROW = "r";

/** `FROM` text for the table. */
export function fromTable(table: Table): string {
  return `${quote(table.name)} AS ${ROW}`;
}

/** The order by which ranges are cut: the rowid, or the primary key where the rowid has no free name. */
export function orderColumns(table: Table): string[] {
  const rowid = rowidName(table);
  if (rowid !== null) return [`${ROW}.${rowid}`];
  return table.primaryKey.map((name) => `${ROW}.${quote(name)}`);
}

/** True when the order column is the rowid and hence an integer. */
export function orderedByRowid(table: Table): boolean {
  return rowidName(table) !== null;
}

/** SQL: the row lies after (`>`) or up to (`<=`) a bound, given by `boundParameters`. */
export function beyond(table: Table, operator: ">" | "<="): string {
  const columns = orderColumns(table);
  const slots = columns.map(() => (orderedByRowid(table) ? "?" : EXACT_SLOT)).join(", ");
  return columns.length === 1
    ? `${columns[0]} ${operator} ${slots}`
    : `(${columns.join(", ")}) ${operator} (${slots})`;
}

/** The parameters of `beyond` for a bound, one value per order column. */
export function boundParameters(table: Table, text: StoredText, bound: readonly SqliteValue[]): unknown[] {
  return orderedByRowid(table) ? [...bound] : text.bindExactly(bound);
}

/** Exact form: the SELECT list for `columns`; `StoredText.values` reads each result row. */
export function exactList(columns: readonly ColumnMapping[]): string {
  return exactValues(columns.map((column) => `${ROW}.${column.source}`));
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
