// Columns that were dropped and added again word for word between two looks at the file. SQLite does not tell: the
// table's text, its triggers and its row in the schema table are as before, but every row has the column's default.
// Only ALTER TABLE ADD COLUMN can put a column there, and it puts it last. So the last column is checked, and the one
// before it only when the last one proves nothing. A row that the target holds with another value than the default,
// and that was not written since, shows what happened. SQLite either still has that value or has lost it. Costs one
// statement a table in PostgreSQL, which ends at the first row with a value, and a lookup by key in SQLite.
import type Database from "better-sqlite3";
import type pg from "pg";
import { storedAs } from "../codec/affinity.js";
import { Refusal, type SqliteValue } from "../codec/codec.js";
import type { ColumnMapping, TableMapping } from "../mapping/mapping.js";
import { decodeKey } from "../mapping/row-format.js";
import { postgresError } from "../postgres/connection.js";
import { qualifiedName } from "../postgres/target/merge.js";
import type { Position } from "../protocol/contract.js";
import { type Column, keyExpressions, quote } from "../schema/model.js";
import { readCapture } from "../sqlite/capture/install.js";
import { logKeyColumns } from "../sqlite/capture/triggers.js";
import type { SqliteSource } from "../sqlite/source/source.js";

/** Rows written since tell nothing; more of them than this, and the table is copied again. */
const ROWS_ASKED = 100;

/**
 * True when the rows may have lost a column's values. `position` is where the target stands; nothing may be applied
 * meanwhile. The table must be followed, with its key and DDL as in `mapping`.
 */
export async function mayHaveLostColumn(
  file: SqliteSource,
  client: pg.ClientBase,
  mapping: TableMapping,
  position: Position,
): Promise<boolean> {
  for (const column of [...mapping.table.columns].reverse()) {
    if (!isAddable(mapping, column)) return false;
    if (column.generated !== "no") continue;
    const written = mapping.columns.find((c) => c.column === column.name);
    if (!written) return true;
    const keys = await keysWithValue(client, mapping, written, defaultText(file, column, written));
    if (keys.length > 0)
      return !keys.some((key) => file.look((db) => stillHasValue(db, file, mapping, written, key, position)));
  }
  return false;
}

/** What ALTER TABLE ADD COLUMN writes, and what it may add. */
function isAddable({ table }: TableMapping, column: Column): boolean {
  if (column.generated === "stored" || table.primaryKey.includes(column.name)) return false;
  if (column.notNull && column.default === null && column.generated === "no") return false;
  if (
    table.indexes.some(({ origin, terms }) => origin !== "c" && terms.some((t) => t.column === column.name))
  )
    return false;
  const text = table.sql.toLowerCase();
  const name = column.name.toLowerCase();
  return [name, quote(name), `[${name}]`, `\`${name}\``, `'${name}'`].some((word) =>
    text.includes(`, ${word}`),
  );
}

/** The default as the target spells it; undefined where that is not known, so that every row counts. */
function defaultText(file: SqliteSource, column: Column, written: ColumnMapping): string | null | undefined {
  if (column.default === null) return null;
  try {
    const found = file.look((db) => db.prepare(`SELECT ${column.default}`).pluck().safeIntegers().get());
    const text = written.codec.encode(storedAs(found as SqliteValue, column.affinity));
    return text instanceof Refusal ? undefined : text;
  } catch {
    return undefined;
  }
}

async function keysWithValue(
  client: pg.ClientBase,
  mapping: TableMapping,
  { target, codec }: ColumnMapping,
  standard: string | null | undefined,
): Promise<(string | null)[][]> {
  const key = mapping.key.map((column) => `${quote(column.target)}::text`).join(", ");
  const test =
    standard === undefined ? "true" : `${quote(target)}::text IS DISTINCT FROM $1::${codec.type}::text`;
  try {
    const { rows } = await client.query<{ key: (string | null)[] }>(
      `SELECT ARRAY[${key}] AS key FROM ${qualifiedName(mapping)} WHERE ${test} LIMIT ${ROWS_ASKED}`,
      standard === undefined ? [] : [standard],
    );
    return rows.map((row) => row.key);
  } catch (error) {
    throw postgresError(error);
  }
}

/** True when SQLite has the row with another value than the default, and nothing wrote it since `position`. */
function stillHasValue(
  db: Database.Database,
  file: SqliteSource,
  mapping: TableMapping,
  written: ColumnMapping,
  key: readonly (string | null)[],
  position: Position,
): boolean {
  const values = decodeKey(mapping, key);
  if (values instanceof Refusal) return false;
  const where = (names: readonly string[]) => names.map((name) => `${name} IS ?`).join(" AND ");
  const row = db
    .prepare(
      `SELECT ${written.source} AS value FROM main.${quote(mapping.table.name)} WHERE ${where(keyExpressions(mapping.table))}`,
    )
    .safeIntegers()
    .get(...values) as { value: SqliteValue } | undefined;
  if (!row) return false;
  const column = mapping.table.columns.find(({ name }) => name === written.column);
  const standard = column ? defaultText(file, column, written) : undefined;
  const text = written.codec.encode(row.value);
  // An unknown default may be any value.
  if (standard === undefined || text === standard) return false;
  const id = readCapture(db)?.ids.get(mapping.table.name) ?? -1;
  return (
    db
      .prepare(
        `SELECT 1 FROM _switchback_log WHERE seq > ? AND t = ? AND ${where(logKeyColumns(values.length))} LIMIT 1`,
      )
      .get(position, id, ...values) === undefined
  );
}
