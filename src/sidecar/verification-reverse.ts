// The comparison while PostgreSQL has the writes: PostgreSQL is the source, the SQLite file its warm copy. A view
// of PostgreSQL in which every change was carried over, and a snapshot of the file at that same count, must hold
// the same rows.
import type pg from "pg";
import { SwitchbackError } from "../errors.js";
import type { TableMapping } from "../mapping/mapping.js";
import { changesBeyond, touchChanges } from "../postgres/change-log.js";
import type { FollowedTable } from "../postgres/records.js";
import { openView } from "../postgres/target/compare-view.js";
import { compareAt, type TableComparison } from "../protocol/compare.js";
import type { EncodedRow, Position, Snapshot, View } from "../protocol/contract.js";
import { pause } from "../retry.js";
import type { SqliteSource } from "../sqlite/source/source.js";
import { copiedPosition } from "../sqlite/target/copy-record.js";

export interface AwayOptions {
  readonly source: string;
  readonly client: pg.Client;
  readonly file: SqliteSource;
  readonly followed: readonly FollowedTable[];
  /** The tables to compare. */
  readonly tables: readonly string[];
  readonly mappingOf: (table: string) => TableMapping;
  readonly signal: AbortSignal;
  readonly settleMs: number;
  readonly keysMax: number;
}

export interface AwayComparison {
  readonly position: Position;
  /** Changes that were under way all the time; 0 when the comparison is exact. */
  readonly inFlight: number;
  readonly tables: readonly TableComparison[];
}

/** A try takes a millisecond or two; under load one in some dozen meets a moment without changes under way. */
const TRY_PAUSE_MS = 1;

/** Source and target in the result are the roles of this direction: missing rows are missing in SQLite. */
export async function compareAway(options: AwayOptions): Promise<AwayComparison> {
  const until = performance.now() + options.settleMs;
  for (;;) {
    options.signal.throwIfAborted();
    const view = await openView(options.client, options.source, options.mappingOf);
    let snapshot: Snapshot | null = null;
    try {
      const { consumed, pending } = await changesBeyond(options.client, options.source);
      snapshot = await options.file.snapshot(1);
      // The file is never behind what PostgreSQL counts as carried over; if it is not ahead now, it was not before.
      const met = pending === 0 && options.file.look(copiedPosition) === consumed;
      if (met) return { position: consumed, inFlight: 0, tables: await swapped(options, view, snapshot) };
      if (performance.now() > until)
        return { position: consumed, inFlight: Math.max(1, pending), tables: [] };
    } finally {
      await snapshot?.release();
      await view.close();
    }
    await pause(TRY_PAUSE_MS, options.signal);
  }
}

/** The comparison knows one direction; here the roles are the other way round. */
async function swapped(options: AwayOptions, view: View, snapshot: Snapshot): Promise<TableComparison[]> {
  const turned = { missing: "extra", extra: "missing", different: "different" } as const;
  const tables = await compareAt(options, view, snapshot);
  return tables.map((table) => ({
    ...table,
    source: table.target,
    target: table.source,
    missing: table.extra,
    extra: table.missing,
    keys: table.keys.map(({ kind, key }) => ({ kind: turned[kind], key })),
  }));
}

/** Logs keys as if their rows had been written, so that they are carried over again; waits until they were. */
export async function touchAway(
  options: AwayOptions,
  keys: ReadonlyMap<string, readonly EncodedRow[]>,
  waitMs: number,
): Promise<void> {
  for (const [table, list] of keys) {
    const id = options.followed.find(({ name }) => name === table)?.id;
    if (id === undefined)
      throw new SwitchbackError("TABLE_UNKNOWN", `there is no followed table ${table}`, { table });
    await touchChanges(options.client, id, list);
  }
  const until = performance.now() + waitMs;
  while (performance.now() < until) {
    if ((await changesBeyond(options.client, options.source)).pending === 0) return;
    await pause(TRY_PAUSE_MS * 20, options.signal);
  }
}
