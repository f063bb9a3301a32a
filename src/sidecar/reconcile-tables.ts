// What becomes of the tables that are followed already: left as they are, put right in place, or copied again. The
// target's shape after any sequence of migrations is the one that a fresh start would make. Rows that something may
// have changed without a trigger of ours are read again. reconcile.ts decides what is followed and how it is mapped.

import type { TableMapping } from "../mapping/mapping.js";
import { type Alteration, alterationOf, dropItem } from "../postgres/ddl/alter.js";
import { forgetForeignKeys } from "../postgres/ddl/constraints.js";
import { reshapeTable, restartTable, type Start, tuneTable } from "../postgres/ddl/lifecycle.js";
import {
  type RecordedShape,
  readShapes,
  type StandingShape,
  toleratedIn,
  wantedShapes,
} from "../postgres/ddl/shape.js";
import { buildTargetSchema, type TargetTable } from "../postgres/ddl/tables.js";
import { updateTable } from "../postgres/followed.js";
import type { FollowedTable, Records } from "../postgres/records.js";
import { problem } from "../problem.js";
import type { Position } from "../protocol/contract.js";
import type { Oddity, Table } from "../schema/model.js";
import type { Problem } from "../status.js";
import { mayHaveLostColumn } from "./readded-columns.js";
import type { Sides } from "./reconcile.js";

/** The shapes as they stand and as they are wanted, by the SQLite table's name; empty for `target: adopt`. */
export interface Shapes {
  readonly have: ReadonlyMap<string, StandingShape>;
  readonly want: ReadonlyMap<string, RecordedShape>;
  /** For the tables that were followed before. */
  readonly alterations: ReadonlyMap<string, Alteration>;
  /** Names in the target that are free once the tables are put right, as `schema\0name`. */
  readonly leaving: ReadonlySet<string>;
}

export async function lookAtShapes(
  { client, config }: Sides,
  tables: readonly TargetTable[],
  oddities: readonly Oddity[],
  known: ReadonlyMap<string, FollowedTable>,
): Promise<Shapes> {
  const alterations = new Map<string, Alteration>();
  if (config.target === "adopt") return { have: new Map(), want: new Map(), alterations, leaving: new Set() };
  const recorded = new Map([...known].map(([name, { shape }]) => [name, shape] as const));
  const want = await wantedShapes(client, tables, recorded);
  const have = await readShapes(
    client,
    [...known.values()].map(({ mapping }) => mapping),
  );
  const leaving = new Set<string>();
  for (const [name, before] of known) {
    const standing = have.get(name);
    if (!standing) continue;
    const table = tables.find(({ mapping }) => mapping.table.name === name);
    const shape = want.get(name);
    const alteration =
      table && shape && alterationOf(before, table, standing, shape, toleratedIn(table, oddities));
    if (alteration) alterations.set(name, alteration);
    // The copy of a table that SQLite dropped keeps its rows, not the names that others need.
    const free = alteration ? alteration.surplus : before.made ? standing.items : [];
    for (const item of free) leaving.add(`${before.mapping.schema}\0${item.name}`);
  }
  return { have, want, alterations, leaving };
}

interface Present {
  readonly tables: readonly TargetTable[];
  readonly known: ReadonlyMap<string, FollowedTable>;
  /** Mapped again, because the table's DDL or its configuration is another. */
  readonly changed: ReadonlySet<string>;
  /** Tables that the triggers may have missed changes of. */
  readonly lost: ReadonlySet<string>;
  /** Those of them whose present triggers came after the target's position. */
  readonly missed: ReadonlySet<string>;
  /** True when another process changed the file's schema since the last look. */
  readonly moved: boolean;
  readonly position: Position;
  readonly shapes: Shapes;
  readonly start: (table: TargetTable) => Start;
}

/** Puts every table right that was followed before; what was wrong is returned as news. */
export async function putRight(sides: Sides, present: Present): Promise<Problem[]> {
  const { config, file, client } = sides;
  const healed: Problem[] = [];
  await freeNames(sides, present);
  await forgetChangedReferences(sides, present);
  for (const table of present.tables) {
    const { mapping } = table;
    const before = present.known.get(mapping.table.name);
    if (!before) continue;
    const { name } = before;
    const alteration = present.shapes.alterations.get(name);
    const news = (code: "CAPTURE_LOST" | "SHAPE_DIFFERS", why: string) =>
      healed.push(problem(code, `${why}; it is copied again`, { source: config.name, table: name }));
    let copies = present.changed.has(name);
    if (!copies && present.lost.has(name)) {
      news("CAPTURE_LOST", whyLost(before, mapping, present.missed.has(name)));
      copies = true;
    } else if (!copies && present.moved) {
      copies = renumberable(before);
      if (!copies && (await mayHaveLostColumn(file, client, mapping, present.position))) {
        news("CAPTURE_LOST", `a column of ${name} was dropped and added again`);
        copies = true;
      }
    }
    if (!copies && alteration?.rows) {
      news(
        "SHAPE_DIFFERS",
        `the table ${mapping.schema}.${mapping.target} had not the shape of a fresh copy`,
      );
      copies = true;
    }
    if (copies) await copyAgain(sides, before, table, alteration, present.start(table));
    else await keep(sides, before, mapping, alteration, present.start(table));
  }
  return healed;
}

