// Wires one sidecar: the lock on the target, for each source a replication in each direction, the controller of flips
// and the route file. It runs epoch after epoch: between two flips the links run in one direction. It decides what a
// failure means: try again, stop at the start, or halt and wait for the operator. state.ts answers what is asked of it.
import type { Logger } from "pino";
import type { Config, PostgresConfig } from "../config/config.js";
import { FlipController } from "../cutover/controller.js";
import { foreign, strangers } from "../cutover/pair.js";
import { resume } from "../cutover/recover-stores.js";
import { haltedError } from "../cutover/request.js";
import { RouteFile, refuseToForget } from "../cutover/route-file.js";
import { servedBy } from "../cutover/served.js";
import { isRetryable, SwitchbackError } from "../errors.js";
import { withSession } from "../postgres/connection.js";
import { Records } from "../postgres/records.js";
import { isOwner, lockTarget } from "../postgres/sidecar-lock.js";
import { problemFrom } from "../problem.js";
import { BACKOFF, type Backoff, Outage, pause, pauseMs, shared } from "../retry.js";
import { explained } from "../sqlite/connection.js";
import { FileLocks } from "../sqlite/file-lock.js";
import type { Route, Status } from "../status.js";
import { createMetrics, type MetricsRegistry } from "../telemetry/metrics.js";
import { type Progress, withPrefix } from "../telemetry/progress.js";
import { ClosedFiles, guarded } from "./closed-files.js";
import { allOrThrow, type EpochOptions, runEpoch } from "./epoch.js";
import { ForwardReplication } from "./forward.js";
import { ReverseReplication } from "./reverse.js";
import { SidecarState } from "./state.js";
import { suspendTarget } from "./target-tables.js";
import { type VerificationResult, verifyAll } from "./verification.js";

/** A server that comes back is met within a second or so: a copy that lags costs more than a few connects. */
const RECONNECT: Backoff = { firstMs: 100, mostMs: 2_000 };
/** What passes by itself is waited for this long at the start: a busy application's lock, a session that was lost. */
const START_PATIENCE_MS = 20_000;
const PASSING: ReadonlySet<string> = new Set(["SQLITE_BUSY", "POSTGRES_UNREACHABLE", "POSTGRES_TRANSIENT"]);
/**
 * Answers of the stores' records themselves, or of the sidecar that keeps them now: no try after these opens a store.
 */
const DECIDED: ReadonlySet<string> = new Set([
  "SPLIT",
  "TARGET_FOREIGN",
  "TARGET_TAKEN",
  "WRITES_AWAY",
  "ROUTE_AHEAD",
  "SQLITE_REPLACED",
  "SQLITE_REWOUND",
  "SOURCE_FOREIGN",
  "SOURCE_TAKEN",
  "ROUTE_TAKEN",
]);

export class Sidecar {
  readonly metrics: MetricsRegistry = createMetrics();
  private readonly forwards: readonly ForwardReplication[];
  private readonly routeFile: RouteFile;
  private readonly reverses: readonly ReverseReplication[];
  private readonly controller: FlipController;
  private readonly fileLocks = new FileLocks();
  private readonly closedFiles: ClosedFiles;
  private readonly state: SidecarState;
  private owner = "";

