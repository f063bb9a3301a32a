// The differences between a target table's shape and the wanted one, in words. Pure: shape.ts has read the catalogue
// and the shapes of a fresh start. An operator's plain index for reports, or a column that fills itself, is no
// difference; a constraint that refuses rows that SQLite accepts is one.
import type { TableMapping } from "../../mapping/mapping.js";
import { canHold } from "./inspect-table.js";
import type { ShapeColumn, ShapeItem, StandingShape, TableShape, Tolerated } from "./shape.js";

export interface ShapeDifference {
  /** The SQLite table's name. */
  readonly table: string;
  /** `column kind`, `check t_check` … */
  readonly what: string;
  /** The shape of a fresh start; null for none. */
  readonly source: string | null;
  /** The actual shape; null for none. */
  readonly target: string | null;
}

/** `key`: the wanted primary key's columns. It makes them NOT NULL, whether it is built yet or not. */
function describeColumn(column: ShapeColumn, key: readonly string[]): string {
  const { name, type, generated, identity } = column;
  const parts = [type];
  if (column.notNull && !key.includes(name)) parts.push("NOT NULL");
  if (generated !== null) parts.push(`GENERATED ALWAYS AS (${generated})`);
  if (column.default !== null) parts.push(`DEFAULT ${column.default}`);
  if (identity !== "") parts.push(`GENERATED ${identity === "a" ? "ALWAYS" : "BY DEFAULT"} AS IDENTITY`);
  return parts.join(" ");
}

/** The differences of a table under `target: create`. */
export function differencesOf(
  mapping: TableMapping,
  have: StandingShape | undefined,
  want: TableShape,
  tolerated: Tolerated,
): ShapeDifference[] {
  const table = mapping.table.name;
  if (!have) return [{ table, what: "table", source: `${mapping.schema}.${mapping.target}`, target: null }];
  const key = mapping.key.map(({ target }) => target);
  const persistence = { table, what: "persistence", source: "LOGGED", target: "UNLOGGED" };
  return [
    ...(have.unlogged ? [persistence] : []),
    ...columnDifferences(table, key, have, want, tolerated),
    ...itemDifferences(table, have, want, tolerated),
  ];
}

function columnDifferences(
  table: string,
  key: readonly string[],
  have: TableShape,
  want: TableShape,
  tolerated: Tolerated,
): ShapeDifference[] {
  const found: ShapeDifference[] = [];
  const differ = (name: string, source: string | null, target: string | null) =>
    found.push({ table, what: `column ${name}`, source, target });
  for (const wanted of want.columns) {
    const standing = have.columns.find(({ name }) => name === wanted.name);
    const source = describeColumn(wanted, key);
    if (!standing) {
      differ(wanted.name, source, null);
      continue;
    }
    const own = tolerated.defaults.has(wanted.name) && wanted.default === null;
    const target = describeColumn(own ? { ...standing, default: null } : standing, key);
    if (source !== target) differ(wanted.name, source, target);
  }
  for (const column of have.columns) {
    if (want.columns.some(({ name }) => name === column.name)) continue;
    if (column.notNull && !fillsItself(column)) differ(column.name, null, describeColumn(column, []));
  }
  const order = (columns: readonly ShapeColumn[], others: readonly ShapeColumn[]) =>
    columns
      .map(({ name }) => name)
      .filter((name) => others.some((other) => other.name === name))
      .join(", ");
  const [source, target] = [order(want.columns, have.columns), order(have.columns, want.columns)];
  if (source !== target) found.push({ table, what: "order of the columns", source, target });
  return found;
}

function fillsItself({ default: standard, generated, identity }: ShapeColumn): boolean {
  return standard !== null || generated !== null || identity !== "";
}

function itemDifferences(
  table: string,
  have: TableShape,
  want: TableShape,
  tolerated: Tolerated,
): ShapeDifference[] {
  const found: ShapeDifference[] = [];
  for (const wanted of want.items) {
    const standing = have.items.find(({ name }) => name === wanted.name);
    if (standing?.kind === wanted.kind && standing.definition === wanted.definition) continue;
    const target = standing === undefined ? null : describeItem(standing);
    found.push({ table, what: `${wanted.kind} ${wanted.name}`, source: describeItem(wanted), target });
  }
  for (const item of have.items) {
    if (want.items.some(({ name }) => name === item.name) || isHarmless(item, tolerated)) continue;
    found.push({ table, what: `${item.kind} ${item.name}`, source: null, target: describeItem(item) });
  }
  return found;
}

function isHarmless({ kind }: ShapeItem, tolerated: Tolerated): boolean {
  if (kind === "check") return tolerated.checks;
  if (kind === "unique") return tolerated.uniques;
  return kind === "index";
}

function describeItem({ kind, definition }: ShapeItem): string {
  return kind === "unique" ? `UNIQUE ${definition}` : definition;
}

/** For `target: adopt`: the table is the application's own, but it must be able to hold what SQLite holds. */
export function adoptedDifferences(
  mapping: TableMapping,
  have: StandingShape | undefined,
): ShapeDifference[] {
  const table = mapping.table.name;
  if (!have) return [{ table, what: "table", source: `${mapping.schema}.${mapping.target}`, target: null }];
  const wanted = mapping.columns.flatMap(({ target: name, codec: { type } }): ShapeDifference[] => {
    const standing = have.columns.find((column) => column.name === name);
    const what = `column ${name}`;
    if (!standing) return [{ table, what, source: type, target: null }];
    const bare = standing.type.replace(/ COLLATE .*$/, "");
    if (standing.generated === null && canHold(bare, type)) return [];
    return [{ table, what, source: type, target: describeColumn(standing, []) }];
  });
  const unfilled = have.columns.filter(
    (column) =>
      column.notNull && !fillsItself(column) && !mapping.columns.some(({ target }) => target === column.name),
  );
  return [
    ...wanted,
    ...unfilled.map((column) => ({
      table,
      what: `column ${column.name}`,
      source: null,
      target: describeColumn(column, []),
    })),
  ];
}

/** One difference as a line for the operator. */
export function describeDifference({ table, what, source, target }: ShapeDifference): string {
  const gives = source === null ? "SQLite's schema has none" : `SQLite's schema gives ${source}`;
  return `${table}: ${what}: ${gives}, PostgreSQL has ${target ?? "none"}`;
}
