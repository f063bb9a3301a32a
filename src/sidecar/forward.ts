// One source on its way to its target: prepares both sides, copies what is not copied, finishes keys and indexes,
// then follows the changes. It may be started again after any failure and continues from the stores' own records.
// When the file's tables change their shape it looks again and copies what it must.
import type { Logger } from "pino";
import type { PostgresConfig, SourceConfig } from "../config/config.js";
import type { Finding } from "../findings.js";
import type { TableMapping } from "../mapping/mapping.js";
import { buildKeys } from "../postgres/ddl/build.js";
import type { TargetTable } from "../postgres/ddl/tables.js";
import { type FollowedTable, Records, type VerificationRecord } from "../postgres/records.js";
import { qualifiedName } from "../postgres/target/merge.js";
import { PostgresTarget } from "../postgres/target/target.js";
import { assertUndisturbed } from "../postgres/trigger-check.js";
import { problem } from "../problem.js";
import type { BackgroundLimits } from "../protocol/comparison-rounds.js";
import { SourceChanged, type Window } from "../protocol/contract.js";
import { assertAgree, Counter, type Counts, disagreement, disagreements } from "../protocol/count.js";
import type { Barrier } from "../protocol/flip.js";
import { isComplete, Link, type TargetMirror } from "../protocol/link.js";
import type { PhaseEvent } from "../protocol/phase.js";
import { SqliteSource } from "../sqlite/source/source.js";
import type { Problem, SourceStatus } from "../status.js";
import type { SourceMetrics } from "../telemetry/metrics.js";
import type { Progress } from "../telemetry/progress.js";
import { BackgroundComparison } from "./background-comparison.js";
import { captureOffProblem, untilCaptureMayReturn } from "./capture-off.js";
import { LinkMonitor, type MonitoredTable, noteStale, SAMPLE_MS, unknownProblems } from "./monitor.js";
import { Pruning } from "./pruning.js";
import { type Reconciled, reconcile } from "./reconcile.js";
import { Reconsideration } from "./retry-quarantined.js";
import { UnsettledTables } from "./unsettled-tables.js";

interface ForwardOptions {
  readonly source: SourceConfig;
  readonly postgres: PostgresConfig;
  readonly workers: number;
  /** How much the comparison in the background may do. */
  readonly verify: BackgroundLimits;
  readonly log: Logger;
  readonly progress: Progress;
  readonly metrics: SourceMetrics;
  /** Told of every step from one phase to the next. */
  readonly event: (event: PhaseEvent) => void;
  /** Told now and then what the target's records say of the last comparison. */
  readonly verified: (found: VerificationRecord | null) => void;
}

/** What a follower has in hand when it stops for a flip. */
export interface InHand {
  readonly name: string;
  readonly link: Link;
  readonly target: PostgresTarget;
}

const GRACE_MS = 1_000;
/** A comparison made by another process, and a trigger on the copy, are noticed this soon. */
const RECORDS_EVERY_MS = 2_000;

export class ForwardReplication {
  readonly name: string;
  /** The application's file; open for as long as the sidecar lives. */
  readonly source: SqliteSource;
  /** Tables that `backfill` could not count, because the application would have waited for it. */
  uncounted: readonly string[] = [];
  private target: PostgresTarget | null = null;
  private link: Link | null = null;
  private reconsideration: Reconsideration | null = null;
  private held: TargetMirror = { position: 0, tables: new Map() };
  private mappings: readonly TableMapping[] = [];
  private targets: readonly TargetTable[] = [];
  private readonly monitor: LinkMonitor;
  private readonly sampler: NodeJS.Timeout;
  private readonly pruning: Pruning;
  private readonly counter: Counter;
  private background: BackgroundComparison | null = null;
  private readonly unanalyzed: string[] = [];
  private recordsReadMs = 0;
  private followed: readonly FollowedTable[] = [];
  /** The followed tables by name, in the order of the file; their states move on with the link. */
  private monitored: ReadonlyMap<string, MonitoredTable> = new Map();
  /** While the writes are in the other store there is nothing to see here. */
  private suspended = false;
  private unsettled: UnsettledTables;
  /** Said at the start and after each copy: flips and outages speak for themselves. */
  private saidFollowing = false;

