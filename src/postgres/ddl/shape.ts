// The shape of target tables: columns, defaults, CHECKs, keys and indexes in PostgreSQL's own canonical text. The
// wanted shape is that of a newly created table. Temporary tables are created with the same statements in a
// transaction that is rolled back, and read with the same query. Where the two texts differ, the copy differs from a
// fresh start. Foreign keys are not part of a shape: they are suspended while SQLite has the writes (constraints.ts).
import { createHash } from "node:crypto";
import type pg from "pg";
import type { TableMapping } from "../../mapping/mapping.js";
import { only } from "../../present.js";
import type { Oddity } from "../../schema/model.js";
import { sql } from "../../sql-files.js";
import { postgresError } from "../connection.js";
import { qualifiedName } from "../target/merge.js";
import type { NamedStatement } from "./keys.js";
import { buildTargetSchema, type TargetTable } from "./tables.js";

export interface ShapeColumn {
  readonly name: string;
  /** Including its collation where that is not the type's default. */
  readonly type: string;
  readonly notNull: boolean;
  readonly default: string | null;
  readonly generated: string | null;
  /** '' · a: always · d: by default. */
  readonly identity: string;
}

export interface ShapeItem {
  readonly kind: "primary key" | "unique" | "index" | "check" | "exclusion";
  readonly name: string;
  readonly definition: string;
}

/** An existing index, with the statement that creates it again. */
export interface StandingItem extends ShapeItem {
  readonly statement: string | null;
}

export interface TableShape {
  /** In the table's order. */
  readonly columns: readonly ShapeColumn[];
  readonly items: readonly ShapeItem[];
}

/** The shape in the catalogue now. */
export interface StandingShape extends TableShape {
  /** True where a crash of the server empties the table. */
  readonly unlogged: boolean;
  readonly items: readonly StandingItem[];
}

/** A wanted shape as it is recorded beside the mapping. */
export interface RecordedShape extends TableShape {
  /** Its inputs: the statements and the server's version. */
  readonly of: string;
}

interface Row {
  readonly place: number;
  readonly kind: ShapeItem["kind"] | "column" | "unlogged";
  readonly name: string;
  readonly definition: string;
  readonly not_null: boolean;
  readonly identity: string;
  readonly generated: string;
  readonly value: string | null;
  readonly statement: string | null;
}

/** The shapes of the existing tables, by the SQLite table's name. */
export async function readShapes(
  client: pg.ClientBase,
  mappings: readonly TableMapping[],
): Promise<Map<string, StandingShape>> {
  try {
    const { rows } = await client.query<Row>(sql("postgres/shape"), [mappings.map(qualifiedName)]);
    const shapes = new Map<string, StandingShape>();
    for (const [i, { table }] of mappings.entries()) {
      const mine = rows.filter(({ place }) => place === i + 1);
      if (mine.length > 0) shapes.set(table.name, shapeOf(mine));
    }
    return shapes;
  } catch (error) {
    throw postgresError(error);
  }
}

function shapeOf(rows: readonly Row[]): StandingShape {
  const columns: ShapeColumn[] = [];
  const items: StandingItem[] = [];
  for (const { kind, name, definition, statement, ...row } of rows) {
    if (kind === "unlogged") continue;
    if (kind !== "column") {
      items.push({ kind, name, definition, statement });
      continue;
    }
    columns.push({
      name,
      type: definition,
      notNull: row.not_null,
      default: row.generated === "" ? row.value : null,
      generated: row.generated === "" ? null : row.value,
      identity: row.identity,
    });
  }
  return { columns, items, unlogged: rows.some(({ kind }) => kind === "unlogged") };
}

/**
 * A table's statements without keys, and the server's version: a recorded shape with the same inputs is the wanted
 * one.
 */
function fingerprint(table: TargetTable, server: string): string {
  const statements = [table.create, ...statementsOf(table).map((statement) => statement.sql)];
  return createHash("sha256")
    .update([server, ...statements].join("\n"))
    .digest("hex");
}

function statementsOf(table: TargetTable): NamedStatement[] {
  return [table.primaryKey, ...table.indexes];
}

