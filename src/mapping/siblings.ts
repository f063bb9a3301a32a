// How a column without values will spell its moments: as its siblings do. Those of its own table go first, then those
// of the whole file.

import type { Table } from "../schema/model.js";
import type { MomentSource } from "../schema/moment-source.js";
import type { Evidence } from "./evidence.js";
import { sourceOf } from "./spelling.js";

/** True for a declaration that says that the values are moments. */
export function isMoment(declaredType: string): boolean {
  return /^(DATE|TIMESTAMP)/i.test(declaredType);
}

/** The spelling of most columns of moments; null where none has a value. Reads samples of those columns only. */
export function usualSource(
  table: Table,
  tables: readonly Table[],
  evidence: (table: Table) => Evidence,
): MomentSource | null {
  const among = (some: readonly Table[]) =>
    some.flatMap((one) =>
      one.columns
        .filter((column) => isMoment(column.declaredType))
        .map((column) => evidence(one).sample(column.name))
        .filter((sample) => sample.length > 0)
        .map(sourceOf),
    );
  return most(among([table])) ?? most(among(tables));
}

function most(sources: readonly MomentSource[]): MomentSource | null {
  const count = (source: MomentSource) => sources.filter((other) => other === source).length;
  return [...new Set(sources)].sort((a, b) => count(b) - count(a))[0] ?? null;
}
