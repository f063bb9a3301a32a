// Wires one sidecar: the lock on the target, for each source a follower on the way out and one on the way back,
// the gates, the route, and the answers that the server gives. Its life is a row of periods: between two flips the
// links run in one direction. It decides what a failure means: try again, stop at the start, or halt and wait for
// the operator. It closes in the reverse order of opening.
import type { Logger } from "pino";
import type { Config, PostgresConfig } from "../config/config.js";
import { FlipController } from "../cutover/controller.js";
import { foreign, strangers } from "../cutover/pair.js";
import { resume } from "../cutover/recover-stores.js";
import { haltedError } from "../cutover/request.js";
import { RouteFile, refuseToForget } from "../cutover/route-file.js";
import { servedBy } from "../cutover/served.js";
import { isRetryable, SwitchbackError } from "../errors.js";
import { connectPostgres } from "../postgres/connection.js";
import { Records, type VerificationRecord } from "../postgres/records.js";
import { isOwner, lockTarget } from "../postgres/sidecar-lock.js";
import { problemFrom } from "../problem.js";
import { next, type Phase, type PhaseEvent, STARTING, slowest } from "../protocol/phase.js";
import { BACKOFF, type Backoff, Outage, pause, pauseMs, shared } from "../retry.js";
import { explained } from "../sqlite/connection.js";
import type { Problem, Route, Status } from "../status.js";
import { createMetrics, type FlipOutcome, type MetricsRegistry } from "../telemetry/metrics.js";
import { type Progress, withPrefix } from "../telemetry/progress.js";
import { VERSION } from "../version.js";
import { ClosedDoors, guarded } from "./closed-files.js";
import { allOrThrow, restTarget, runPostgresEpoch, runSqliteEpoch } from "./epoch.js";
import { DECIDED, PASSING, START_PATIENCE_MS } from "./failures.js";
import { FileLocks } from "./file-locks.js";
import { ForwardReplication } from "./forward.js";
import { ReverseReplication } from "./reverse.js";
import { type VerificationResult, verifyAll } from "./verification.js";

/** A server that comes back is met within a second or so: a copy that lags costs more than a few connects. */
const RECONNECT: Backoff = { firstMs: 100, mostMs: 2_000 };

/** Whoever asks for the status is not kept waiting by a store that hangs. */
const LOOK_MS = 200;

export class Sidecar {
  readonly metrics: MetricsRegistry = createMetrics();
  private readonly forwards: readonly ForwardReplication[];
  private phases: Phase[];
  private currentRoute: Route = { writes: "sqlite", epoch: 0 };
  private outage: Problem | null = null;
  private hindrance: Problem | null = null;
  private readonly routeFile: RouteFile;
  private readonly checks = new Map<string, VerificationRecord>();
  private readonly reverses: readonly ReverseReplication[];
  private readonly controller: FlipController;
  private readonly fileLocks = new FileLocks();
  private readonly doors: ClosedDoors;
  private owner = "";

  constructor(
    private readonly config: Config,
    private readonly postgres: PostgresConfig,
    private readonly log: Logger,
    private readonly progress: Progress,
    /** Files that belong to another database are moved to this one. */
    private readonly adopt = false,
  ) {
    this.forwards = config.sources.map(
      (source, i) =>
        new ForwardReplication({
          source,
          postgres,
          workers: config.backfill.workers,
          log,
          progress: config.sources.length > 1 ? withPrefix(progress, `${source.name}.`) : progress,
          metrics: this.metrics.source(source.name),
          event: (event) => this.on(i, event),
          verified: (found) => this.noteVerification(source.name, found),
        }),
    );
    this.phases = this.forwards.map(() => STARTING);
    this.reverses = config.sources.map(
      (source) =>
        new ReverseReplication({
          source,
          postgres,
          log,
          metrics: this.metrics.source(source.name),
          verified: (found) => this.noteVerification(source.name, found),
        }),
    );
    this.routeFile = new RouteFile(config.routeFile, log);
    this.doors = new ClosedDoors({
      files: () => this.forwards.map(guarded),
      epoch: () => (this.currentRoute.writes === "postgres" ? this.currentRoute.epoch : null),
      ours: () => isOwner(postgres, config.sources, this.owner),
      log,
    });
    this.controller = new FlipController({
      flagFile: config.flagFile,
      routeFile: config.routeFile,
      timeoutMs: config.cutover.timeoutMs,
      log,
      route: () => this.currentRoute,
      serves: () => servedBy(config.sources, postgres, this.forwards[0]?.source.pair?.id),
      publish: (route, durable) => this.publish({ ...route, changedAt: new Date().toISOString() }, durable),
      count: (result, pauseMs) => this.countFlip(result, pauseMs),
    });
  }

