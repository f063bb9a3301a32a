// The statements that give a target table the wanted shape in place, with its grants, its indexes for reports and its
// other dependants. Columns keep their place where possible; from the first one that cannot, all are dropped and
// added again, in order. Pure: the caller has emptied the table where rows would be lost.
import type { TableMapping } from "../../mapping/mapping.js";
import { quote } from "../../schema/model.js";
import type { FollowedTable } from "../records.js";
import { qualifiedName } from "../target/merge.js";
import type { ShapeColumn, StandingItem, StandingShape, TableShape, Tolerated } from "./shape.js";
import { checkLine, type TargetTable } from "./tables.js";

export interface Alteration {
  /** In order; none of the statements reads or keeps rows. */
  readonly statements: readonly string[];
  /** True when the rows must be copied again: columns are added, or rows must satisfy new constraints. */
  readonly rows: boolean;
  /** The number of added columns: PostgreSQL counts dropped ones for ever. */
  readonly added: number;
  /** True when a computed column comes before a column that it may need: only CREATE TABLE can do that. */
  readonly forward: boolean;
  /** True when a wanted key or index is missing; they are built after the copy. */
  readonly unbuilt: boolean;
  /** What is dropped: not wanted, or different from what is wanted. */
  readonly surplus: readonly StandingItem[];
  /** Objects that are neither wanted nor made by switchback: they stay. */
  readonly spared: readonly StandingItem[];
}

/** For a table that is new to switchback, only what blocks the wanted shape is dropped. */
export type Known = Pick<FollowedTable, "made" | "shape" | "mapping"> | null;

export function alterationOf(
  known: Known,
  table: TargetTable,
  have: StandingShape,
  want: TableShape,
  tolerated: Tolerated,
): Alteration {
  const alter = `ALTER TABLE ${qualifiedName(table.mapping)}`;
  const ours = have.columns.filter((column) => isOurs(known, want, column));
  const kept = keptColumns(ours, want);
  const gone = ours.filter(({ name }) => !kept.has(name));
  const lost = new Set(gone.map(({ name }) => name));
  const added = want.columns.filter(({ name }) => !kept.has(name));
  const surplus = have.items.filter((item) => isSurplus(known, want, item));
  const checks = table.checks.filter(({ name }) => {
    const standing = have.items.find((item) => item.kind === "check" && item.name === name);
    // A CHECK over a dropped column goes with it.
    return !standing || surplus.includes(standing) || lost.size > 0;
  });
  const tuned = want.columns.flatMap((column) => {
    const standing = kept.get(column.name);
    return standing ? tuning(alter, table, standing, column, tolerated) : [];
  });
  const constraints = lost.size > 0 ? table.checks.map(({ name }) => name) : [];
  const dropped = [...gone].sort((a, b) => Number(b.generated !== null) - Number(a.generated !== null));
  const statements = [
    ...surplus.map((item) => dropItem(table.mapping, item)),
    ...constraints.map((name) => `${alter} DROP CONSTRAINT IF EXISTS ${quote(name)}`),
    ...(dropped.length > 0
      ? [`${alter} ${dropped.map(({ name }) => `DROP COLUMN ${quote(name)}`).join(", ")}`]
      : []),
    ...added.map(({ name }) => `${alter} ADD COLUMN ${table.columnLines.get(name) ?? quote(name)}`),
    ...tuned.map(({ statement }) => statement),
    ...checks.map((check) => `${alter} ADD ${checkLine(check)}`),
    ...(have.unlogged ? [`${alter} SET LOGGED`] : []),
  ];
  const built = have.items.filter((item) => !surplus.includes(item) && lost.size === 0);
  // A crash may have emptied an unlogged table.
  const lacking = gone.length + added.length + checks.length > 0 || have.unlogged;
  const rows = lacking || tuned.some((step) => step.rows);
  const unbuilt = want.items.some(
    ({ kind, name }) => kind !== "check" && !built.some((item) => item.kind === kind && item.name === name),
  );
  const spared = have.items.filter(
    (item) => !surplus.includes(item) && !want.items.some(({ name }) => name === item.name),
  );
  const forward = added.some(
    ({ generated }, i) => generated !== null && added.slice(i).some((later) => later.generated === null),
  );
  return { statements, rows, added: added.length, forward, unbuilt, surplus, spared };
}