async function copyAgain(
  { records, config }: Sides,
  before: FollowedTable,
  table: TargetTable,
  alteration: Alteration | undefined,
  start: Start,
): Promise<void> {
  const elsewhere =
    before.mapping.schema !== table.mapping.schema || before.mapping.target !== table.mapping.target;
  const altered = elsewhere || alteration === undefined || alteration.statements.length > 0;
  if (config.target === "create" && altered) await reshapeTable(records, before, table, start);
  else await restartTable(records, before, table.mapping, start);
}

async function keep(
  { records, config }: Sides,
  before: FollowedTable,
  mapping: TableMapping,
  alteration: Alteration | undefined,
  start: Start,
): Promise<void> {
  if (alteration && alteration.statements.length + Number(alteration.unbuilt) > 0) {
    await tuneTable(records, before, mapping, alteration, start);
  } else if (before.shape?.of !== start.shape?.of || !sameIndexes(before.mapping.table, mapping.table)) {
    await updateTable(records, config.name, { mapping, shape: start.shape });
  }
}

/** Indexes of a table that SQLite dropped give way where another table needs their names. */
async function freeNames({ records }: Sides, { tables, known, shapes }: Present): Promise<void> {
  const needed = new Set(
    tables.flatMap(({ mapping, primaryKey, indexes }) =>
      [primaryKey, ...indexes].map(({ name }) => `${mapping.schema}\0${name}`),
    ),
  );
  for (const [name, before] of known) {
    if (!before.made || tables.some(({ mapping }) => mapping.table.name === name)) continue;
    for (const item of shapes.have.get(name)?.items ?? []) {
      if (needed.has(`${before.mapping.schema}\0${item.name}`))
        await records.query(dropItem(before.mapping, item));
    }
  }
}

/**
 * A foreign key that the application no longer has, or has otherwise, is not brought back at the cutover. One that
 * an earlier release recorded cannot be told from the present ones but by its name.
 */
async function forgetChangedReferences(
  { records, config }: Sides,
  { tables, known }: Present,
): Promise<void> {
  const old = buildTargetSchema([...known.values()].map(({ mapping }) => mapping)).tables;
  for (const { mapping, foreignKeys } of tables) {
    const { name } = mapping.table;
    const before = known.get(name);
    if (!before?.made) continue;
    const kept = new Map(foreignKeys.map((key) => [key.name, key.sql]));
    const mine = old.find((table) => table.mapping.table.name === name)?.foreignKeys ?? [];
    const gone = mine.filter((key) => kept.get(key.name) !== key.sql).map((key) => key.name);
    if (before.shape === null) gone.push(...(await staleReferences(records, config.name, before, kept)));
    if (gone.length > 0) await forgetForeignKeys(records, config.name, name, gone);
  }
}

async function staleReferences(
  records: Records,
  source: string,
  { name, mapping }: FollowedTable,
  kept: ReadonlyMap<string, string>,
): Promise<string[]> {
  const { rows } = await records.query<{ name: string }>(
    "SELECT name FROM switchback.suspended WHERE source = $1 AND table_name = $2 AND kind = 'foreign key'",
    [source, name],
  );
  const named = (key: string) => key.startsWith(`${mapping.target}_`) && /_fkey\d*$/.test(key);
  return rows.map((row) => row.name).filter((key) => named(key) && !kept.has(key));
}

/** True when VACUUM, which also moves the schema version, may have given the table's rows other rowids that matter. */
function renumberable(table: FollowedTable): boolean {
  const { key, integerPrimaryKey, withoutRowid } = table.mapping.table;
  if (integerPrimaryKey !== null || withoutRowid) return false;
  return key.kind === "rowid" || table.ranges.some((range) => range.rows === null);
}

function sameIndexes(a: Table, b: Table): boolean {
  // Spelled out, because PostgreSQL's jsonb hands the members back in another order.
  const shape = (table: Table) =>
    table.indexes.map(({ name, unique, origin, where, terms }) => [
      ...[name, unique, origin, where],
      terms.map(({ column, expression, collation, descending }) => [
        column,
        expression,
        collation,
        descending,
      ]),
    ]);
  return JSON.stringify(shape(a)) === JSON.stringify(shape(b));
}

/** Why a table is copied again that was followed: what it missed is unknown. */
function whyLost(before: FollowedTable, mapping: TableMapping, missed: boolean): string {
  if (missed) return `the change log holds every change of ${before.name} only from a later position on`;
  return sameIndexes(before.mapping.table, mapping.table)
    ? `the triggers of ${before.name} had vanished`
    : `${before.name} has a new unique index, and what a REPLACE evicted through it so far was not captured`;
}
