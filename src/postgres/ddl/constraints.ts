// Suspends and restores what must be absent while only the sidecar writes, and present while the application does:
// foreign keys and the tables' own triggers. The cascades of foreign keys would delete rows that the source kept, or
// rows of tables that are not followed. Each is recorded with the statement that restores it. The caller holds the
// transaction.
import type pg from "pg";
import type { TableMapping } from "../../mapping/mapping.js";
import { at } from "../../present.js";
import { literal } from "../../schema/pg-names.js";
import { sql } from "../../sql-files.js";
import { noteUnknown } from "../copy-doubts.js";
import type { FollowedTable, Records } from "../records.js";
import { qualifiedName } from "../target/merge.js";
import { buildTargetSchema } from "./tables.js";

/** A reference is another table's foreign key to one of ours. */
type Kind = "foreign key" | "reference" | "trigger";

/** Removes every such object from these tables now, and records it; returns descriptions of them. */
export async function suspend(
  records: Records,
  source: string,
  mappings: readonly TableMapping[],
): Promise<{ readonly table: string; readonly what: string }[]> {
  const { rows } = await records.query<{
    place: number;
    kind: Kind;
    name: string;
    suspend: string;
    definition: string;
  }>(sql("postgres/disturbing"), [mappings.map(qualifiedName)]);
  const found = rows.map((row) => ({ ...row, table: at(mappings, row.place - 1, "table").table.name }));
  for (const { table, kind, name, suspend, definition } of found) {
    await keepSuspended(records, source, table, kind, name, definition);
    await records.query(suspend);
  }
  return found.map(({ table, kind, name }) => ({
    table,
    what: kind === "reference" ? `the foreign key ${name} to ${table}` : `the ${kind} ${name} of ${table}`,
  }));
}

/**
 * The same; objects that were created while the copy was kept are noted, so that a comparison checks their tables.
 */
export async function suspendAll(
  client: pg.ClientBase,
  records: Records,
  { source, mappings, appeared }: { source: string; mappings: readonly TableMapping[]; appeared: boolean },
): Promise<void> {
  const found = await suspend(records, source, mappings);
  if (!appeared || found.length === 0) return;
  const noted = found.map(({ table, what }) => ({
    table,
    code: "TARGET_DISTURBED" as const,
    reason: `${what} was made in PostgreSQL while SQLite has the writes; it stays disabled until the cutover`,
  }));
  await noteUnknown(client, source, noted);
}

/** Forgets a table's foreign keys, or the named ones: the new mapping defines them. */
export async function forgetForeignKeys(
  records: Records,
  source: string,
  table: string,
  names: readonly string[] | null = null,
): Promise<void> {
  await records.query(sql("postgres/forget-foreign-keys"), [source, table, names]);
}

/** Records what the cutover must create. */
async function keepSuspended(
  records: Records,
  source: string,
  table: string,
  kind: Kind,
  name: string,
  definition: string,
): Promise<void> {
  await records.query(sql("postgres/keep-suspended"), [source, table, kind, name, definition]);
}

/**
 * The statements that restore everything, of all tables or one: foreign keys first, because the application's
 * triggers may rely on them. A trigger that was dropped while it was disabled stays dropped, and
 * so does a reference from a table or column that is gone.
 */
export async function suspendedStatements(
  records: Records,
  sources: readonly string[],
  table: string | null = null,
): Promise<string[]> {
  const { rows } = await records.query<{ kind: Kind; definition: string }>(sql("postgres/suspended"), [
    sources,
    table,
  ]);
  return rows.map(({ kind, definition }) =>
    kind === "foreign key"
      ? definition
      : `DO ${literal(`BEGIN ${definition}; EXCEPTION WHEN undefined_object OR undefined_table OR undefined_column THEN NULL; END`)}`,
  );
}

/** Records the foreign keys that tables made by switchback get. */
export async function keepForeignKeys(
  records: Records,
  source: string,
  tables: readonly FollowedTable[],
): Promise<void> {
  const { tables: built } = buildTargetSchema(tables.map(({ mapping }) => mapping));
  for (const { mapping, foreignKeys } of built) {
    const table = mapping.table.name;
    if (!tables.some(({ name, made }) => name === table && made)) continue;
    for (const { name, sql: definition } of foreignKeys)
      await keepSuspended(records, source, table, "foreign key", name, definition);
  }
}
