// Merges many rows into a table: they are staged in a temporary table with the target's types, and from there deleted
// or written with one statement each, which are counted. Runs within a transaction of the caller's; `stage` is a name
// for a temporary table that nothing else in the transaction has.
import type pg from "pg";
import type { ColumnMapping, TableMapping } from "../../mapping/mapping.js";
import { only } from "../../present.js";
import type { Rows } from "../../protocol/contract.js";
import { copyInto, csvOf, isEmpty } from "./copy.js";
import { countMismatch } from "./counts.js";
import { keepDeleted } from "./kept-columns.js";
import {
  copyStage,
  countedWrite,
  createStage,
  deleteKeysUncounted,
  deleteRowsUncounted,
  stagedRelation,
  type TargetFacts,
  tellsPresent,
  writeRows,
} from "./merge.js";

/** Deletes the rows with these keys. */
export async function deleteStaged(
  client: pg.Client,
  mapping: TableMapping,
  stage: string,
  gone: Rows,
): Promise<void> {
  if (isEmpty(gone)) return;
  const staged = await fill(client, mapping, mapping.key, stage, gone);
  await client.query(`ANALYZE pg_temp.${stage}`);
  const statements = deleteKeysUncounted(mapping, stagedRelation(stage));
  const { rowCount } = await client.query(statements.delete);
  if (rowCount === staged) return;
  // Keys that were never in the target are no rows to delete: what counts is that none is left.
  const { rows } = await client.query<{ count: number }>(statements.remaining);
  const left = only(rows, "count").count;
  if (left > 0) throw countMismatch(mapping, `a deletion left ${left} of ${staged} keys`);
}

/** Writes the rows, over older versions of them. */
export async function writeStaged(
  client: pg.Client,
  mapping: TableMapping,
  facts: TargetFacts,
  stage: string,
  rows: Rows,
): Promise<void> {
  if (isEmpty(rows)) return;
  const staged = await fill(client, mapping, mapping.columns, stage, rows);
  await mergeStage(client, mapping, facts, stage, staged);
}

/** Writes rows in COPY's CSV over what older versions of them had in the target's own columns; how many there were. */
export async function mergeCsv(
  client: pg.Client,
  mapping: TableMapping,
  facts: TargetFacts,
  stage: string,
  csv: AsyncIterable<Uint8Array>,
): Promise<number> {
  await client.query(createStage(stage, mapping.columns));
  const staged = await copyInto(client, copyStage(stage, mapping.columns), csv);
  await mergeStage(client, mapping, facts, stage, staged);
  return staged;
}

async function mergeStage(
  client: pg.Client,
  mapping: TableMapping,
  facts: TargetFacts,
  stage: string,
  staged: number,
): Promise<void> {
  const counts = [mapping.table.name, staged];
  const relation = stagedRelation(stage);
  let kept = "";
  if (facts.own.length > 0 && (facts.saved || !facts.upserts || facts.uniqueColumns.size > 0)) {
    kept = await keepDeleted(client, mapping, facts, stage, { relation, typed: true, rows: staged });
  } else if (!facts.upserts || facts.uniqueColumns.size > 0) {
    await client.query(deleteRowsUncounted(mapping, facts, relation));
  }
  if (!tellsPresent(mapping, facts)) {
    await client.query(countedWrite(mapping, facts, relation, true, kept), counts);
    return;
  }
  const { rowCount } = await client.query(writeRows(mapping, facts, relation, true, kept));
  if (rowCount !== staged)
    throw countMismatch(mapping, `a statement touched ${rowCount} rows where ${staged} were sent`);
}

/** Makes the stage; the number of rows in it, which is that of the rows sent. */
async function fill(
  client: pg.Client,
  mapping: TableMapping,
  columns: readonly ColumnMapping[],
  stage: string,
  rows: Rows,
): Promise<number> {
  await client.query(createStage(stage, columns));
  const staged = await copyInto(client, copyStage(stage, columns), csvOf(rows));
  const sent = rows.kind === "values" ? rows.values.length : rows.kind === "csv" ? rows.rows : staged;
  if (staged !== sent)
    throw countMismatch(mapping, `${sent} rows were sent to be staged, and ${staged} arrived`);
  return staged;
}
