// Verification of a source and its copy, beside a sidecar or without one: opens both sides for reading,
// compares, names what differs, and for a repair logs the differing keys in SQLite, so that whoever follows
// reads those rows again and writes them as they are.
import type pg from "pg";
import { Refusal } from "../codec/codec.js";
import type { PostgresConfig, SourceConfig } from "../config/config.js";
import { assertPairs } from "../cutover/pair.js";
import { SwitchbackError } from "../errors.js";
import type { TableMapping } from "../mapping/mapping.js";
import { decodeKey, encodedKeyText } from "../mapping/row-format.js";
import { connectPostgres } from "../postgres/connection.js";
import { withComputedColumns } from "../postgres/ddl/compare-shapes.js";
import type { ShapeDifference } from "../postgres/ddl/shape-difference.js";
import { type FollowedTable, Records } from "../postgres/records.js";
import { isLocked } from "../postgres/sidecar-lock.js";
import { openView } from "../postgres/target/compare-view.js";
import {
  type QuarantineCursor,
  type QuarantinedKeys,
  quarantinedKeys,
} from "../postgres/target/quarantine.js";
import { type Comparison, compare, isEqual, type TableComparison } from "../protocol/compare.js";
import type { KeysByTable, Position } from "../protocol/contract.js";
import { pause } from "../retry.js";
import { SqliteSource } from "../sqlite/source/source.js";
import { type Quarantined, quarantinedRows } from "../sqlite/target/copy-record.js";
import { type AwayOptions, compareAway, touchAway } from "./verification-reverse.js";
import { verifyShapes } from "./verification-shape.js";

export interface TableVerdict {
  readonly name: string;
  readonly source: number;
  readonly target: number;
  readonly missing: number;
  readonly extra: number;
  readonly different: number;
  /** Rows in quarantine: the target cannot hold them, so the stores are not equal while there are any. */
  readonly quarantined: number;
  readonly examples: readonly { readonly kind: string; readonly key: string; readonly reason?: string }[];
}

export interface VerificationResult {
  readonly source: string;
  readonly equal: boolean;
  /** The store that had the writes: the tables' `source`; the other one is their `target`. */
  readonly writes: "sqlite" | "postgres";
  readonly position: Position;
  /** Changes that were not applied in time to be compared. */
  readonly inFlight: number;
  readonly tables: readonly TableVerdict[];
  /** Where a target table is not what a fresh copy would be; none while PostgreSQL has the writes. */
  readonly shape: readonly ShapeDifference[];
}

export interface VerifyOptions {
  readonly source: SourceConfig;
  readonly postgres: PostgresConfig;
  /** Only this table; all when undefined. */
  readonly table: string | undefined;
  readonly signal: AbortSignal;
  /** Applies what is logged when no sidecar does. */
  catchUp(): Promise<void>;
  /** What keeps a sidecar that runs from following, or null. */
  halted?(): SwitchbackError | null;
}

/** A sidecar that follows is a few milliseconds behind; one that is away never arrives. */
const SETTLE_MS = 15_000;
const EXAMPLES = 5;
/** Keys repaired at a time; more differences take more rounds. */
const REPAIR_KEYS = 10_000;
const REPAIR_ROUNDS = 20;
const REPAIR_WAIT_MS = 60_000;

export class Verification {
  /** When the last comparison began: what happened since is not in it. */
  private began = "";

  private constructor(
    private readonly options: VerifyOptions,
    private readonly file: SqliteSource,
    private readonly client: pg.Client,
    private readonly records: Records,
    private readonly mappings: ReadonlyMap<string, TableMapping>,
    /** The followed tables while PostgreSQL has the writes, else null. */
    private readonly away: readonly FollowedTable[] | null,
  ) {}

  static async open(options: VerifyOptions): Promise<Verification> {
    const client = await connectPostgres(options.postgres, { name: "switchback verify" });
    let opened: SqliteSource | null = null;
    try {
      const records = new Records(client);
      await assertPairs(client, options.postgres, [options.source]);
      const file = new SqliteSource(options.source.name, options.source.sqlite, 1);
      opened = file;
      const installed = await records.installed();
      const followed = installed ? await records.followed(options.source.name) : [];
      // A table that was dropped in SQLite is a problem of its own; there is nothing to compare it with.
      const there = new Set(file.schema().schema.tables.map(({ name }) => name));
      const known = followed.filter(({ name }) => there.has(name));
      const chosen = options.table === undefined ? known : known.filter(({ name }) => name === options.table);
      checkReady(options, known.length, chosen);
      const { writes } = await records.route();
      const away = writes === "postgres" ? known : null;
      const written = known.map((table) => table.mapping);
      // What PostgreSQL computes by itself must be what SQLite computes.
      const compared = away || options.source.target === "adopt" ? written : withComputedColumns(written);
      const mappings = new Map(
        compared
          .filter(({ table }) => chosen.some(({ name }) => name === table.name))
          .map((mapping) => [mapping.table.name, mapping]),
      );
      await records.keepLog();
      file.attach(compared);
      return new Verification(options, file, client, records, mappings, away);
    } catch (error) {
      await opened?.close();
      await client.end().catch(() => {});
      throw error;
    }
  }

