// One source on its way to its target: prepares both sides, copies what is not copied, finishes keys and
// indexes, then follows the changes. It may be started again after any failure and goes on from the stores'
// own records. When the file's tables change their shape it looks again and copies what it must.
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
import type { Barrier } from "../protocol/barrier.js";
import { SourceChanged, type Window } from "../protocol/contract.js";
import { assertAgree, Counter, type Counts, disagreement, disagreements } from "../protocol/count.js";
import { LagClock } from "../protocol/lag.js";
import { isComplete, Link, type TargetMirror } from "../protocol/link.js";
import type { PhaseEvent } from "../protocol/phase.js";
import { SqliteSource } from "../sqlite/source/source.js";
import type { Problem, SourceStatus, TableStatus } from "../status.js";
import type { SourceMetrics } from "../telemetry/metrics.js";
import type { Progress } from "../telemetry/progress.js";
import { gaugeLag, lagOf, noteRefused, noteStale, quarantineProblems, unknownProblems } from "./monitor.js";
import { Pruning } from "./pruning.js";
import { problem, reconcile } from "./reconcile.js";
import { Reconsideration } from "./retry-quarantined.js";

export interface ForwardOptions {
  readonly source: SourceConfig;
  readonly postgres: PostgresConfig;
  readonly workers: number;
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

/** How often the source's position is looked at for the lag, also while the target is away. */
const SAMPLE_MS = 200;
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
  private states = new Map<string, FollowedTable["state"]>();
  private estimates = new Map<string, number>();
  private readonly lag = new LagClock();
  private readonly sampler: NodeJS.Timeout;
  private readonly standing = new Map<string, Problem>();
  private unknown: readonly Problem[] = [];
  private readonly pruning: Pruning;
  private readonly counter: Counter;
  private readonly unanalyzed: string[] = [];
  private recordsReadMs = 0;
  private newest = 0;
  private followed: readonly FollowedTable[] = [];
  /** While the writes are in the other store there is nothing to see here. */
  private resting = false;
  /** Said at the start and after each copy: flips and outages speak for themselves. */
  private saidFollowing = false;

  constructor(private readonly options: ForwardOptions) {
    this.name = options.source.name;
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
   * Brings the target to the source's present and then follows it until aborted or until a flip is over; throws
   * what it cannot mend. `ready` is called once both sides are open and agree, before anything is copied.
   */
  async follow(
    owner: string,
    signal: AbortSignal,
    ready: () => void,
    barrier: Barrier<InHand>,
  ): Promise<void> {
    const home = this.resting;
    this.resting = false;
    await this.cycle(owner, signal, ready, async (link, target) => {
      this.options.event({ kind: "copied" });
      if (!this.saidFollowing) this.options.log.info(`${this.name}: following every change`);
      this.saidFollowing = true;
      if (home) noteStale(this.source.schema().schema.oddities, this.name, this.options.log);
      // Tables that have just come to be followed were copied: they are counted, and analyzed afterwards.
      if (this.unanalyzed.length > 0) await this.counter.begin(() => link.count(this.source, target));
      await link.run(AbortSignal.any([signal, barrier.stopping]), () => this.idle());
      await this.counter.cancel();
      if (!signal.aborted) await barrier.park({ name: this.name, link, target }, signal);
    });
  }

  readonly look = async () => this.sample();

  /** The writes are in the other store: what is known of the tables stays, their lag says nothing. */
  rest(): void {
    this.resting = true;
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
          const link = await this.prepare(target, owner);
          ready();
          if (!signal.aborted) await this.copy(link, target, signal);
          if (!signal.aborted) await this.finish(target, signal);
          if (!signal.aborted) await then(link, target);
          return;
        } catch (error) {
          if (!(error instanceof SourceChanged)) throw error;
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
    this.mappings = found.mappings;
    this.targets = found.targets;
    this.followed = found.followed;
    this.standing.clear();
    for (const problem of found.problems) this.raise(problem);
    for (const news of found.healed) this.announce(news);
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
      this.states.set(table.name, table.state);
      this.estimates.set(table.name, table.estimated);
    }
    await target.follow(found.mappings);
    this.link = new Link(this.source, target, this.held, {
      advanced: (window, seconds) => this.advanced(window, seconds),
      copied: (table) => this.copied(table),
      refused: (rows) => noteRefused(rows, this.name, this.options.log, this.options.metrics),
    });
    this.reconsideration = new Reconsideration(this.name, this.link, target, options.log);
    await this.readRecords(target);
    this.sample();
    return this.link;
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
    for (const [name, state] of this.states) {
      if (state === "copying") await records.setState(this.name, name, "finishing");
      this.states.set(name, state === "copying" ? "finishing" : state);
    }
  }

