// One source while PostgreSQL has the writes: keeps its SQLite file an exact, warm copy over the link with its roles
// swapped. It knows what blocks a revert.
import type pg from "pg";
import type { Logger } from "pino";
import type { PostgresConfig, SourceConfig } from "../config/config.js";
import { SwitchbackError } from "../errors.js";
import { installPostgresCapture, lostCapture } from "../postgres/capture.js";
import { withSession } from "../postgres/connection.js";
import { noteStrays, noteUnknown } from "../postgres/copy-doubts.js";
import { readStrangers } from "../postgres/ddl/added-columns.js";
import { type FollowedTable, Records, type VerificationRecord } from "../postgres/records.js";
import { PostgresSource } from "../postgres/source/source.js";
import { assertSeesAll } from "../postgres/trigger-check.js";
import { present } from "../present.js";
import { problem } from "../problem.js";
import type { Barrier, Drainable } from "../protocol/flip.js";
import { Link, type TargetMirror } from "../protocol/link.js";
import { SqliteTarget } from "../sqlite/target/target.js";
import type { Problem, SourceStatus } from "../status.js";
import type { SourceMetrics } from "../telemetry/metrics.js";
import { LinkMonitor, SAMPLE_MS, unknownProblems } from "./monitor.js";

interface ReverseOptions {
  readonly source: SourceConfig;
  readonly postgres: PostgresConfig;
  readonly log: Logger;
  readonly metrics: SourceMetrics;
  /** Told now and then what the target's records say of the last comparison. */
  readonly verified: (found: VerificationRecord | null) => void;
}

/** What the reverse link holds while it follows. */
interface Kept {
  readonly source: PostgresSource;
  readonly target: SqliteTarget;
  readonly client: pg.Client;
  readonly tables: readonly FollowedTable[];
  readonly ready: () => void;
  readonly barrier: Barrier<Drainable>;
}

/** How often it is looked whether PostgreSQL's tables still are what they were. */
const CHECK_MS = 5_000;

export class ReverseReplication {
  readonly name: string;
  private readonly monitor: LinkMonitor;
  private held: TargetMirror = { position: 0, tables: new Map() };
  private tables: readonly FollowedTable[] = [];
  private checkedMs = 0;
  private sampling: Promise<void> | null = null;
  private reading: PostgresSource | null = null;

  constructor(private readonly options: ReverseOptions) {
    this.name = options.source.name;
    const { log, metrics } = options;
    this.monitor = new LinkMonitor({ name: this.name, direction: "to_sqlite", log, metrics });
  }

  /** Follows until the signal is aborted or the flip back is over. */
  async follow(
    owner: string,
    tables: readonly FollowedTable[],
    signal: AbortSignal,
    ready: () => void,
    barrier: Barrier<Drainable>,
  ): Promise<void> {
    const { postgres, source: config } = this.options;
    // Each is closed if the next cannot be opened: a server short of connections must not lose more with every try.
    await withSession(postgres, `switchback watch ${this.name}`, async (client) => {
      const source = await PostgresSource.open(postgres, this.name, owner);
      try {
        const mappings = tables.map(({ mapping }) => mapping);
        const target = new SqliteTarget(this.name, config.sqlite, owner, mappings);
        try {
          await this.keep({ source, target, client, tables, ready, barrier }, signal);
        } finally {
          target.close();
        }
      } finally {
        await source.close();
      }
    });
  }

  private async keep(
    { source, target, client, tables, ready, barrier }: Kept,
    signal: AbortSignal,
  ): Promise<void> {
    const stop = () => void source.cancel().catch(() => {});
    const sampler = setInterval(() => void this.sample(source), SAMPLE_MS);
    signal.addEventListener("abort", stop, { once: true });
    try {
      source.follow(tables);
      this.reading = source;
      await this.begin(new Records(client), source, target, tables);
      const link = new Link(source, target, this.held, {
        advanced: (window, seconds) => this.monitor.advanced(window, seconds),
        copied: () => {},
        refused: (rows) => this.monitor.refused(rows),
      });
      await this.check(client, target);
      await this.sample(source);
      ready();
      await link.run(AbortSignal.any([signal, barrier.stopping]), () => this.idle(client, target));
      if (signal.aborted) return;
      const drain = async (stop: AbortSignal) => {
        await link.drain(stop);
        // What opens next must be the copy that was kept, also where nothing was left to carry.
        target.assertHeld();
      };
      await barrier.park({ approach: (stop) => link.approach(stop), drain }, signal);
    } finally {
      signal.removeEventListener("abort", stop);
      clearInterval(sampler);
      this.reading = null;
    }
  }