  async verify(): Promise<VerificationResult> {
    await this.assertFollowed();
    return this.judge(await this.compare(EXAMPLES));
  }

  /** Mends differing rows until none differ, or a round mends nothing. */
  async repair(): Promise<VerificationResult> {
    await this.assertFollowed();
    if (!this.away) await this.touchQuarantined();
    let before = Number.POSITIVE_INFINITY;
    for (let round = 0; ; round++) {
      await this.assertFollowed();
      const comparison = await this.compare(REPAIR_KEYS);
      const differing = comparison.tables.reduce((sum, t) => sum + t.missing + t.extra + t.different, 0);
      if (differing === 0 || differing >= before || round === REPAIR_ROUNDS) return this.judge(comparison);
      before = differing;
      await this.touch(comparison.tables);
    }
  }

  async close(): Promise<void> {
    await this.file.close();
    await this.client.end().catch(() => {});
  }

  /** Somebody must carry changes over, or there is nothing to compare. */
  private async assertFollowed(): Promise<void> {
    if (await isLocked(this.client)) return;
    if (!this.away) return this.options.catchUp();
    const halted = this.options.halted?.();
    if (halted) throw halted;
    throw new SwitchbackError("NO_SIDECAR", "PostgreSQL has the writes, and no sidecar keeps SQLite warm");
  }

  private awayOptions(followed: readonly FollowedTable[], keysMax: number): AwayOptions {
    return {
      source: this.options.source.name,
      client: this.client,
      file: this.file,
      followed,
      tables: [...this.mappings.keys()],
      mappingOf: (name) => this.mappingOf(name),
      signal: this.options.signal,
      settleMs: SETTLE_MS,
      keysMax,
    };
  }

  private mappingOf(name: string): TableMapping {
    const mapping = this.mappings.get(name);
    if (!mapping) throw new Error(`table ${name} is not compared`);
    return mapping;
  }

  private async compare(keysMax: number): Promise<Comparison> {
    const mappingOf = (name: string) => this.mappingOf(name);
    this.began = await this.records.now();
    if (this.away) {
      const found = await compareAway(this.awayOptions(this.away, keysMax));
      return { ...found, settled: found.inFlight === 0 };
    }
    return compare({
      source: this.file,
      view: () => openView(this.client, this.options.source.name, mappingOf),
      tables: [...this.mappings.keys()],
      ranges: (table) => this.file.rangesOf(mappingOf(table).table),
      signal: this.options.signal,
      settleMs: SETTLE_MS,
      keysMax,
    });
  }

  private async judge(comparison: Comparison): Promise<VerificationResult> {
    const { name } = this.options.source;
    const tables: TableVerdict[] = [];
    for (const table of comparison.tables) {
      const { count, rows: quarantined } = await this.quarantined(table.name);
      const mapping = this.mappings.get(table.name);
      const named = table.keys
        .slice(0, EXAMPLES)
        .map(({ kind, key }) => ({ kind, key: mapping ? encodedKeyText(mapping, key) : "" }));
      const kept = quarantined.map(({ key, column, reason }) => ({
        kind: "quarantined",
        key,
        reason: column === null ? reason : `${column} ${reason}`,
      }));
      // A quarantined row that PostgreSQL refused is among the missing: it is counted once.
      const missing = Math.max(0, table.missing - Math.max(0, count - table.refused));
      tables.push({
        name: table.name,
        source: table.source,
        target: table.target,
        missing,
        extra: table.extra,
        different: table.different,
        quarantined: Math.max(count, table.refused),
        examples: [...(missing + table.extra + table.different > 0 ? named : []), ...kept],
      });
    }
    const rows = tables.reduce((sum, t) => sum + t.missing + t.extra + t.different + t.quarantined, 0);
    const shape = await this.shapes();
    const equal = comparison.settled && comparison.tables.every(isEqual) && rows === 0 && shape.length === 0;
    if (this.options.table === undefined)
      await this.records.recordVerification(name, comparison.position, equal, rows, this.began);
    const { position, inFlight } = comparison;
    return {
      source: name,
      equal,
      writes: this.away ? "postgres" : "sqlite",
      position,
      inFlight,
      tables,
      shape,
    };
  }

