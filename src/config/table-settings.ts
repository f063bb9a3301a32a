// What the configuration says of one table or column. Entries by name go first. Then come the patterns among the keys, as
// `*` and `*_at`, in their order; they also speak for tables and columns that are yet to be created.
import { folded } from "../schema/model.js";
import type { ColumnConfig, SourceConfig, TableConfig } from "./config.js";

type Tables = SourceConfig["tables"];

/** True for a key that is a pattern: `*` stands for any characters, `?` for one. */
export function isPattern(key: string): boolean {
  return /[*?]/.test(key);
}

/** The table's own entry. Patterns name no table. */
export function tableSettings(tables: Tables, table: string): TableConfig | undefined {
  return Object.entries(tables).find(([key]) => !isPattern(key) && folded(key) === folded(table))?.[1];
}

export function columnSettings(tables: Tables, table: string, column: string): ColumnConfig | undefined {
  return entriesFor(tables, table).flatMap(([, { columns }]) => entriesFor(columns, column))[0]?.[1];
}

/** The entries that speak for a name, by key: its own, then patterns. */
export function entriesFor<T>(entries: Readonly<Record<string, T>>, name: string): [string, T][] {
  const all = Object.entries(entries);
  const own = all.filter(([key]) => !isPattern(key) && folded(key) === folded(name));
  return [...own, ...all.filter(([key]) => isPattern(key) && expression(key).test(folded(name)))];
}

/** The configuration ignores the case of ASCII letters, as SQLite does. */
function expression(pattern: string): RegExp {
  const literal = folded(pattern).replace(/[.+^${}()|[\]\\]/g, "\\$&");
  return new RegExp(`^${literal.replaceAll("*", ".*").replaceAll("?", ".")}$`, "su");
}