  constructor(private readonly options: ForwardOptions) {
    this.name = options.source.name;
    this.unsettled = new UnsettledTables(options.source);
    const { log, metrics } = options;
    this.monitor = new LinkMonitor({ name: this.name, direction: "to_postgres", log, metrics });
    this.source = new SqliteSource(this.name, options.source.sqlite, options.workers);
    this.pruning = new Pruning(this.source);
    this.counter = new Counter(
      (counts) => this.judge(counts),
      () => this.analyze(),
    );
    this.sampler = setInterval(() => this.sample(), SAMPLE_MS);
    this.sampler.unref();
  }

  /**
   * Brings the target to the source's present and then follows it until aborted or until a flip is over; throws what
   * it cannot repair. `ready` is called once both sides are open and agree, before anything is copied.
   */
  async follow(
    owner: string,
    signal: AbortSignal,
    ready: () => void,
    barrier: Barrier<InHand>,
  ): Promise<void> {
    const returned = this.suspended;
    this.suspended = false;
    await this.cycle(owner, signal, ready, async (link, target) => {
      this.options.event({ kind: "copied" });
      if (!this.saidFollowing) this.options.log.info(`${this.name}: following every change`);
      this.saidFollowing = true;
      if (returned) noteStale(this.source.schema().schema.oddities, this.name, this.options.log);
      // Tables that have just come to be followed were copied: they are counted, and analyzed afterwards.
      if (this.unanalyzed.length > 0) await this.counter.begin(() => link.count(this.source, target));
      await link.run(AbortSignal.any([signal, barrier.stopping]), () => this.idle());
      await this.stopComparing();
      if (!signal.aborted) await barrier.park({ name: this.name, link, target }, signal);
    });
  }

  private async stopComparing(): Promise<void> {
    await Promise.all([this.counter.cancel(), this.background?.cancel()]);
  }

  readonly look = async () => this.sample();

  /** The writes are in the other store: what is known of the tables stays, their lag and problems are over. */
  suspend(): void {
    this.suspended = true;
    this.monitor.observed([]);
  }

  /** What is recorded of the followed tables. */
  get tables(): readonly FollowedTable[] {
    return this.followed;
  }

  /** The same, but ends once the target equals the source at one position; with `count`, both are counted there. */
  async backfill(owner: string, signal: AbortSignal, count: boolean): Promise<void> {
    await this.cycle(
      owner,
      signal,
      () => {},
      async (link, target) => {
        await this.source.patiently(() => link.drain(signal));
        await this.reconsideration?.all(signal);
        if (count && !signal.aborted) {
          this.options.progress.phase(`${this.name}: counting both stores`);
          const { result } = await link.count(this.source, target);
          this.uncounted = assertAgree(await result, this.name).passedOver;
        }
        this.options.event({ kind: "copied" });
      },
    );
  }

  private async cycle(
    owner: string,
    signal: AbortSignal,
    ready: () => void,
    then: (link: Link, target: PostgresTarget) => Promise<void>,
  ): Promise<void> {
    const target = await PostgresTarget.open(this.options.postgres, this.name, owner, this.options.workers);
    this.target = target;
    // Asked to stop, a statement may take this long to end by itself: an index build can take minutes.
    let grace: NodeJS.Timeout | undefined;
    const stop = () => {
      grace = setTimeout(() => target.cancel().catch(() => {}), GRACE_MS);
    };
    signal.addEventListener("abort", stop, { once: true });
    try {
      while (!signal.aborted) {
        try {
          await untilCaptureMayReturn(this.source, target.client, signal, () =>
            this.monitor.raise(captureOffProblem(this.name)),
          );
          const link = await this.prepare(target, owner);
          ready();
          if (!signal.aborted) await this.copy(link, target, signal);
          if (!signal.aborted) await this.finish(target, signal);
          if (!signal.aborted) await then(link, target);
          return;
        } catch (error) {
          if (!(error instanceof SourceChanged)) throw error;
          // Their sessions are about to copy again.
          await this.stopComparing();
          this.options.log.info({ source: this.name }, "the file's tables changed; looking again");
          this.options.event({ kind: "changed" });
        }
      }
    } finally {
      signal.removeEventListener("abort", stop);
      clearTimeout(grace);
      this.target = null;
      await this.source.closeReaders();
      await target.close();
    }
  }

