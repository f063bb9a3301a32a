// Renames copies after their tables in SQLite, with the keys, indexes, CHECKs and sequences that switchback named after
// them, and with their records. All in one transaction, and by way of names that nothing else has, so that tables may
// pass names on to each other.
import type { TableMapping } from "../../mapping/mapping.js";
import { at } from "../../present.js";
import { quote } from "../../schema/model.js";
import { sql } from "../../sql-files.js";
import { updateTable } from "../followed.js";
import type { FollowedTable, Records } from "../records.js";
import { forgetForeignKeys } from "./constraints.js";
import { readShapes } from "./shape.js";
import { buildTargetSchema, type TargetTable } from "./tables.js";

export interface RenamedTable {
  readonly before: FollowedTable;
  /** With the new names. */
  readonly mapping: TableMapping;
  /** SQLite's text of the table, where nothing else of it changed; the recorded text otherwise. */
  readonly ddl: string;
}

/** The names in PostgreSQL of one copy, as they are and as they will be. */
interface Names {
  readonly table: TableMapping;
  readonly to: string;
  /** Indexes and sequences share one namespace with tables. */
  readonly relations: readonly {
    readonly kind: "INDEX" | "SEQUENCE";
    readonly was: string;
    readonly to: string;
  }[];
  readonly checks: readonly { readonly was: string; readonly to: string }[];
}

/**
 * False where the copies cannot be renamed: one is gone, a name is taken, or others' triggers and foreign keys were put
 * aside with statements that name the old table. `all`: every followed table, renamed or not.
 */
export async function renameCopies(
  records: Records,
  source: string,
  all: readonly RenamedTable[],
): Promise<boolean> {
  const renamed = all.filter(({ before, mapping }) => before.name !== mapping.table.name);
  const old = buildTargetSchema(all.map(({ before }) => before.mapping)).tables;
  const wanted = buildTargetSchema(all.map(({ mapping }) => mapping)).tables;
  const names = all.flatMap((_, i) => namesOf(at(old, i, "table"), at(wanted, i, "table")));
  if (!(await mayRename(records, source, renamed, names))) return false;
  await records.transaction(async () => {
    await renameRelations(records, names);
    for (const { before, mapping, ddl } of all) {
      await updateTable(records, source, { mapping, shape: before.shape }, before.name);
      await records.query("UPDATE switchback.followed SET ddl = $3 WHERE source = $1 AND name = $2", [
        ...[source, before.name, ddl],
      ]);
    }
    await renameRecords(
      records,
      source,
      renamed.map(({ before }, i) => [before.name, scratch(i)]),
    );
    await renameRecords(
      records,
      source,
      renamed.map(({ mapping }, i) => [scratch(i), mapping.table.name]),
    );
    for (const [i, { mapping }] of all.entries()) {
      const kept = at(wanted, i, "table").foreignKeys.map((key) => key.sql);
      const gone = at(old, i, "table").foreignKeys.filter((key) => !kept.includes(key.sql));
      const forgotten = gone.map(({ name }) => name);
      if (gone.length > 0) await forgetForeignKeys(records, source, mapping.table.name, forgotten);
    }
  });
  return true;
}

/** Nothing of the application's has such a name. */
function scratch(...numbers: readonly number[]): string {
  return `switchback renames ${numbers.join(" ")}`;
}

function namesOf(from: TargetTable, to: TargetTable): Names[] {
  const statements = (table: TargetTable) => [table.primaryKey, ...table.indexes];
  const changed = (was: readonly string[], next: readonly string[]) =>
    was.flatMap((name, i) => (next[i] === undefined || next[i] === name ? [] : [{ was: name, to: next[i] }]));
  const of = (items: readonly { readonly name: string }[]) => items.map(({ name }) => name);
  const relations = [
    ...changed(of(statements(from)), of(statements(to))).map((one) => ({ kind: "INDEX" as const, ...one })),
    ...changed(sequencesOf(from), sequencesOf(to)).map((one) => ({ kind: "SEQUENCE" as const, ...one })),
  ];
  const checks = changed(of(from.checks), of(to.checks));
  const unmoved = from.mapping.target === to.mapping.target && relations.length + checks.length === 0;
  return unmoved ? [] : [{ table: from.mapping, to: to.mapping.target, relations, checks }];
}

/** As PostgreSQL names the sequence of an identity column. */
function sequencesOf({ mapping, columns, columnLines }: TargetTable): string[] {
  return columns
    .filter(({ name }) => columnLines.get(name)?.includes(" AS IDENTITY"))
    .map(({ name }) => `${mapping.target}_${name}_seq`);
}

async function mayRename(
  records: Records,
  source: string,
  renamed: readonly RenamedTable[],
  names: readonly Names[],
): Promise<boolean> {
  for (const { before, mapping } of renamed) {
    if (!before.made || mapping.schema !== before.mapping.schema) return false;
    if (!(await records.tableExists(before.mapping))) return false;
    const { rowCount } = await records.query(
      "SELECT 1 FROM switchback.suspended WHERE source = $1 AND table_name = $2 AND kind <> 'foreign key'",
      [source, before.name],
    );
    if (rowCount !== 0) return false;
  }
  for (const schema of new Set(names.map(({ table }) => table.schema))) {
    const mine = names.filter(({ table }) => table.schema === schema);
    const left = mine.flatMap(({ table, relations }) => [table.target, ...relations.map(({ was }) => was)]);
    const taken = mine.flatMap(({ to, relations }) => [to, ...relations.map((one) => one.to)]);
    const { rowCount } = await records.query(sql("postgres/taken-names"), [quote(schema), taken, left]);
    if (rowCount !== 0) return false;
  }
  return true;
}

async function renameRelations(records: Records, names: readonly Names[]): Promise<void> {
  const rename = (kind: string, { schema }: TableMapping, was: string, to: string) =>
    records.query(`ALTER ${kind} IF EXISTS ${quote(schema)}.${quote(was)} RENAME TO ${quote(to)}`);
  for (const [i, { table, relations }] of names.entries()) {
    await rename("TABLE", table, table.target, scratch(i));
    for (const [n, { kind, was }] of relations.entries()) await rename(kind, table, was, scratch(i, n));
  }
  for (const [i, { table, to, relations, checks }] of names.entries()) {
    await rename("TABLE", table, scratch(i), to);
    for (const [n, one] of relations.entries()) await rename(one.kind, table, scratch(i, n), one.to);
    const there =
      (await readShapes(records.session, [{ ...table, target: to }])).get(table.table.name)?.items ?? [];
    for (const { was, to: name } of checks)
      if (there.some((item) => item.kind === "check" && item.name === was))
        await records.query(
          `ALTER TABLE ${quote(table.schema)}.${quote(to)} RENAME CONSTRAINT ${quote(was)} TO ${quote(name)}`,
        );
  }
}

async function renameRecords(
  records: Records,
  source: string,
  names: readonly (readonly [string, string])[],
): Promise<void> {
  for (const [from, to] of names)
    await records.query("UPDATE switchback.followed SET name = $3 WHERE source = $1 AND name = $2", [
      ...[source, from, to],
    ]);
}