  /**
   * Brings every target to its source's present, once. With `count` the rows of both are counted there;
   * the answer names, by source, tables that could not be without keeping the application waiting.
   * @throws the first failure that lasts; WRITES_AWAY when the target has the writes; COUNT_MISMATCH
   */
  async backfill(signal: AbortSignal, count: boolean): Promise<Map<string, readonly string[]>> {
    try {
      await this.locked(signal, async (owner, inner) => {
        const { writes, epoch } = await this.resume(owner);
        if (writes !== "sqlite")
          throw new SwitchbackError(
            "WRITES_AWAY",
            `writes go to PostgreSQL (epoch ${epoch}): there is nothing to copy`,
          );
        const { postgres, forwards, log } = this;
        const route = () => this.currentRoute;
        await restTarget({ postgres, owner, forwards, route, log, hindered: () => {} }, inner);
        await allOrThrow(
          inner,
          this.forwards.map((forward) => (stop) => forward.backfill(owner, stop, count)),
        );
      });
      return new Map(this.forwards.map(({ name, uncounted }) => [name, uncounted]));
    } catch (error) {
      // What fails because we were told to stop is no failure.
      signal.throwIfAborted();
      throw explained(error);
    }
  }

  /**
   * Follows until aborted, in whichever direction, and flips when the flag says so. A store that goes away is
   * waited for; what only the operator can mend halts the sidecar, which goes on answering, but never before one
   * store is open. Failures before everything was once ready are thrown, but for what passes by itself.
   */
  async run(signal: AbortSignal): Promise<void> {
    const outage = new Outage(this.log, "following the source");
    const startedMs = performance.now();
    void this.doors.watch(signal);
    let [connected, started] = [false, false];
    /** What halts the sidecar once the doors are right. */
    let halting: { readonly error: unknown } | null = null;
    for (let tries = 1; !signal.aborted; tries++) {
      let following = false;
      const ready = () => {
        started = true;
        tries = 0;
        outage.recovered();
        this.outage = null;
      };
      try {
        await this.locked(signal, async (owner, inner) => {
          connected = true;
          await this.settle(owner);
          if (halting) throw halting.error;
          following = true;
          this.controller.live();
          await allOrThrow(inner, [
            async (stop) => {
              while (!stop.aborted) await this.period(owner, stop, ready);
            },
            (stop) => this.doors.breach(stop),
          ]);
        });
        return;
      } catch (thrown) {
        if (signal.aborted) return;
        const error = explained(thrown);
        const { code } = problemFrom(error);
        this.count(error);
        const passes = connected && PASSING.has(code) && performance.now() - startedMs < START_PATIENCE_MS;
        if (!started && !passes) throw error;
        // A password that was changed may be changed back; until then the copy only grows old.
        const again = isRetryable(error) || code === "POSTGRES_AUTHENTICATION";
        if (!again && (!this.controller.doubtful || DECIDED.has(code))) return await this.halt(error, signal);
        if (!again && following) halting ??= { error };
        this.outage = problemFrom(error);
        outage.failed(error);
        await pause(pauseMs(tries, isRetryable(error) ? RECONNECT : BACKOFF), signal).catch(() => {});
      }
    }
  }