  /** Both sides ready to copy: capture in the file, tables, fences and ranges in the target. */
  private async prepare(target: PostgresTarget, owner: string): Promise<Link> {
    await this.source.closeReaders();
    const records = new Records(target.client);
    const { source: file, options } = this;
    const found = await file.patiently(() =>
      reconcile({ config: options.source, file, records, client: target.client, owner }),
    );
    this.warn(found.findings);
    this.begin(found);
    await target.follow(found.mappings);
    this.link = new Link(this.source, target, this.held, {
      advanced: (window, seconds) => this.advanced(window, seconds),
      copied: (table) => this.copied(table),
      refused: (rows) => this.monitor.refused(rows),
    });
    this.reconsideration = new Reconsideration(this.name, this.link, target, options.log);
    this.background = new BackgroundComparison({
      ...{ source: options.source, limits: options.verify, file, target, link: this.link },
      ...{ counter: this.counter, monitor: this.monitor, mappings: found.mappings },
      ...{ metrics: options.metrics },
    });
    await this.readRecords(target);
    this.sample();
    return this.link;
  }

  /** Takes over what the records say of the tables, and of what is copied of them. */
  private begin(found: Reconciled): void {
    this.mappings = found.mappings;
    this.targets = found.targets;
    this.followed = found.followed;
    this.unsettled = found.unsettled;
    this.source.remember(found.position, found.mark);
    this.held = { position: found.position, tables: new Map() };
    for (const table of found.followed) {
      const copied = table.ranges.filter((range) => range.rows !== null);
      this.held.tables.set(table.name, {
        pending: table.ranges.filter((range) => range.rows === null),
        copied: [...copied],
        total: table.ranges.length,
        rows: copied.reduce((sum, range) => sum + (range.rows ?? 0), 0),
        quarantined: table.quarantined,
      });
    }
    const order = found.mappings.map(({ table }) => table.name);
    const inOrder = [...found.followed].sort((a, b) => order.indexOf(a.name) - order.indexOf(b.name));
    this.monitored = new Map(
      inOrder.map(({ name, mapping, estimated, state }) => [name, { mapping, estimated, state }]),
    );
    this.monitor.begin(this.held, this.monitored);
    for (const problem of found.problems) this.monitor.raise(problem);
    for (const news of found.healed) this.monitor.announce(news);
  }

  private async copy(link: Link, target: PostgresTarget, signal: AbortSignal): Promise<void> {
    if ([...this.held.tables.values()].every(isComplete)) return;
    this.saidFollowing = false;
    this.options.event({ kind: "copying" });
    this.options.progress.phase(`${this.name}: copying rows`);
    for (const name of this.held.tables.keys()) this.copied(name);
    const records = this.records();
    await link.copy(this.source, target, signal);
    if (signal.aborted) return;
    for (const [name, table] of this.monitored) {
      if (table.state !== "copying") continue;
      await records.setState(this.name, name, "finishing");
      table.state = "finishing";
    }
  }

  /** Keys, unique constraints and indexes, several at a time; what cannot be built is a problem, not an end. */
  private async finish(target: PostgresTarget, signal: AbortSignal): Promise<void> {
    const unfinished = this.targets.filter(
      ({ mapping }) => this.monitored.get(mapping.table.name)?.state !== "streaming",
    );
    if (unfinished.length === 0) return;
    // Adopted tables have the keys and indexes that their own migrations gave them.
    const building = this.options.source.target === "create" ? unfinished : [];
    if (building.length > 0) this.options.progress.phase(`${this.name}: building keys and indexes`);
    const failures = await buildKeys(target.free, building, signal);
    for (const { code, message, where } of failures)
      this.monitor.raise(problem(code, message, { source: this.name, table: where.table ?? "" }));
    if (signal.aborted) return;
    const records = this.records();
    for (const table of unfinished) {
      const { name } = table.mapping.table;
      // What could not be built is tried again, and said again, at the next start.
      const failed = failures.some(({ where }) => where.table === name);
      if (!failed) await records.setState(this.name, name, "streaming");
      const monitored = this.monitored.get(name);
      if (monitored) monitored.state = "streaming";
      this.unanalyzed.push(qualifiedName(table.mapping));
    }
    await target.follow(this.mappings);
    await records.flush(this.name);
  }

