// What the application's own migrations made in PostgreSQL (`target: adopt`), as far as it decides a mapping: the
// counterpart of each table and column by name, and its type. It reads no catalogue and no data.
import { folded } from "../schema/model.js";
import { parseType } from "../schema/pg-types.js";

export interface AdoptedColumn {
  readonly name: string;
  /** As format_type prints it. */
  readonly type: string;
  /** The built-in type by whose codec the values of a type of the database's own are read and written, or null. */
  readonly like: string | null;
  /** True where PostgreSQL computes the column. */
  readonly computed: boolean;
}

/** The tables of one schema, by name. */
export type AdoptedTables = ReadonlyMap<string, readonly AdoptedColumn[]>;

/** For each name in SQLite: its counterpart, several that could be, or none. */
type Counterparts = ReadonlyMap<string, readonly string[]>;

/**
 * Pairs names of both stores: those that are the same first, then those that differ only in case and underscores
 * (createdAt, created_at). A name that has its counterpart is no one else's.
 */
export function counterparts(wanted: readonly string[], names: readonly string[]): Counterparts {
  const exact = new Set(wanted.filter((name) => names.includes(name)));
  const free = names.filter((name) => !exact.has(name));
  const rivals = wanted.filter((name) => !exact.has(name));
  return new Map(
    wanted.map((name) => {
      if (exact.has(name)) return [name, [name]];
      // Two names of SQLite for one counterpart: neither may take it.
      const alone = rivals.filter((other) => loose(other) === loose(name)).length === 1;
      const found = free.filter((other) => loose(other) === loose(name));
      return [name, alone ? found : []];
    }),
  );
}

function loose(name: string): string {
  return folded(name).replaceAll("_", "");
}

/** The type of a column to be adopted as a mapping spells it; null where no codec reads and writes its values. */
export function adoptedType({ type, like }: AdoptedColumn): { type: string; like?: string } | null {
  const parsed = parseType(type);
  if (parsed) return { type: parsed.type };
  const base = like === null ? null : parseType(like);
  return base ? { type, like: base.type } : null;
}
