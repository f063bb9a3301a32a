// Where the rows of each table go: the names that the configuration gives, those of the tables to be adopted, and ours.
import type { SourceConfig } from "../config/config.js";
import { columnSettings, tableSettings } from "../config/table-settings.js";
import type { Column, Table } from "../schema/model.js";
import { defaultTargetName } from "../schema/pg-names.js";
import { type AdoptedColumn, type AdoptedTables, counterparts } from "./adopted.js";
import { ROWID_COLUMN } from "./mapping.js";

/** The table of PostgreSQL that stands for one of SQLite. */
export interface Place {
  readonly name: string;
  /** By the SQLite column's name; several where the name alone does not tell. */
  readonly columns: ReadonlyMap<string, readonly AdoptedColumn[]>;
}

/** Where the target is adopted: the table that stands for each, for those that have one. */
export function placesOf(
  tables: readonly Table[],
  source: SourceConfig,
  adopted: AdoptedTables | null,
): Map<string, Place> {
  const places = new Map<string, Place>();
  if (adopted === null) return places;
  const found = counterparts(
    tables.map((table) => tableSettings(source.tables, table.name)?.name ?? defaultTargetName(table.name)),
    [...adopted.keys()],
  );
  for (const table of tables) {
    const wanted = tableSettings(source.tables, table.name)?.name ?? defaultTargetName(table.name);
    const [name, ...others] = found.get(wanted) ?? [];
    const standing = name === undefined || others.length > 0 ? undefined : adopted.get(name);
    if (name === undefined || !standing) continue;
    const wantedOf = (column: Column) =>
      columnSettings(source.tables, table.name, column.name)?.name ?? targetNameOf(table, column.name);
    const pairs = counterparts(
      table.columns.map(wantedOf),
      standing.map((column) => column.name),
    );
    const columns = table.columns.map((column): [string, AdoptedColumn[]] => {
      const names = pairs.get(wantedOf(column)) ?? [];
      return [column.name, standing.filter((one) => names.includes(one.name))];
    });
    places.set(table.name, { name, columns: new Map(columns) });
  }
  return places;
}

/** A table whose rows are followed by the rowid has our column: the application's of the same name gives way. */
export function targetNameOf(table: Table, column: string): string {
  const taken = table.key.kind === "rowid" && column === ROWID_COLUMN;
  return defaultTargetName(taken ? `${column}_own` : column);
}