  /** Statistics for the application's own queries; beside the windows, which need none. */
  private analyze(): void {
    const tables = this.unanalyzed.splice(0);
    if (this.target && tables.length > 0)
      this.target.analyze(tables).catch((err: unknown) => this.options.log.debug({ err }, "ANALYZE failed"));
  }

  /** What the loop does when there is nothing to apply. */
  private async idle(): Promise<number> {
    const { link, target } = this;
    const due = performance.now() - this.recordsReadMs > RECORDS_EVERY_MS;
    if (target && due) await this.readRecords(target);
    await this.reconsideration?.turn();
    // Both use the same sessions and readers: one at a time.
    if (link && target && !this.background?.underWay)
      await this.counter.again(() => link.count(this.source, target));
    if (!this.counter.underWay) await this.background?.turn();
    await this.pruning.next(this.held.position, () => this.records().flush(this.name));
    return this.background?.dueInMs ?? Number.POSITIVE_INFINITY;
  }

  private async readRecords({ client }: PostgresTarget): Promise<void> {
    this.recordsReadMs = performance.now();
    await assertUndisturbed(client, this.mappings);
    const found = await new Records(client).verification(this.name);
    this.options.verified(found);
    this.reconsideration?.saw(found?.at ?? null);
    this.monitor.observed(await unknownProblems(client, this.name));
    for (const table of await this.unsettled.look(client)) this.monitor.withdraw("TABLE_DROPPED", table);
  }

  /** What was counted and does not agree stands in the way of a flip until it does. */
  private judge(counts: Counts): void {
    for (const { table } of counts.tables) this.monitor.withdraw("COUNT_MISMATCH", table);
    for (const count of disagreements(counts)) {
      const where = { source: this.name, table: count.table };
      this.monitor.raise(problem("COUNT_MISMATCH", disagreement(count, counts.position), where));
    }
  }

  private records(): Records {
    if (!this.target) throw new Error("the target is not open");
    return new Records(this.target.client);
  }

  private sample(): void {
    if (this.link === null || this.suspended) return;
    try {
      this.monitor.saw(this.source.position());
    } catch {
      // The loop meets the same error and reports it.
    }
    const { metrics } = this.options;
    this.monitor.gauge();
    metrics.set("switchback_sqlite_wal_bytes", this.source.walBytes());
    try {
      metrics.set("switchback_change_log_rows", this.source.logRows());
    } catch {
      // As above.
    }
  }

  private advanced(window: Window, seconds: number): void {
    this.source.remember(window.to, window.mark);
    this.monitor.advanced(window, seconds);
  }

  private copied(table: string): void {
    const held = this.held.tables.get(table);
    if (!held) return;
    const estimated = Math.max(this.monitored.get(table)?.estimated ?? 0, held.rows);
    // Rows that were deleted meanwhile are missing from the estimate's rows: a complete table has all of its own.
    this.options.progress.table(table, held.rows, isComplete(held) ? held.rows : estimated);
    this.options.metrics.set("switchback_backfill_rows", held.rows, { table });
    this.options.metrics.set("switchback_backfill_estimated_rows", estimated, { table });
  }

  private warn(findings: readonly Finding[]): void {
    for (const { severity, table, column, message } of findings) {
      if (severity !== "note") this.options.log.warn({ source: this.name, table, column }, message);
    }
  }

  /** What stands in the way of a flip, besides the sidecar's own state. */
  problems(): Problem[] {
    return this.monitor.problems();
  }

  status(): SourceStatus {
    return this.monitor.status();
  }

  async close(): Promise<void> {
    clearInterval(this.sampler);
    await this.source.close();
  }
}
