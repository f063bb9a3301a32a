// Verification of a source and its copy, beside a sidecar or without one: opens both sides for reading, compares,
// names what differs, and repairs it. What depends on who has the writes is the direction's business.
import type { PostgresConfig, SourceConfig } from "../config/config.js";
import { assertPairs } from "../cutover/pair.js";
import { SwitchbackError } from "../errors.js";
import { encodedKeyText } from "../mapping/row-format.js";
import { nearNames } from "../near-names.js";
import { connectPostgres } from "../postgres/connection.js";
import { withComputedColumns } from "../postgres/ddl/compare-shapes.js";
import type { ShapeDifference } from "../postgres/ddl/shape-difference.js";
import { Records } from "../postgres/records.js";
import { type Comparison, isEqual } from "../protocol/compare.js";
import { type Position, SourceChanged } from "../protocol/contract.js";
import { pause } from "../retry.js";
import { folded } from "../schema/model.js";
import { readCapture } from "../sqlite/capture/install.js";
import { SqliteSource } from "../sqlite/source/source.js";
import { assertCaptureOn } from "./capture-off.js";
import {
  type OpenStores,
  REPAIR_KEYS,
  type VerifiedDirection,
  type VerifyOptions,
} from "./verification-direction.js";
import { ForwardVerification } from "./verification-forward.js";
import { ReverseVerification } from "./verification-reverse.js";

interface TableVerdict {
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
  /** Tables that cannot be compared: SQLite dropped them, or they do not fit the target. Each is a problem. */
  readonly leftOut: readonly string[];
  /** Where a target table is not what a fresh copy would be; none while PostgreSQL has the writes. */
  readonly shape: readonly ShapeDifference[];
}

/** Differing keys named per table. */
const EXAMPLES = 5;
const REPAIR_ROUNDS = 20;
/** A flip or a migration is over within this time. */
const ATTEMPTS = 20;
const AGAIN_MS = 250;

export class Verification {
  /** When the last comparison began: what happened since is not in it. */
  private began = "";

  private constructor(
    private readonly options: VerifyOptions,
    private readonly stores: OpenStores,
    private readonly direction: VerifiedDirection,
    private readonly leftOut: readonly string[],
  ) {}

  static async open(options: VerifyOptions): Promise<Verification> {
    const client = await connectPostgres(options.postgres, { name: "switchback verify" });
    let opened: SqliteSource | null = null;
    try {
      const records = new Records(client);
      await assertPairs(client, options.postgres, [options.source]);
      const file = new SqliteSource(options.source.name, options.source.sqlite, 1, options.patienceMs);
      opened = file;
      const installed = await records.installed();
      const followed = installed ? await records.followed(options.source.name) : [];
      // A table that was dropped in SQLite is a problem of its own; there is nothing to compare it with.
      const there = new Set(file.schema().schema.tables.map(({ name }) => name));
      const { writes } = installed ? await records.route() : { writes: "sqlite" };
      const away = writes === "postgres";
      // One that does not fit its target is not captured while SQLite has the writes, and is a problem of its own too.
      const captured = file.look(readCapture)?.ids;
      const known = followed.filter(({ name }) => there.has(name) && (away || captured?.has(name) !== false));
      const leftOut = followed.filter((table) => !known.includes(table)).map(({ name }) => name);
      const chosen = chosenBy(options.table, known);
      const isCopied = installed && (await records.source(options.source.name)) !== null;
      checkReady(options, isCopied, known, chosen);
      const written = known.map((table) => table.mapping);
      // What PostgreSQL computes by itself must be what SQLite computes.
      const compared = away || options.source.target === "adopt" ? written : withComputedColumns(written);
      const mappings = new Map(
        compared
          .filter(({ table }) => chosen.some(({ name }) => name === table.name))
          .map((mapping) => [mapping.table.name, mapping]),
      );
      if (!away) assertCaptureOn(file);
      await records.keepLog();
      file.attach(compared);
      const stores = { file, client, records, mappings };
      const direction = away
        ? new ReverseVerification(options, stores, known)
        : new ForwardVerification(options, stores);
      return new Verification(options, stores, direction, leftOut);
    } catch (error) {
      await opened?.close();
      await client.end().catch(() => {});
      throw error;
    }
  }

  async verify(): Promise<VerificationResult> {
    await this.direction.assertFollowed();
    return this.judge(await this.compare(EXAMPLES));
  }