  private async shapes(): Promise<ShapeDifference[]> {
    if (this.away) return [];
    const { source, signal, table } = this.options;
    const { file, records, client } = this;
    const found = await verifyShapes({ source, file, records, client, signal });
    return found.filter((difference) => table === undefined || difference.table === table);
  }

  /** Rows that the store that is the copy cannot hold. */
  private async quarantined(table: string): Promise<{ count: number; rows: readonly Quarantined[] }> {
    const { name } = this.options.source;
    if (this.away) return this.file.look((db) => quarantinedRows(db, table, EXAMPLES));
    const rows = await this.records.quarantined(name, table, EXAMPLES);
    return { count: await this.records.quarantinedCount(name, table), rows };
  }

  /** Logs the differing keys and waits until they are applied. */
  private async touch(tables: readonly TableComparison[]): Promise<void> {
    if (this.away) {
      const keys = new Map(tables.map((table) => [table.name, table.keys.map(({ key }) => key)]));
      await touchAway(this.awayOptions(this.away, REPAIR_KEYS), keys, REPAIR_WAIT_MS);
      return;
    }
    await this.touchKeys(new Map(tables.map(({ name, keys }) => [name, keys.map(({ key }) => key)])));
  }

  /** Rows that were kept out of PostgreSQL are tried again first: what kept them out may be gone. */
  private async touchQuarantined(): Promise<void> {
    const { name: source } = this.options.source;
    const mappingOf = (table: string) => this.mappings.get(table);
    let after: QuarantineCursor | null = null;
    for (;;) {
      const wanted = { source, mappingOf, after, most: REPAIR_KEYS, codecs: true };
      const { keys, last }: QuarantinedKeys = await quarantinedKeys(this.client, wanted);
      if (last === null) return;
      await this.touchKeys(keys);
      after = last;
    }
  }

  /** Logs keys in SQLite and waits until they are applied. */
  private async touchKeys(keysByTable: KeysByTable): Promise<void> {
    let position = 0;
    for (const [table, encoded] of keysByTable) {
      const mapping = this.mappings.get(table);
      if (!mapping) continue;
      const keys = encoded.flatMap((key) => {
        const values = decodeKey(mapping, key);
        // What cannot be the source's is not there.
        return values instanceof Refusal ? [] : [values];
      });
      if (keys.length > 0) position = this.file.touch(table, keys);
    }
    const until = performance.now() + REPAIR_WAIT_MS;
    while (performance.now() < until) {
      if (!(await isLocked(this.client))) await this.options.catchUp();
      const record = await this.records.source(this.options.source.name);
      if (record && record.position >= position) return;
      await pause(20, this.options.signal);
    }
  }
}

/** Compares every source with its copy beside the sidecar that follows them. */
export async function verifyAll(
  sources: readonly SourceConfig[],
  postgres: PostgresConfig,
  signal: AbortSignal,
): Promise<readonly VerificationResult[]> {
  const verdicts: VerificationResult[] = [];
  for (const source of sources) {
    const open = { source, postgres, table: undefined, signal, catchUp: async () => {} };
    const verification = await Verification.open(open);
    try {
      verdicts.push(await verification.verify());
    } finally {
      await verification.close();
    }
  }
  return verdicts;
}

function checkReady(
  options: VerifyOptions,
  known: number,
  chosen: readonly { name: string; state: string }[],
): void {
  const where = { source: options.source.name };
  if (known === 0)
    throw new SwitchbackError(
      "NOT_INSTALLED",
      `source ${options.source.name} was never copied to this database`,
      where,
    );
  if (options.table !== undefined && chosen.length === 0) {
    throw new SwitchbackError("TABLE_UNKNOWN", `there is no followed table ${options.table}`, {
      ...where,
      table: options.table,
    });
  }
  const copying = chosen.find(({ state }) => state === "copying");
  if (copying) {
    throw new SwitchbackError(
      "NOT_INSTALLED",
      `the table ${copying.name} is not copied yet: \`switchback status\` shows how far it is`,
      {
        ...where,
        table: copying.name,
      },
    );
  }
}
