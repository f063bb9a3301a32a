// Tables that the application renamed. Their copies are renamed too, with everything that is recorded of them, and keep
// their rows. Where that is not certain, the copies stay, and the tables are copied again under their new names.
//
// PostgreSQL comes first. After a crash in between, the file still tells of the renames, and the records of
// PostgreSQL that they are done. Tables that exchanged their names would look the same before and after: they are
// copied again.
import type { SourceConfig } from "../config/config.js";
import { tableSettings } from "../config/table-settings.js";
import type { TableMapping } from "../mapping/mapping.js";
import { type RenamedTable, renameCopies } from "../postgres/ddl/rename.js";
import type { FollowedTable } from "../postgres/records.js";
import type { Schema, Table } from "../schema/model.js";
import { defaultTargetName } from "../schema/pg-names.js";
import { sameButForNames } from "../schema/same-ddl.js";
import { type Rename, readRenames } from "../sqlite/capture/renames.js";
import type { Sides } from "./reconcile.js";

/** True when there were renames: the records of the followed tables must be read again. */
export async function followRenames(
  { config, file, records }: Sides,
  schema: Schema,
  version: number,
  known: ReadonlyMap<string, FollowedTable>,
): Promise<boolean> {
  const renames = file.recordedIdentity() === null ? [] : file.look(readRenames);
  if (renames.length === 0) return false;
  const olds = renames.map(({ from }) => from);
  const news = renames.map(({ to }) => to);
  const waiting =
    olds.every((name) => known.has(name)) && news.every((name) => !known.has(name) || olds.includes(name));
  const done =
    news.every((name) => known.has(name)) && olds.every((name) => !known.has(name) || news.includes(name));
  let same = done && !waiting;
  if (waiting && !done && config.target === "create")
    same = await renameCopies(records, config.name, present(config, schema, known, renames));
  file.settleRenames(renames, version, same);
  return true;
}

/** Every followed table that is still there, under its present name. */
function present(
  config: SourceConfig,
  schema: Schema,
  known: ReadonlyMap<string, FollowedTable>,
  renames: readonly Rename[],
): RenamedTable[] {
  const renamed = new Map(renames.map(({ from, to }) => [from, to]));
  return [...known.values()].flatMap((before) => {
    const table = schema.tables.find(({ name }) => name === (renamed.get(before.name) ?? before.name));
    if (!table) return [];
    const was = before.mapping.table;
    const same =
      sameButForNames(before.ddl, table.sql, renamed) &&
      columnsOf(was).join("\0") === columnsOf(table).join("\0");
    return [
      { before, mapping: underNewName(config, before, table, same), ddl: same ? table.sql : before.ddl },
    ];
  });
}

function columnsOf({ columns }: Table): string[] {
  return columns.map(({ name }) => name);
}

function underNewName(
  config: SourceConfig,
  before: FollowedTable,
  table: Table,
  same: boolean,
): TableMapping {
  const was = before.mapping;
  const target =
    before.name === table.name
      ? was.target
      : (tableSettings(config.tables, table.name)?.name ?? defaultTargetName(table.name));
  // What else changed in the table is found by the ordinary look.
  const kept = same ? { ...table, key: was.table.key } : { ...was.table, name: table.name };
  return { ...was, target, table: kept };
}