  /** Repairs differing rows until none differ, or a round repairs nothing. */
  async repair(): Promise<VerificationResult> {
    await this.direction.assertFollowed();
    await this.direction.retryQuarantined();
    let before = Number.POSITIVE_INFINITY;
    for (let round = 0; ; round++) {
      await this.direction.assertFollowed();
      const comparison = await this.compare(REPAIR_KEYS);
      const differing = comparison.tables.reduce((sum, t) => sum + t.missing + t.extra + t.different, 0);
      if (differing === 0 || differing >= before || round === REPAIR_ROUNDS) return this.judge(comparison);
      before = differing;
      await this.direction.rewrite(
        new Map(comparison.tables.map(({ name, keys }) => [name, keys.map(({ key }) => key)])),
      );
    }
  }

  async close(): Promise<void> {
    await this.stores.file.close();
    await this.stores.client.end().catch(() => {});
  }

  private async compare(keysMax: number): Promise<Comparison> {
    this.began = await this.stores.records.now();
    return this.direction.compare(keysMax);
  }

  private async judge(comparison: Comparison): Promise<VerificationResult> {
    const { name } = this.options.source;
    const tables: TableVerdict[] = [];
    for (const table of comparison.tables) {
      const { count, rows: quarantined } = await this.direction.quarantined(table.name, EXAMPLES);
      const mapping = this.stores.mappings.get(table.name);
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
    const shape = (await this.direction.shapes()).filter(({ table }) => !this.leftOut.includes(table));
    const equal = comparison.settled && comparison.tables.every(isEqual) && rows === 0 && shape.length === 0;
    if (this.options.table === undefined)
      await this.stores.records.recordVerification(name, comparison.position, equal, rows, this.began);
    const { position, inFlight } = comparison;
    return {
      source: name,
      equal,
      writes: this.direction.writes,
      position,
      inFlight,
      tables,
      leftOut: this.leftOut,
      shape,
    };
  }
}

/**
 * One comparison or repair. It begins again when the file's tables changed meanwhile, as by a migration or a flip.
 * @throws SwitchbackError SQLITE_BUSY when they do so again and again
 */
export async function verifySource(options: VerifyOptions, repair = false): Promise<VerificationResult> {
  for (let again = 1; ; again++) {
    const verification = await Verification.open(options);
    try {
      return await (repair ? verification.repair() : verification.verify());
    } catch (error) {
      if (!(error instanceof SourceChanged)) throw error;
      if (again === ATTEMPTS) {
        const { name: source, sqlite: file } = options.source;
        throw new SwitchbackError("SQLITE_BUSY", `the tables of ${file} change all the time`, {
          source,
          file,
        });
      }
    } finally {
      await verification.close();
    }
    await pause(AGAIN_MS, options.signal);
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
    const options = { source, postgres, table: undefined, signal, catchUp: async () => {} };
    verdicts.push(await verifySource(options));
  }
  return verdicts;
}

function chosenBy<T extends { readonly name: string }>(
  table: string | undefined,
  known: readonly T[],
): readonly T[] {
  return table === undefined ? known : known.filter(({ name }) => folded(name) === folded(table));
}

/** Of many tables a message names the first ones. */
const LISTED_MAX = 10;

function suggestion(table: string, names: readonly string[]): string {
  const near = nearNames(table, names).slice(0, 3);
  if (near.length > 0) return `did you mean ${near.join(" or ")}?`;
  const more = names.length - LISTED_MAX;
  return `there are ${names.slice(0, LISTED_MAX).join(", ")}${more > 0 ? ` and ${more} more` : ""}`;
}

function checkReady(
  options: VerifyOptions,
  isCopied: boolean,
  known: readonly { readonly name: string }[],
  chosen: readonly { name: string; state: string }[],
): void {
  const where = { source: options.source.name };
  if (!isCopied)
    throw new SwitchbackError(
      "NOT_INSTALLED",
      `source ${options.source.name} was never copied to this database`,
      where,
    );
  if (options.table !== undefined && chosen.length === 0) {
    const names = known.map(({ name }) => name);
    const message = `there is no followed table ${options.table}; ${suggestion(options.table, names)}`;
    throw new SwitchbackError("TABLE_UNKNOWN", message, { ...where, table: options.table });
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