  /** Sets the doors right as the records say, and tells the world. */
  private async settle(owner: string): Promise<void> {
    await this.controller.claim();
    const refuse = (found: Route) => refuseToForget(this.config.routeFile, found);
    const route = await this.resume(owner, refuse);
    refuse(route);
    this.publish(route, true);
    this.controller.settled();
  }

  /** The time until the next flip, or the next that was tried in vain. */
  private async period(owner: string, signal: AbortSignal, ready: () => void): Promise<void> {
    let waiting = this.forwards.length;
    const { config, postgres, log, forwards, reverses, controller } = this;
    const away = this.currentRoute.writes === "postgres";
    await (away ? runPostgresEpoch : runSqliteEpoch)(
      {
        ...{ config, postgres, owner, log, forwards, reverses, controller },
        status: () => this.status(),
        route: () => this.currentRoute,
        on: (event) => {
          for (const i of forwards.keys()) this.on(i, event);
        },
        hindered: (found) => {
          this.hindrance = found;
        },
        ready: () => {
          waiting -= 1;
          if (waiting === 0) ready();
        },
      },
      signal,
    );
    this.routeFile.publish(this.currentRoute, true);
  }

  private async halt(error: unknown, signal: AbortSignal): Promise<void> {
    const problem = problemFrom(error);
    this.outage = null;
    this.log.error({ err: error, code: problem.code }, `halted: ${problem.message}`);
    for (const i of this.forwards.keys()) this.on(i, { kind: "failed", problem });
    this.controller.halted(problem);
    await new Promise<void>((resolve) => signal.addEventListener("abort", () => resolve(), { once: true }));
  }

  /** Works under the target's lock; ends when the lock is lost. */
  private async locked(
    signal: AbortSignal,
    work: (owner: string, signal: AbortSignal) => Promise<void>,
  ): Promise<void> {
    const lock = await lockTarget(this.postgres);
    const losing = new AbortController();
    try {
      const done = work(lock.owner, shared(AbortSignal.any([signal, losing.signal])));
      // Work is waited for in any case, so that nothing writes unlocked.
      try {
        await Promise.race([done, lock.lost]);
      } finally {
        losing.abort();
        await done.catch(() => {});
      }
    } finally {
      await lock.release();
    }
  }

  /** Installs what is missing, and finds out from the stores who has the writes. */
  private async resume(owner: string, refuse: (found: Route) => void = () => {}): Promise<Route> {
    const client = await connectPostgres(this.postgres, { name: "switchback setup" });
    try {
      const records = new Records(client);
      const { here, strange } = await strangers(client, this.postgres, this.config.sources);
      await this.fileLocks.take(this.config.sources, here);
      if (strange[0] && !this.adopt) throw foreign(strange[0]);
      // What a new record will say; nothing is made that would be refused then.
      if ((await records.recordsVersion()) === 0) refuse({ writes: "sqlite", epoch: 0 });
      await records.install();
      for (const { name } of this.forwards) this.noteVerification(name, await records.verification(name));
    } finally {
      await client.end().catch(() => {});
    }
    const sources = this.forwards.map(({ source }) => source);
    const ask = () => resume(this.postgres, owner, sources, this.log, this.adopt);
    this.currentRoute = await sources.reduce((work, source) => () => source.patiently(work), ask)();
    this.owner = owner;
    return this.currentRoute;
  }

  /** Tells the world where writes go. */
  private publish(route: Route, durable: boolean): void {
    this.currentRoute = route;
    this.routeFile.publish(route, durable);
    for (const { name } of this.forwards) this.metrics.source(name).route(route.writes, route.epoch);
  }

  private countFlip(result: FlipOutcome, pauseMs: number | null): void {
    for (const { name } of this.forwards) {
      const metrics = this.metrics.source(name);
      metrics.add("switchback_flips_total", 1, { result });
      if (pauseMs !== null) metrics.set("switchback_cutover_pause_seconds", pauseMs / 1_000);
    }
  }

