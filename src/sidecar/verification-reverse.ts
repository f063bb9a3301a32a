// The comparison while PostgreSQL has the writes: PostgreSQL is the source, the SQLite file its warm copy. A view
// of PostgreSQL in which every change was carried over, and a snapshot of the file at that same count, must hold
// the same rows.
import { SwitchbackError } from "../errors.js";
import { changesBeyond, touchChanges } from "../postgres/change-log.js";
import type { ShapeDifference } from "../postgres/ddl/shape-difference.js";
import type { FollowedTable } from "../postgres/records.js";
import { isLocked } from "../postgres/sidecar-lock.js";
import { openView } from "../postgres/target/compare-view.js";
import { type Comparison, compareAt, type TableComparison } from "../protocol/compare.js";
import type { KeysByTable, Snapshot, View } from "../protocol/contract.js";
import { pause } from "../retry.js";
import { copiedPosition, type Quarantined, quarantinedRows } from "../sqlite/target/copy-record.js";
import {
  mappingOf,
  type OpenStores,
  REPAIR_WAIT_MS,
  SETTLE_MS,
  type VerifiedDirection,
  type VerifyOptions,
} from "./verification-direction.js";

/** A try takes a millisecond or two; under load one in some dozen meets a moment without changes under way. */
const TRY_PAUSE_MS = 1;
/** How often it is looked whether logged keys were applied. */
const APPLIED_LOOK_MS = 20;

export class ReverseVerification implements VerifiedDirection {
  readonly writes = "postgres";

  constructor(
    private readonly options: VerifyOptions,
    private readonly stores: OpenStores,
    private readonly followed: readonly FollowedTable[],
  ) {}

  async assertFollowed(): Promise<void> {
    if (await isLocked(this.stores.client)) return;
    const halted = this.options.halted?.();
    if (halted) throw halted;
    throw new SwitchbackError("NO_SIDECAR", "PostgreSQL has the writes, and no sidecar keeps SQLite warm");
  }

  async compare(keysMax: number): Promise<Comparison> {
    const { client, file } = this.stores;
    const { signal, source } = this.options;
    const until = performance.now() + SETTLE_MS;
    for (;;) {
      signal.throwIfAborted();
      const view = await openView(client, source.name, (table) => mappingOf(this.stores, table));
      let snapshot: Snapshot | null = null;
      try {
        const { consumed: position, pending } = await changesBeyond(client, source.name);
        snapshot = await file.snapshot(1);
        // The file is never behind what PostgreSQL counts as carried over; if it is not ahead now, it was not before.
        if (pending === 0 && file.look(copiedPosition) === position) {
          const tables = await this.compareSwapped(view, snapshot, keysMax);
          return { position, settled: true, inFlight: 0, tables };
        }
        if (performance.now() > until)
          return { position, settled: false, inFlight: Math.max(1, pending), tables: [] };
      } finally {
        await snapshot?.release();
        await view.close();
      }
      await pause(TRY_PAUSE_MS, signal);
    }
  }

  /** The comparison knows one direction; here the roles are the other way round. */
  private async compareSwapped(view: View, snapshot: Snapshot, keysMax: number): Promise<TableComparison[]> {
    const turned = { missing: "extra", extra: "missing", different: "different" } as const;
    const { signal } = this.options;
    const options = { tables: [...this.stores.mappings.keys()], signal, keysMax };
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

  async quarantined(table: string, most: number): Promise<{ count: number; rows: readonly Quarantined[] }> {
    return this.stores.file.look((db) => quarantinedRows(db, table, most));
  }

  /** The file's tables are the application's own: switchback gives them no shape. */
  async shapes(): Promise<readonly ShapeDifference[]> {
    return [];
  }

  /** Nothing to do: these rows are missing in the file, so that each round of a repair rewrites them. */
  async retryQuarantined(): Promise<void> {}

  /** Logs keys as if their rows had been written, so that they are carried over again; waits until they were. */
  async rewrite(keys: KeysByTable): Promise<void> {
    const { client } = this.stores;
    for (const [table, list] of keys) {
      const id = this.followed.find(({ name }) => name === table)?.id;
      if (id === undefined)
        throw new SwitchbackError("TABLE_UNKNOWN", `there is no followed table ${table}`, { table });
      await touchChanges(client, id, list);
    }
    const until = performance.now() + REPAIR_WAIT_MS;
    while (performance.now() < until) {
      if ((await changesBeyond(client, this.options.source.name)).pending === 0) return;
      await pause(APPLIED_LOOK_MS, this.options.signal);
    }
  }
}