  /**
   * Where both stores stand. A file that is behind what it once confirmed is not the file that was kept. One that is
   * ahead holds windows that PostgreSQL forgot to have handed over, as after a crash between the two commits: then all
   * of their changes wait there again. If they do not, it was kept with a PostgreSQL that was newer than this one.
   */
  private async begin(
    records: Records,
    source: PostgresSource,
    target: SqliteTarget,
    tables: readonly FollowedTable[],
  ): Promise<void> {
    const record = present(await records.source(this.name), `record of source ${this.name}`);
    const reached = await target.claimPatiently();
    if (reached < record.consumed) {
      throw new SwitchbackError(
        "SPLIT",
        `${this.options.source.sqlite} holds ${reached} of PostgreSQL's changes, but ${record.consumed} were carried to it: it is a backup`,
        { source: this.name, file: this.options.source.sqlite },
      );
    }
    const newest = await source.newest();
    const split = (what: string) =>
      new SwitchbackError(
        "SPLIT",
        `${this.options.source.sqlite} holds ${reached} of PostgreSQL's changes, but PostgreSQL ${what}: it is a backup`,
        { source: this.name, file: this.options.source.sqlite },
      );
    if (reached > newest) throw split(`knows of ${newest} only`);
    const beyond = target.carriedBeyond(record.consumed, record.carried);
    if (beyond === null) throw split(`went another way before its change ${record.consumed}`);
    if (!(await source.awaits(beyond))) throw split("does not know some of them");
    this.tables = tables;
    this.held = { position: record.consumed, tables: new Map() };
    const quarantined = target.quarantined();
    for (const { name, ranges } of tables) {
      this.held.tables.set(name, {
        pending: [],
        copied: [],
        total: 0,
        rows: ranges.reduce((sum, { rows }) => sum + (rows ?? 0), 0),
        quarantined: quarantined.get(name) ?? 0,
      });
    }
    this.monitor.begin(
      this.held,
      new Map(
        tables.map(({ name, mapping, estimated }) => [name, { mapping, estimated, state: "streaming" }]),
      ),
    );
  }

  private async idle(client: pg.Client, target: SqliteTarget): Promise<number> {
    if (performance.now() - this.checkedMs > CHECK_MS) await this.check(client, target);
    return CHECK_MS;
  }

  /** Looks whether capture, fences, columns and the file are what they were; repairs what it can, and says so. */
  private async check(client: pg.Client, target: SqliteTarget): Promise<void> {
    this.checkedMs = performance.now();
    const records = new Records(client);
    await assertSeesAll(
      client,
      this.tables.map(({ mapping }) => mapping),
    );
    await this.repairCapture(client);
    for (const mapping of await records.unfenced(this.tables.map(({ mapping }) => mapping))) {
      await records.transaction(() => records.fence(mapping));
      this.options.log.warn(
        { source: this.name, table: mapping.table.name },
        "the fence was gone; it is back",
      );
    }
    const disturbed = target.disturbed();
    if (disturbed) {
      const found = disturbed.map((one) => ({ ...one, code: "COPY_UNKNOWN" as const }));
      await noteUnknown(client, this.name, found);
      target.acceptSchema();
    }
    await noteStrays(client, this.name);
    const strangers = await readStrangers(client, this.tables);
    this.stand([
      ...(await unknownProblems(client, this.name)),
      ...strangers.map(({ table, column }) => {
        const message = `the column ${column} of ${table} in PostgreSQL has no counterpart in SQLite`;
        return problem("TARGET_CHANGED", message, { source: this.name, table });
      }),
    ]);
    this.options.verified(await records.verification(this.name));
  }

  private async repairCapture(client: pg.Client): Promise<void> {
    const lost = (await lostCapture(client, this.tables)).map((table) => ({
      table,
      code: "COPY_UNKNOWN" as const,
      reason: `the triggers on ${table} in PostgreSQL had vanished`,
    }));
    // Those that an earlier release made missed nothing, and are replaced.
    if (lost.length === 0) return installPostgresCapture(client, this.tables);
    // Before, for the restart after a crash; and afterwards, because until then more may have been missed.
    await noteUnknown(client, this.name, lost);
    await installPostgresCapture(client, this.tables);
    await noteUnknown(client, this.name, lost);
  }

  /** These problems stand from now on, and no others. */
  private stand(found: readonly Problem[]): void {
    for (const problem of this.monitor.news(found)) this.monitor.announce(problem);
    this.monitor.observed(found);
  }

  async look(): Promise<void> {
    if (this.reading) await this.sample(this.reading);
  }

  /** One look at a time; a caller that comes meanwhile waits for that one. */
  private sample(source: PostgresSource): Promise<void> {
    this.sampling ??= this.sampleOnce(source).finally(() => {
      this.sampling = null;
    });
    return this.sampling;
  }

  private async sampleOnce(source: PostgresSource): Promise<void> {
    try {
      this.monitor.saw(Math.max(this.held.position, await source.newest()));
    } catch {
      // The loop meets the same error and reports it.
    }
    this.monitor.gauge();
    this.options.metrics.set("switchback_change_log_rows", this.monitor.changesBehind);
  }

  problems(): Problem[] {
    return this.monitor.problems();
  }

  status(): SourceStatus {
    return this.monitor.status();
  }
}
