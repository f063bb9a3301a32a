// Writes the records of the followed tables: how a table is mapped, what shape it was given, which ranges are to be
// copied. records.ts reads them. Each function runs inside the transaction that changes the table itself.

import { mappingToJson, type TableMapping } from "../mapping/mapping.js";
import type { Range } from "../protocol/contract.js";
import { sql } from "../sql-files.js";
import type { RecordedShape } from "./ddl/shape.js";
import type { Records } from "./records.js";
import { qualifiedName } from "./target/merge.js";

interface TableRecord {
  readonly mapping: TableMapping;
  readonly settings: string;
  readonly estimated: number;
  readonly made: boolean;
  readonly ranges: readonly Range[];
  readonly shape: RecordedShape | null;
}

/** Starts a table, or starts it again: its record and its ranges, none of them copied. What is suspended for it stays. */
export async function beginTable(records: Records, source: string, table: TableRecord): Promise<void> {
  const { mapping } = table;
  const { name } = mapping.table;
  for (const part of ["range", "quarantine"])
    await records.query(`DELETE FROM switchback.${part} WHERE source = $1 AND table_name = $2`, [
      source,
      name,
    ]);
  await records.query(sql("postgres/follow-table"), [
    ...[source, name, JSON.stringify(mappingToJson(mapping)), mapping.table.sql, table.settings],
    ...[table.estimated, table.made, shapeText(table.shape)],
  ]);
  await records.query(sql("postgres/add-ranges"), [
    source,
    name,
    JSON.stringify(table.ranges.map(({ number, lo, hi }) => ({ number, lo, hi }))),
  ]);
}

/** Replaces a table's mapping where the rows are not affected. */
export async function updateTable(
  records: Records,
  source: string,
  { mapping, shape }: Pick<TableRecord, "mapping" | "shape">,
  /** The name under which it is recorded still. */
  recorded = mapping.table.name,
): Promise<void> {
  await records.query(
    "UPDATE switchback.followed SET mapping = $3, shape = $4 WHERE source = $1 AND name = $2",
    [source, recorded, JSON.stringify(mappingToJson(mapping)), shapeText(shape)],
  );
}

function shapeText(shape: RecordedShape | null): string | null {
  return shape === null ? null : JSON.stringify(shape);
}

/** How many columns the table ever had: PostgreSQL limits these, not the present ones. */
export async function columnCount(records: Records, mapping: TableMapping): Promise<number> {
  const { rows } = await records.query<{ count: number }>(
    "SELECT relnatts::int AS count FROM pg_catalog.pg_class WHERE oid = to_regclass($1)",
    [qualifiedName(mapping)],
  );
  return rows[0]?.count ?? 0;
}