/**
 * The shapes that newly created tables would have, by the SQLite table's name. A shape recorded for the same
 * statements is reused. The others are created as temporary tables, in one transaction that is rolled back.
 */
export async function wantedShapes(
  client: pg.ClientBase,
  tables: readonly TargetTable[],
  recorded: ReadonlyMap<string, RecordedShape | null>,
): Promise<Map<string, RecordedShape>> {
  try {
    const { rows } = await client.query<{ server: string }>(
      "SELECT current_setting('server_version_num') AS server",
    );
    const wanted = new Map<string, RecordedShape>();
    const unknown: { table: TargetTable; of: string }[] = [];
    for (const table of tables) {
      const of = fingerprint(table, only(rows, "answer").server);
      const known = recorded.get(table.mapping.table.name);
      if (known?.of === of) wanted.set(table.mapping.table.name, known);
      else unknown.push({ table, of });
    }
    if (unknown.length === 0) return wanted;
    const made = await madeAfresh(
      client,
      tables,
      unknown.map(({ table }) => table),
    );
    for (const { table, of } of unknown) {
      const { name } = table.mapping.table;
      const { columns, items } = made.get(name) ?? { columns: [], items: [] };
      const bare = items.map(({ kind, name: item, definition }) => ({ kind, name: item, definition }));
      wanted.set(name, { of, columns, items: bare });
    }
    return wanted;
  } catch (error) {
    throw postgresError(error);
  }
}

/** Temporary tables shadow nothing: their schema is named, and disappears with the transaction. */
async function madeAfresh(
  client: pg.ClientBase,
  all: readonly TargetTable[],
  tables: readonly TargetTable[],
): Promise<Map<string, StandingShape>> {
  // Names depend on every table of the target.
  const temporary = buildTargetSchema(all.map(({ mapping }) => ({ ...mapping, schema: "pg_temp" }))).tables;
  const names = new Set(tables.map(({ mapping }) => mapping.table.name));
  const scratch = temporary.filter(({ mapping }) => names.has(mapping.table.name));
  await client.query("BEGIN; SET LOCAL client_min_messages = warning");
  try {
    for (const table of scratch) await makeScratch(client, table);
    return await readShapes(
      client,
      scratch.map(({ mapping }) => mapping),
    );
  } finally {
    await client.query("ROLLBACK");
  }
}

async function makeScratch(client: pg.ClientBase, table: TargetTable): Promise<void> {
  const keys = statementsOf(table).map((statement) => statement.sql);
  await client.query("SAVEPOINT table_afresh");
  try {
    await client.query([table.create, ...keys].join(";\n"));
  } catch {
    // An index that PostgreSQL refuses here is refused for the real table as well, and reported there.
    await client.query("ROLLBACK TO SAVEPOINT table_afresh");
    await client.query(table.create);
    for (const key of keys) await tryStatement(client, key);
  }
  await client.query("RELEASE SAVEPOINT table_afresh");
}

/** True when the statement succeeded; the transaction continues in any case. */
export async function tryStatement(client: pg.ClientBase, statement: string): Promise<boolean> {
  await client.query("SAVEPOINT attempt");
  const done = await client.query(statement).then(
    () => true,
    () => false,
  );
  await client.query(done ? "RELEASE SAVEPOINT attempt" : "ROLLBACK TO SAVEPOINT attempt");
  return done;
}

/**
 * Objects that the operator was told to add by hand, because SQLite's have no translation: the copy may have them.
 */
export interface Tolerated {
  /** Columns whose default belongs to the operator. */
  readonly defaults: ReadonlySet<string>;
  readonly checks: boolean;
  readonly uniques: boolean;
}

export function toleratedIn(table: TargetTable, oddities: readonly Oddity[]): Tolerated {
  const mine = oddities.filter((oddity) => oddity.table === table.mapping.table.name);
  const without = mine.filter(({ kind }) => kind === "default" || kind === "generated column");
  const columns = table.mapping.columns.filter((c) => without.some(({ name }) => name === c.column));
  return {
    defaults: new Set(columns.map(({ target }) => target)),
    checks: mine.some(({ kind }) => kind === "check"),
    uniques: mine.some(({ kind }) => kind === "index"),
  };
}