  /** Keys, unique constraints and indexes, several at a time; what cannot be built is a problem, not an end. */
  private async finish(target: PostgresTarget, signal: AbortSignal): Promise<void> {
    const unfinished = this.targets.filter(
      (table) => this.states.get(table.mapping.table.name) !== "streaming",
    );
    if (unfinished.length === 0) return;
    // Adopted tables have the keys and indexes that their own migrations gave them.
    const building = this.options.source.target === "create" ? unfinished : [];
    if (building.length > 0) this.options.progress.phase(`${this.name}: building keys and indexes`);
    const failures = await buildKeys(target.free, building, signal);
    for (const { message, where } of failures) {
      this.raise(problem("INDEX_FAILED", message, this.name, where.table ?? ""));
    }
    if (signal.aborted) return;
    const records = this.records();
    for (const table of unfinished) {
      const { name } = table.mapping.table;
      // What could not be built is tried again, and said again, at the next start.
      const failed = failures.some(({ where }) => where.table === name);
      if (!failed) await records.setState(this.name, name, "streaming");
      this.states.set(name, "streaming");
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
  private async idle(): Promise<void> {
    const { link, target } = this;
    const due = performance.now() - this.recordsReadMs > RECORDS_EVERY_MS;
    if (target && due) await this.readRecords(target);
    await this.reconsideration?.turn();
    if (link && target) await this.counter.again(() => link.count(this.source, target));
    await this.pruning.next(this.held.position, () => this.records().flush(this.name));
  }

  private async readRecords({ client }: PostgresTarget): Promise<void> {
    this.recordsReadMs = performance.now();
    await assertUndisturbed(client, this.mappings);
    const found = await new Records(client).verification(this.name);
    this.options.verified(found);
    this.reconsideration?.saw(found?.at ?? null);
    this.unknown = await unknownProblems(client, this.name);
  }

  /** What was counted and does not agree stands in the way of a flip until it does. */
  private judge(counts: Counts): void {
    for (const { table } of counts.tables) this.standing.delete(`COUNT_MISMATCH ${table}`);
    for (const count of disagreements(counts))
      this.raise(problem("COUNT_MISMATCH", disagreement(count, counts.position), this.name, count.table));
  }

  private records(): Records {
    if (!this.target) throw new Error("the target is not open");
    return new Records(this.target.client);
  }

  private sample(): void {
    if (this.link === null || this.resting) return;
    try {
      this.newest = this.source.position();
      this.lag.saw(this.newest);
    } catch {
      // The loop meets the same error and reports it.
    }
    const { metrics } = this.options;
    gaugeLag(metrics, this.newest, this.held, this.lag);
    metrics.set("switchback_sqlite_wal_bytes", this.source.walBytes());
    try {
      metrics.set("switchback_change_log_rows", this.source.logRows());
    } catch {
      // As above.
    }
  }

  private advanced(window: Window, seconds: number): void {
    const { metrics } = this.options;
    this.source.remember(window.to, window.mark);
    this.lag.saw(window.to);
    metrics.set("switchback_applied_position", window.to);
    metrics.set("switchback_last_apply_timestamp_seconds", Date.now() / 1_000);
    metrics.observe("switchback_apply_seconds", seconds);
    for (const table of window.tables) {
      metrics.add("switchback_changes_applied_total", table.changes, {
        direction: "to_postgres",
        table: table.table,
      });
    }
  }

  private copied(table: string): void {
    const held = this.held.tables.get(table);
    if (!held) return;
    const estimated = Math.max(this.estimates.get(table) ?? 0, held.rows);
    this.options.progress.table(table, held.rows, estimated);
    this.options.metrics.set("switchback_backfill_rows", held.rows, { table });
    this.options.metrics.set("switchback_backfill_estimated_rows", estimated, { table });
  }

  private warn(findings: readonly Finding[]): void {
    for (const { severity, table, column, message } of findings) {
      if (severity !== "note") this.options.log.warn({ source: this.name, table, column }, message);
    }
  }

  /** Stands in the way until the next look at the file finds it gone. */
  private raise(problem: Problem): void {
    this.standing.set(`${problem.code} ${problem.table ?? ""}`, problem);
    this.announce(problem);
  }

  private announce(problem: Problem): void {
    this.options.log.warn({ source: this.name, code: problem.code, table: problem.table }, problem.message);
    this.options.metrics.add("switchback_errors_total", 1, { code: problem.code });
  }

  /** What stands in the way of a flip, besides the sidecar's own state. */
  problems(): Problem[] {
    return [
      ...this.standing.values(),
      ...this.unknown,
      ...quarantineProblems(this.held, this.name, "PostgreSQL"),
    ];
  }

  status(): SourceStatus {
    const lag = lagOf(this.newest, this.held, this.lag);
    const tables = this.mappings.map((mapping): TableStatus => {
      const held = this.held.tables.get(mapping.table.name);
      const state = this.states.get(mapping.table.name);
      return {
        name: mapping.table.name,
        target: `${mapping.schema}.${mapping.target}`,
        state: state === "streaming" ? "streaming" : held && held.copied.length > 0 ? "copying" : "waiting",
        copied: held?.rows ?? 0,
        estimated: Math.max(this.estimates.get(mapping.table.name) ?? 0, held?.rows ?? 0),
        quarantined: held?.quarantined ?? 0,
      };
    });
    return { name: this.name, position: this.newest, applied: this.held.position, lag, tables };
  }

  async close(): Promise<void> {
    clearInterval(this.sampler);
    await this.source.close();
  }
}