  constructor(
    private readonly config: Config,
    private readonly postgres: PostgresConfig,
    private readonly log: Logger,
    progress: Progress,
    /** Files that belong to another database are moved to this one. */
    private readonly adopt = false,
  ) {
    this.state = new SidecarState(config, this.metrics, progress, () => {
      const { forwards, reverses, closedFiles, controller, routeFile } = this;
      return { forwards, reverses, closedFiles, controller, routeFile };
    });
    this.forwards = config.sources.map(
      (source, i) =>
        new ForwardReplication({
          source,
          postgres,
          workers: config.backfill.workers,
          verify: config.verify,
          log,
          progress: config.sources.length > 1 ? withPrefix(progress, `${source.name}.`) : progress,
          metrics: this.metrics.source(source.name),
          event: (event) => this.state.on(i, event),
          verified: (found) => this.state.noteVerification(source.name, found),
        }),
    );
    this.reverses = config.sources.map(
      (source) =>
        new ReverseReplication({
          source,
          postgres,
          log,
          metrics: this.metrics.source(source.name),
          verified: (found) => this.state.noteVerification(source.name, found),
        }),
    );
    this.routeFile = new RouteFile(config.routeFile, log);
    this.closedFiles = new ClosedFiles({
      files: () => this.forwards.map(guarded),
      epoch: () => (this.state.route.writes === "postgres" ? this.state.route.epoch : null),
      ours: () => isOwner(postgres, config.sources, this.owner),
      log,
    });
    this.controller = new FlipController({
      flagFile: config.flagFile,
      routeFile: config.routeFile,
      timeoutMs: config.cutover.timeoutMs,
      log,
      route: () => this.state.route,
      serves: () => servedBy(config.sources, postgres, this.forwards[0]?.source.pair?.id),
      publish: this.state.publish,
      count: (result, pauseMs) => this.state.countFlip(result, pauseMs),
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
        const route = () => this.state.route;
        await suspendTarget({ postgres, owner, forwards, route, log, hindered: () => {} }, inner);
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
   * Follows until aborted, in whichever direction, and flips when the flag says so. A store that goes away is waited
   * for; what only the operator can repair halts the sidecar, which keeps answering, but never before one store is
   * open. Failures before everything was once ready are thrown, but for what passes by itself.
   */
  async run(signal: AbortSignal): Promise<void> {
    const outage = new Outage(this.log, "following the source");
    const startedMs = performance.now();
    void this.closedFiles.watch(signal);
    let [connected, started] = [false, false];
    /** What halts the sidecar once the gates are right. */
    let halting: { readonly error: unknown } | null = null;
    for (let tries = 1; !signal.aborted; tries++) {
      let following = false;
      const ready = () => {
        started = true;
        tries = 0;
        outage.recovered();
        this.state.outage = null;
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
              while (!stop.aborted) await this.epoch(owner, stop, ready);
            },
            (stop) => this.closedFiles.breach(stop),
          ]);
        });
        return;
      } catch (thrown) {
        if (signal.aborted) return;
        const error = explained(thrown);
        const { code } = problemFrom(error);
        this.state.countError(error);
        const passes = connected && PASSING.has(code) && performance.now() - startedMs < START_PATIENCE_MS;
        if (!started && !passes) throw error;
        // A password that was changed may be changed back; until then the copy only grows old.
        const again = isRetryable(error) || code === "POSTGRES_AUTHENTICATION";
        if (!again && (!this.controller.doubtful || DECIDED.has(code))) return await this.halt(error, signal);
        if (!again && following) halting ??= { error };
        this.state.outage = problemFrom(error);
        outage.failed(error);
        await pause(pauseMs(tries, isRetryable(error) ? RECONNECT : BACKOFF), signal).catch(() => {});
      }
    }
  }

  /** Sets the gates as the records say, and publishes the route. */
  private async settle(owner: string): Promise<void> {
    await this.controller.claim();
    const refuse = (found: Route) => refuseToForget(this.config.routeFile, found);
    const route = await this.resume(owner, refuse);
    refuse(route);
    this.state.publish(route, true);
    this.controller.settled();
  }

  /** The time until the next flip, or the next that was tried in vain. */
  private async epoch(owner: string, signal: AbortSignal, ready: () => void): Promise<void> {
    const { config, postgres, log, forwards, reverses, controller, state } = this;
    let waiting = forwards.length;
    const options: EpochOptions = {
      ...{ config, postgres, owner, log, forwards, reverses },
      status: () => state.status(),
      route: () => state.route,
      on: (event) => state.onAll(event),
      hindered: (found) => {
        state.hindrance = found;
      },
      ready: () => {
        waiting -= 1;
        if (waiting === 0) ready();
      },
    };
    await runEpoch(options, controller, signal);
    this.routeFile.publish(state.route, true);
  }

  private async halt(error: unknown, signal: AbortSignal): Promise<void> {
    const problem = problemFrom(error);
    this.state.outage = null;
    this.log.error({ err: error, code: problem.code }, `halted: ${problem.message}`);
    this.state.onAll({ kind: "failed", problem });
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
    await withSession(this.postgres, "switchback setup", async (client) => {
      const records = new Records(client);
      const { here, strange } = await strangers(client, this.postgres, this.config.sources);
      await this.fileLocks.take(this.config.sources, here);
      if (strange[0] && !this.adopt) throw foreign(strange[0]);
      // What a new record will say; nothing is made that would be refused then.
      if ((await records.recordsVersion()) === 0) refuse({ writes: "sqlite", epoch: 0 });
      await records.install();
      for (const { name } of this.forwards)
        this.state.noteVerification(name, await records.verification(name));
    });
    const sources = this.forwards.map(({ source }) => source);
    const ask = () => resume(this.postgres, owner, sources, this.log, this.adopt);
    const route = await sources.reduce((work, source) => () => source.patiently(work), ask)();
    this.state.found(route);
    this.owner = owner;
    return route;
  }

  status(): Status {
    return this.state.status();
  }

  /** Looks at the stores again, so that what `status` says is not a sample from before; not for long. */
  look(): Promise<void> {
    return this.state.look();
  }

  /** Null until the stores were asked: a guess would send writers the wrong way. */
  route(): Route | null {
    return this.state.knownRoute();
  }

  /** Streaming and within max_lag, or why not. */
  ready(): { ready: boolean; why: string[] } {
    return this.state.ready();
  }

  /** Compares every source with its copy while both keep changing. */
  async verify(signal: AbortSignal): Promise<readonly VerificationResult[]> {
    const { phase } = this.state;
    if (phase.name === "halted") throw haltedError(phase.problem);
    return verifyAll(this.config.sources, this.postgres, signal);
  }

  /** The stores are about to be let go. */
  stopping(): void {
    this.state.onAll({ kind: "stop" });
  }

  async close(): Promise<void> {
    this.routeFile.close();
    await this.controller.close();
    for (const forward of this.forwards) await forward.close();
    this.fileLocks.release();
    this.metrics.close();
  }
}