  private on(source: number, event: PhaseEvent): void {
    this.phases = this.phases.map((phase, i) => (i === source ? next(phase, event) : phase));
    const forward = this.forwards[source];
    const phase = this.phases[source];
    if (forward && phase) this.metrics.source(forward.name).phase(phase.name);
    if (event.kind === "copied" && slowest(this.phases).name !== "backfilling") this.progress.done();
  }

  private count(error: unknown): void {
    const code = error instanceof SwitchbackError ? error.code : "BUG";
    for (const { name } of this.forwards)
      this.metrics.source(name).add("switchback_errors_total", 1, { code });
  }

  status(): Status {
    const phase = slowest(this.phases);
    const sides = this.currentRoute.writes === "postgres" ? this.reverses : this.forwards;
    const problems = sides.flatMap((side) => side.problems());
    return {
      version: VERSION,
      phase: phase.name,
      route: this.currentRoute,
      sources: sides.map((side) => side.status()),
      verify: this.verified(),
      serves: this.controller.serves,
      problems: [
        ...(phase.name === "halted" ? [phase.problem] : []),
        ...this.doors.problems(phase.name === "halted" ? phase.problem : null),
        ...(this.outage ? [this.outage] : []),
        ...(this.hindrance ? [this.hindrance] : []),
        ...(this.routeFile.problem ? [this.routeFile.problem] : []),
        ...this.controller.problems(),
        ...problems,
      ],
    };
  }

  /** Looks at the stores again, so that what `status` says is not a sample from before; not for long. */
  async look(): Promise<void> {
    const sides = this.currentRoute.writes === "postgres" ? this.reverses : this.forwards;
    await Promise.race([Promise.all(sides.map((side) => side.look())), pause(LOOK_MS)]);
  }

  /** Null until the stores were asked: a guess would send writers the wrong way. */
  route(): Route | null {
    return this.owner === "" ? null : this.currentRoute;
  }

  /** Streaming and within max_lag, or why not. */
  ready(): { ready: boolean; why: string[] } {
    const { phase, sources } = this.status();
    const why: string[] = [];
    if (phase !== "streaming" && phase !== "reverse_streaming") why.push(`the phase is ${phase}`);
    if (this.outage) why.push(this.outage.message);
    for (const { name, lag } of sources) {
      if (lag.seconds * 1_000 > this.config.cutover.maxLagMs) why.push(`${name} is ${lag.seconds} s behind`);
    }
    return { ready: why.length === 0, why };
  }

  /** Compares every source with its copy while both go on. */
  async verify(signal: AbortSignal): Promise<readonly VerificationResult[]> {
    const phase = slowest(this.phases);
    if (phase.name === "halted") throw haltedError(phase.problem);
    return verifyAll(this.config.sources, this.postgres, signal);
  }

  /** The last comparison of a source was read from the target's records, whoever made it. */
  private noteVerification(name: string, found: VerificationRecord | null): void {
    if (!found) return;
    this.checks.set(name, found);
    const metrics = this.metrics.source(name);
    metrics.set("switchback_verify_different_rows", found.different);
    metrics.set("switchback_verify_timestamp_seconds", Date.parse(found.at) / 1_000);
  }

  private verified(): Status["verify"] {
    const checks = this.forwards.map(({ name }) => this.checks.get(name));
    const oldest = checks.reduce((a, b) => (a && b && b.at < a.at ? b : a), checks[0]);
    return oldest && checks.every(Boolean)
      ? { at: oldest.at, equal: checks.every((check) => check?.equal === true) }
      : null;
  }

  /** The stores are about to be let go. */
  stopping(): void {
    for (const i of this.forwards.keys()) this.on(i, { kind: "stop" });
  }

  async close(): Promise<void> {
    this.routeFile.close();
    await this.controller.close();
    for (const forward of this.forwards) await forward.close();
    this.fileLocks.release();
    this.metrics.close();
  }
}