/**
 * The columns that stay: the first ones that exist unchanged and in the wanted order. Computed columns are dropped
 * together with any other column, because PostgreSQL keeps a column that an expression needs.
 */
function keptColumns(ours: readonly ShapeColumn[], want: TableShape): Map<string, ShapeColumn> {
  const all = inPlace(ours, want, true);
  const computed = [...all.values()].some(({ generated }) => generated !== null);
  return computed && ours.length > all.size ? inPlace(ours, want, false) : all;
}

function inPlace(
  ours: readonly ShapeColumn[],
  want: TableShape,
  computed: boolean,
): Map<string, ShapeColumn> {
  const kept = new Map<string, ShapeColumn>();
  let from = 0;
  for (const column of want.columns) {
    const at = ours.findIndex((standing, i) => i >= from && standing.name === column.name);
    const standing = ours[at];
    if (!standing || !sameKind(standing, column) || (!computed && column.generated !== null)) break;
    kept.set(column.name, standing);
    from = at + 1;
  }
  return kept;
}

/** Equal except for differences that can be altered in place. */
function sameKind(a: ShapeColumn, b: ShapeColumn): boolean {
  return a.type === b.type && a.generated === b.generated && a.identity === b.identity;
}

function tuning(
  alter: string,
  table: TargetTable,
  have: ShapeColumn,
  want: ShapeColumn,
  tolerated: Tolerated,
): { statement: string; rows: boolean }[] {
  const column = `${alter} ALTER COLUMN ${quote(want.name)}`;
  const isKey = table.mapping.key.some(({ target }) => target === want.name);
  const steps: { statement: string; rows: boolean }[] = [];
  const own = want.default === null && tolerated.defaults.has(want.name);
  if (have.default !== want.default && !own) {
    const standard = table.defaults.get(want.name);
    const set = want.default === null || standard === undefined ? "DROP DEFAULT" : `SET DEFAULT ${standard}`;
    steps.push({ statement: `${column} ${set}`, rows: false });
  }
  if (have.notNull && !want.notNull) steps.push({ statement: `${column} DROP NOT NULL`, rows: false });
  if (!have.notNull && want.notNull && !isKey)
    steps.push({ statement: `${column} SET NOT NULL`, rows: true });
  return steps;
}

/** An extra column is dropped only when switchback made it; an extra column under a wanted name must go as well. */
function isOurs(known: Known, want: TableShape, column: ShapeColumn): boolean {
  if (want.columns.some(({ name }) => name === column.name)) return true;
  if (!known) return false;
  if (known.shape) return known.shape.columns.some(({ name }) => name === column.name);
  const computed = known.made && column.generated !== null;
  return computed || known.mapping.columns.some(({ target }) => target === column.name);
}

/**
 * A table of an earlier release has no record of its shape: switchback made everything in it except plain indexes.
 */
function isSurplus(known: Known, want: TableShape, item: StandingItem): boolean {
  const wanted = want.items.find(({ name }) => name === item.name);
  if (wanted) {
    // A primary key is a unique index until it is attached.
    const attachable = wanted.kind === "primary key" && item.kind === "unique";
    return wanted.definition !== item.definition || (wanted.kind !== item.kind && !attachable);
  }
  // A table has at most one.
  if (item.kind === "primary key") return true;
  if (!known) return false;
  if (known.shape)
    return known.shape.items.some(({ kind, name }) => kind === item.kind && name === item.name);
  return known.made && item.kind !== "index";
}

export function dropItem(mapping: TableMapping, { kind, name, definition }: StandingItem): string {
  const constraint = kind === "check" || kind === "exclusion" || kind === "primary key";
  return constraint || definition.startsWith("constraint ")
    ? `ALTER TABLE ${qualifiedName(mapping)} DROP CONSTRAINT IF EXISTS ${quote(name)}`
    : `DROP INDEX IF EXISTS ${quote(mapping.schema)}.${quote(name)}`;
}
