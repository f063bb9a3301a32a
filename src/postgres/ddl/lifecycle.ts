// Adds, recopies, reshapes and releases a table in the target. Each is one transaction that changes the table and
// switchback's record of it together, so that a crash finds both or neither.

import type { TableMapping } from "../../mapping/mapping.js";
import type { Range } from "../../protocol/contract.js";
import { quote } from "../../schema/model.js";
import { sql } from "../../sql-files.js";
import { beginTable, columnCount, updateTable } from "../followed.js";
import type { FollowedTable, Records } from "../records.js";
import { dropSaved, saveOwnColumns } from "../target/kept-columns.js";
import { qualifiedName } from "../target/merge.js";
import { type Alteration, alterationOf, type Known } from "./alter.js";
import { forgetForeignKeys, suspend } from "./constraints.js";
import { type RecordedShape, readShapes, type StandingShape, type Tolerated, tryStatement } from "./shape.js";
import { differencesOf } from "./shape-difference.js";
import type { TargetTable } from "./tables.js";

export interface Start {
  readonly source: string;
  readonly settings: string;
  readonly estimated: number;
  readonly ranges: readonly Range[];
  /** The shape that the table is to have; null for one that the application's migrations made. */
  readonly shape: RecordedShape | null;
  /** Columns that the operator may have added by hand. */
  readonly tolerated: Tolerated;
}

/** How a table comes into the target: created now, found empty, or adopted from the application's migrations. */
type TableOrigin = "make" | "found" | "adopt";

/** $1 a table, $2 the one that gets its grants. */
const GRANTS = sql("postgres/grants");
/** PostgreSQL's limit, dropped columns included. */
const COLUMNS_MAX = 1_600;

/** A table that is new to the target. */
export async function startTable(
  records: Records,
  table: TargetTable,
  arrival: TableOrigin,
  start: Start,
): Promise<void> {
  const { mapping } = table;
  await records.transaction(async () => {
    if (arrival === "make") {
      await records.query(`CREATE SCHEMA IF NOT EXISTS ${quote(mapping.schema)}`);
      await records.query(table.create);
    }
    if (arrival === "found") await shapeEmptied(records, null, table, start);
    await beginTable(records, start.source, { ...start, mapping, made: arrival === "make" });
    if (arrival !== "make") await suspend(records, start.source, [mapping]);
    await records.fence(mapping);
  });
}

/**
 * The same table, copied again, because changes that its triggers missed, or rowids that VACUUM renumbered, are
 * unknown. Values in columns that only PostgreSQL has are restored with their rows.
 */
export async function restartTable(
  records: Records,
  known: FollowedTable,
  mapping: TableMapping,
  start: Start,
): Promise<void> {
  await records.transaction(async () => {
    await saveOwnColumns(records, known, mapping);
    await records.query(`TRUNCATE ${qualifiedName(mapping)}`);
    await beginTable(records, start.source, { ...start, mapping, made: known.made });
  });
}

/** A table of `target: create` that is copied again, in the shape of a fresh start. */
export async function reshapeTable(
  records: Records,
  known: FollowedTable,
  table: TargetTable,
  start: Start,
): Promise<void> {
  const { mapping } = table;
  await records.transaction(async () => {
    const elsewhere = qualifiedName(known.mapping) !== qualifiedName(mapping);
    if (elsewhere) {
      await forgetForeignKeys(records, start.source, known.name);
      await remake(records, known.made ? known.mapping : null, table);
    } else {
      await saveOwnColumns(records, known, mapping);
      await records.query(`TRUNCATE ${qualifiedName(mapping)}`);
      await shapeEmptied(records, known, table, start);
    }
    await beginTable(records, start.source, { ...start, mapping, made: known.made || elsewhere });
    await records.fence(mapping);
  });
}

/** Corrections that need no rows: defaults, and keys and indexes that are not wanted any more. */
export async function tuneTable(
  records: Records,
  known: FollowedTable,
  mapping: TableMapping,
  alteration: Alteration,
  start: Start,
): Promise<void> {
  await records.transaction(async () => {
    for (const statement of alteration.statements) await records.query(statement);
    await updateTable(records, start.source, { ...start, mapping });
    if (alteration.unbuilt && known.state === "streaming")
      await records.setState(start.source, known.name, "finishing");
  });
}

/** Gives an empty table the wanted shape, in place where possible. */
async function shapeEmptied(records: Records, known: Known, table: TargetTable, start: Start): Promise<void> {
  const { mapping } = table;
  const look = async () => (await readShapes(records.session, [mapping])).get(mapping.table.name);
  const have = await look();
  if (!start.shape || !have) return;
  const alteration = alterationOf(known, table, have, start.shape, start.tolerated);
  const fits = !alteration.forward && (await columnCount(records, mapping)) + alteration.added <= COLUMNS_MAX;
  if (fits) {
    for (const statement of alteration.statements) await records.query(statement);
    await bringBack(records, alteration, await look());
  }
  const left = differencesOf(mapping, await look(), start.shape, start.tolerated);
  // Keys and indexes follow the copy. Objects that are not ours stay: verification names them.
  const wrong = left.some(({ what, source }) => source !== null && /^(column|order|check) /.test(what));
  if ((!wrong && fits) || !known?.made) return;
  await remake(records, mapping, table);
  await bringBack(records, alteration, await look());
}

/** The operator's own indexes were dropped with a column that was dropped and added again. */
async function bringBack(
  records: Records,
  { spared }: Alteration,
  now: StandingShape | undefined,
): Promise<void> {
  for (const { name, statement } of spared) {
    if (statement === null || now?.items.some((item) => item.name === name)) continue;
    // An index over a column that is gone for good is not restored.
    await tryStatement(records.session, statement);
  }
}

/** A new table replaces the old one, with the same grants. */
async function remake(records: Records, before: TableMapping | null, table: TargetTable): Promise<void> {
  const grants = before
    ? await records.query<{ grant: string }>(GRANTS, [qualifiedName(before), qualifiedName(table.mapping)])
    : null;
  if (before) await records.query(`DROP TABLE ${qualifiedName(before)}`);
  await records.query(`CREATE SCHEMA IF NOT EXISTS ${quote(table.mapping.schema)}`);
  await records.query(table.create);
  for (const { grant } of grants?.rows ?? []) await records.query(grant);
}

/** Stops following a table: it stays, as an ordinary table. */
export async function leaveTable(records: Records, source: string, known: FollowedTable): Promise<void> {
  await records.transaction(async () => {
    await records.release(source, known, false);
    await dropSaved(records, source, known.name);
    await records.forget(source, known.name);
  });
}
