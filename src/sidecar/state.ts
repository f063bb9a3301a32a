// What a sidecar knows of itself, and what it answers from that: the phase of every source, where writes go, what the
// last comparison found, what stands in the way. The sidecar tells it; the server and the preconditions ask it.
import type { Config } from "../config/config.js";
import type { FlipController } from "../cutover/controller.js";
import type { RouteFile } from "../cutover/route-file.js";
import { SwitchbackError } from "../errors.js";
import type { VerificationRecord } from "../postgres/records.js";
import { next, type Phase, type PhaseEvent, STARTING, slowest } from "../protocol/phase.js";
import { pause } from "../retry.js";
import type { Problem, Route, SourceStatus, Status } from "../status.js";
import type { FlipOutcome, MetricsRegistry } from "../telemetry/metrics.js";
import type { Progress } from "../telemetry/progress.js";
import { VERSION } from "../version.js";
import type { ClosedFiles } from "./closed-files.js";

/** A request for the status is not kept waiting by a store that hangs. */
const LOOK_MS = 200;

/** A source's replication in one direction, as far as it answers for itself. */
interface Side {
  look(): Promise<void>;
  problems(): Problem[];
  status(): SourceStatus;
}

/** The parts of the sidecar whose problems are the sidecar's own. */
interface Parts {
  readonly forwards: readonly Side[];
  readonly reverses: readonly Side[];
  readonly closedFiles: ClosedFiles;
  readonly controller: FlipController;
  readonly routeFile: RouteFile;
}

export class SidecarState {
  /** Why the stores are not reached, while that lasts. */
  outage: Problem | null = null;
  /** What keeps a link from starting that the operator could repair. */
  hindrance: Problem | null = null;
  private readonly names: readonly string[];
  private phases: readonly Phase[];
  private known: Route | null = null;
  private readonly checks = new Map<string, VerificationRecord>();

  constructor(
    private readonly config: Config,
    private readonly metrics: MetricsRegistry,
    private readonly progress: Progress,
    private readonly parts: () => Parts,
  ) {
    this.names = config.sources.map(({ name }) => name);
    this.phases = this.names.map(() => STARTING);
  }

  /** The stores' records say who has the writes; it is not published yet. */
  found(route: Route): void {
    this.known = route;
  }

  /** Tells the world where writes go, now unless the route says since when. `durable` as in route-file.ts. */
  readonly publish = (route: Route, durable: boolean): void => {
    const known = { ...route, changedAt: route.changedAt ?? new Date().toISOString() };
    this.known = known;
    this.parts().routeFile.publish(known, durable);
    for (const name of this.names) this.metrics.source(name).route(route.writes, route.epoch);
  };

  /** Where writes go; before the stores were asked, where they go at first. */
  get route(): Route {
    return this.known ?? { writes: "sqlite", epoch: 0 };
  }

  /** Null until the stores were asked: a guess would send writers the wrong way. */
  knownRoute(): Route | null {
    return this.known;
  }

  get phase(): Phase {
    return slowest(this.phases);
  }

  /** The step of one source, given by its place in the configuration, from one phase to the next. */
  on(source: number, event: PhaseEvent): void {
    this.phases = this.phases.map((phase, i) => (i === source ? next(phase, event) : phase));
    const name = this.names[source];
    const phase = this.phases[source];
    if (name !== undefined && phase) this.metrics.source(name).phase(phase.name);
    if (event.kind === "copied" && this.phase.name !== "backfilling") this.progress.done();
  }

  onAll(event: PhaseEvent): void {
    for (const i of this.names.keys()) this.on(i, event);
  }

  /** The last comparison of a source was read from the target's records, regardless of which process made it. */
  noteVerification(name: string, found: VerificationRecord | null): void {
    if (!found) return;
    this.checks.set(name, found);
    const metrics = this.metrics.source(name);
    metrics.set("switchback_verify_different_rows", found.different);
    metrics.set("switchback_verify_timestamp_seconds", Date.parse(found.at) / 1_000);
  }

  countFlip(result: FlipOutcome, pauseMs: number | null): void {
    for (const name of this.names) {
      const metrics = this.metrics.source(name);
      metrics.add("switchback_flips_total", 1, { result });
      if (pauseMs !== null) metrics.set("switchback_cutover_pause_seconds", pauseMs / 1_000);
    }
  }

  countError(error: unknown): void {
    const code = error instanceof SwitchbackError ? error.code : "BUG";
    for (const name of this.names) this.metrics.source(name).add("switchback_errors_total", 1, { code });
  }

  status(): Status {
    const { phase } = this;
    const { closedFiles, controller, routeFile } = this.parts();
    const sides = this.sides();
    const halted = phase.name === "halted" ? phase.problem : null;
    const problems = sides.flatMap((side) => side.problems());
    return {
      version: VERSION,
      phase: phase.name,
      route: this.route,
      sources: sides.map((side) => side.status()),
      verify: this.verified(),
      serves: controller.serves,
      problems: [
        ...[halted].filter((one) => one !== null),
        ...closedFiles.problems(halted),
        ...[this.outage, this.hindrance, routeFile.problem].filter((one) => one !== null),
        ...controller.problems(),
        ...problems,
      ],
    };
  }

  /** Looks at the stores again, so that what `status` says is not a sample from before; not for long. */
  async look(): Promise<void> {
    await Promise.race([Promise.all(this.sides().map((side) => side.look())), pause(LOOK_MS)]);
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

  private sides(): readonly Side[] {
    const { forwards, reverses } = this.parts();
    return this.route.writes === "postgres" ? reverses : forwards;
  }

  private verified(): Status["verify"] {
    const checks = this.names.map((name) => this.checks.get(name));
    const oldest = checks.reduce((a, b) => (a && b && b.at < a.at ? b : a), checks[0]);
    return oldest && checks.every(Boolean)
      ? { at: oldest.at, equal: checks.every((check) => check?.equal === true) }
      : null;
  }
}
