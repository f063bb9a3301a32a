// The comparison while SQLite has the writes: the file is the source, PostgreSQL its copy. A repair logs keys in
// SQLite, so that the sidecar that follows reads those rows again and writes them as they are.
import { Refusal } from "../codec/codec.js";
import { decodeKey } from "../mapping/row-format.js";
import type { ShapeDifference } from "../postgres/ddl/shape-difference.js";
import { isLocked } from "../postgres/sidecar-lock.js";
import { openView } from "../postgres/target/compare-view.js";
import {
  type QuarantineCursor,
  type QuarantinedKeys,
  quarantinedKeys,
} from "../postgres/target/quarantine.js";
import { type Comparison, compare } from "../protocol/compare.js";
import type { KeysByTable } from "../protocol/contract.js";
import { pause } from "../retry.js";
import type { Quarantined } from "../sqlite/target/copy-record.js";
import {
  mappingOf,
  type OpenStores,
  REPAIR_KEYS,
  REPAIR_WAIT_MS,
  SETTLE_MS,
  type VerifiedDirection,
  type VerifyOptions,
} from "./verification-direction.js";
import { verifyShapes } from "./verification-shape.js";

/** How often it is looked whether logged keys were applied. */
const APPLIED_LOOK_MS = 20;

export class ForwardVerification implements VerifiedDirection {
  readonly writes = "sqlite";

  constructor(
    private readonly options: VerifyOptions,
    private readonly stores: OpenStores,
  ) {}

  async assertFollowed(): Promise<void> {
    if (!(await isLocked(this.stores.client))) await this.options.catchUp();
  }

  compare(keysMax: number): Promise<Comparison> {
    const { file, client, mappings } = this.stores;
    const find = (table: string) => mappingOf(this.stores, table);
    return compare({
      source: file,
      view: () => openView(client, this.options.source.name, find),
      tables: [...mappings.keys()],
      ranges: (table) => file.rangesOf(find(table).table),
      signal: this.options.signal,
      settleMs: SETTLE_MS,
      keysMax,
    });
  }

  async quarantined(table: string, most: number): Promise<{ count: number; rows: readonly Quarantined[] }> {
    const { records } = this.stores;
    const { name } = this.options.source;
    const rows = await records.quarantined(name, table, most);
    return { count: await records.quarantinedCount(name, table), rows };
  }

  async shapes(): Promise<readonly ShapeDifference[]> {
    const { source, signal, table } = this.options;
    const { file, records, client } = this.stores;
    const found = await verifyShapes({ source, file, records, client, signal });
    return found.filter((difference) => table === undefined || difference.table === table);
  }

  /** Rows that were kept out of PostgreSQL are tried again first: what kept them out may be gone. */
  async retryQuarantined(): Promise<void> {
    const { name: source } = this.options.source;
    const { client, mappings } = this.stores;
    const find = (table: string) => mappings.get(table);
    let after: QuarantineCursor | null = null;
    for (;;) {
      const wanted = { source, mappingOf: find, after, most: REPAIR_KEYS, codecs: true };
      const { keys, last }: QuarantinedKeys = await quarantinedKeys(client, wanted);
      if (last === null) return;
      await this.rewrite(keys);
      after = last;
    }
  }

  async rewrite(keys: KeysByTable): Promise<void> {
    const position = this.touch(keys);
    const { client, records } = this.stores;
    const until = performance.now() + REPAIR_WAIT_MS;
    while (performance.now() < until) {
      if (!(await isLocked(client))) await this.options.catchUp();
      const record = await records.source(this.options.source.name);
      if (record && record.position >= position) return;
      await pause(APPLIED_LOOK_MS, this.options.signal);
    }
  }

  /** Logs keys in SQLite; the position that covers them. */
  private touch(keysByTable: KeysByTable): number {
    let position = 0;
    for (const [table, encoded] of keysByTable) {
      const mapping = this.stores.mappings.get(table);
      if (!mapping) continue;
      const keys = encoded.flatMap((key) => {
        const values = decodeKey(mapping, key);
        // What cannot be the source's is not there.
        return values instanceof Refusal ? [] : [values];
      });
      if (keys.length > 0) position = this.stores.file.touch(table, keys);
    }
    return position;
  }
}
