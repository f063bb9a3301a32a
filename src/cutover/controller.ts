// Decides when to flip and carries it out. The flag says what the operator wants, and the preconditions say whether
// it is allowed. flip.ts does it, and the answer goes to the caller. One flip at a time, in either direction. Where a
// try stands is one value with a table of transitions, flip-state.ts; this file feeds it events and does what it
// says.
import type { Logger } from "pino";
import { errorText } from "../error-text.js";
import { SwitchbackError } from "../errors.js";
import type { Gate } from "../protocol/contract.js";
import { type Drainable, type FlipResult, flip } from "../protocol/flip.js";
import { pause, shared, untilAborted } from "../retry.js";
import type { Problem, Route, Served } from "../status.js";
import type { FlipOutcome } from "../telemetry/metrics.js";
import { type Desired, FlagWatch } from "./flag-file.js";
import {
  type FlipAction,
  type FlipEvent,
  type FlipState,
  IDLE,
  isDoubtful,
  isDue,
  nextFlip,
  problemOf,
} from "./flip-state.js";
import { Heartbeat } from "./heartbeat-file.js";

/** Everything a flip in one direction needs of the sidecar. */
export interface FlipDirection {
  readonly to: Desired;
  /** True for the moment after a start or a flip in which the links are being set up. */
  starting(): boolean;
  /** Why the flip may not be now, or null. */
  obstacle(): Promise<string | null>;
  /** The flip begins: makes the gates ready while the links still run. */
  gates(): Promise<{ from: Gate; to: Gate }>;
  /** Stops the links; resolves to them once each stands between two windows. @throws the signal's reason */
  stopLinks(signal: AbortSignal): Promise<readonly Drainable[]>;
  /** The flip is over, or there will be none: links that were stopped end. */
  release(): void;
}

/** What a flip works with, once its gates are ready and its links stand still. */
interface FlipReady {
  readonly from: Gate;
  readonly to: Gate;
  readonly links: readonly Drainable[];
}

interface SwitchingOptions {
  readonly flagFile: string;
  readonly routeFile: string;
  readonly timeoutMs: number;
  readonly log: Logger;
  readonly route: () => Route;
  readonly serves: () => Served;
  readonly publish: (route: Omit<Route, "changedAt">, durable: boolean) => void;
  readonly count: (result: FlipOutcome, pauseMs: number | null) => void;
}

/** A refused flip is tried again after this time while the flag stays. */
const AGAIN_MS = 1_000;
const STARTING_LOOK_MS = 10;

/** The reason of a flip whose flag was set back; the one who set it back knows why. */
export const WITHDRAWN = "the flag was withdrawn";

export class FlipController {
  private readonly flag: FlagWatch;
  private readonly life: Heartbeat;
  private state: FlipState = IDLE;

  constructor(private readonly options: SwitchingOptions) {
    this.flag = new FlagWatch(options.flagFile);
    this.life = new Heartbeat([options.routeFile, options.flagFile], options.serves);
  }

  /** @throws SwitchbackError ROUTE_TAKEN when another application's sidecar keeps the route file or the flag */
  claim(): Promise<void> {
    return this.life.claim();
  }

  /** From now on commands see that a sidecar runs. */
  live(): void {
    this.life.start();
  }

  /** True after a flip that did not end well: both stores may be closed, and only their records can tell. */
  get doubtful(): boolean {
    return isDoubtful(this.state);
  }

  /** The records were asked, and the one store that has the writes is open. */
  settled(): void {
    this.state = nextFlip(this.state, { kind: "settled" }).state;
  }

  /** From now on nothing is flipped, and every request is answered with the reason. */
  halted(problem: Problem): void {
    this.life.halt(problem);
  }

  get serves(): Served {
    return this.options.serves();
  }

  problems(): Problem[] {
    const problem = problemOf(this.state);
    return problem ? [problem] : [];
  }

  async close(): Promise<void> {
    this.life.stop();
    await this.flag.close();
  }

  /**
   * Waits until the flag asks for this direction, and flips; returns once a flip was tried, when the followers stop.
   * @throws SwitchbackError FLIP_IN_DOUBT and whatever keeps the store that had the writes from reopening
   */
  async serve(direction: FlipDirection, signal: AbortSignal): Promise<void> {
    try {
      while (!signal.aborted) {
        if (!(await this.wanted(direction.to, signal))) continue;
        if (await this.attempt(direction, signal)) return;
      }
    } finally {
      direction.release();
    }
  }

  private async wanted(to: Desired, signal: AbortSignal): Promise<boolean> {
    const event = this.look(to);
    this.on(to, event);
    if (event.kind === "wanted" && isDue(this.state, performance.now())) return true;
    await this.flag.wait(100, signal);
    return false;
  }

  private look(to: Desired): FlipEvent {
    try {
      const desired = this.flag.read();
      if (desired) return { kind: desired === to ? "wanted" : "unwanted" };
      const message = `the flag ${this.options.flagFile} holds ${this.flag.text}, neither sqlite nor postgres`;
      return { kind: "unreadable", message };
    } catch (error) {
      if (!(error instanceof SwitchbackError)) throw error;
      return { kind: "unreadable", message: error.message };
    }
  }

  /** True when the links were stopped for it. */
  private async attempt(direction: FlipDirection, signal: AbortSignal): Promise<boolean> {
    const { to } = direction;
    const stop = this.stopSignal(to, signal);
    this.on(to, { kind: "began" });
    try {
      const gates = await this.approach(direction, stop.signal);
      if (gates === null) {
        await this.flag.wait(AGAIN_MS, signal);
        return false;
      }
      const result = "reason" in gates ? gates : await this.flipped(direction, gates, stop.signal);
      // Where the writes moved, that was said already.
      if (result.flipped) return true;
      if (signal.aborted) {
        this.on(to, { kind: "interrupted" });
        return true;
      }
      const { reason, pauseMs } = result;
      this.on(to, { kind: "retreated", reason, pauseMs, nowMs: performance.now() });
      // A link that still moves must not meet its successor.
      await untilAborted(signal, result.still ?? Promise.resolve()).catch(() => {});
      return true;
    } finally {
      stop.clear();
    }
  }

  /** Everything before the pause: null when a precondition does not hold, a result when it failed. */
  private async approach(
    direction: FlipDirection,
    signal: AbortSignal,
  ): Promise<FlipReady | (FlipResult & { flipped: false }) | null> {
    const { to } = direction;
    let doing = "waiting for the links to be set up";
    try {
      while (direction.starting()) await pause(STARTING_LOOK_MS, signal);
      doing = "looking at the preconditions";
      const obstacle = await untilAborted(signal, direction.obstacle());
      if (obstacle !== null) {
        this.on(to, { kind: "refused", reason: obstacle });
        return null;
      }
      this.options.log.info({ to }, `moving the writes to ${nameOf(to)}`);
      doing = `making ${nameOf(to)} ready`;
      const gates = await untilAborted(signal, direction.gates());
      doing = "stopping the links";
      return { ...gates, links: await direction.stopLinks(signal) };
    } catch (error) {
      // Nothing was closed yet: whatever failed is the reason.
      return { flipped: false, reason: `${errorText(error)}, while ${doing}`, pauseMs: 0 };
    }
  }

  /** The flip. What it throws leaves a store closed: only the stores' records can tell how to continue. */
  private async flipped(
    direction: FlipDirection,
    { from, to, links }: FlipReady,
    signal: AbortSignal,
  ): Promise<FlipResult> {
    const { epoch } = this.options.route();
    this.on(direction.to, { kind: "closing" });
    try {
      const result = await flip({
        ...{ from, to, epoch, signal, links },
        publish: (state) => this.publish(direction.to, epoch, state),
        moved: (pauseMs) => this.on(direction.to, { kind: "moved", pauseMs }),
      });
      if (result.flipped) this.on(direction.to, { kind: "settled" });
      return result;
    } catch (error) {
      this.on(direction.to, { kind: "failed" });
      const message = errorText(error);
      throw new SwitchbackError("FLIP_IN_DOUBT", message, {}, { cause: error });
    }
  }

  /** Aborted at the deadline, when the flag is withdrawn, and when the sidecar stops. */
  private stopSignal(to: Desired, signal: AbortSignal): { signal: AbortSignal; clear: () => void } {
    const stop = new AbortController();
    const watching = new AbortController();
    const { timeoutMs } = this.options;
    const timer = setTimeout(
      () => stop.abort(new Error(`it was not done within ${timeoutMs / 1_000} s`)),
      timeoutMs,
    );
    const quit = () => stop.abort(new Error("the sidecar was told to stop"));
    signal.addEventListener("abort", quit, { once: true });
    this.flag
      .untilNot(to, watching.signal)
      .then(() => stop.abort(new Error(WITHDRAWN)))
      .catch(() => {});
    const clear = () => {
      clearTimeout(timer);
      watching.abort();
      signal.removeEventListener("abort", quit);
    };
    return { signal: shared(stop.signal), clear };
  }

  private on(to: Desired, event: FlipEvent): void {
    const { state, actions } = nextFlip(this.state, event);
    this.state = state;
    for (const action of actions) this.tell(to, action);
  }

  private tell(to: Desired, action: FlipAction): void {
    const { options, life } = this;
    const { epoch } = options.route();
    switch (action.kind) {
      case "warn of the flag":
        options.log.warn({ code: action.problem.code }, action.problem.message);
        return;
      case "log the refusal":
        options.log.warn({ to }, `the writes cannot move to ${nameOf(to)} now: ${action.reason}`);
        options.count("refused", null);
        return;
      case "answer the refusal":
        life.answer({ to, flipped: false, epoch, pauseMs: 0, reason: action.reason });
        return;
      case "tell of the flip": {
        options.count("flipped", action.pauseMs);
        const pauseMs = rounded(action.pauseMs);
        options.log.info({ to, epoch, pauseMs }, `the writes go to ${nameOf(to)}`);
        life.answer({ to, flipped: true, epoch, pauseMs });
        return;
      }
      case "tell of the retreat": {
        const { reason } = action;
        const pauseMs = rounded(action.pauseMs);
        options.count("retreated", pauseMs);
        options.log.warn({ to, pauseMs }, `the writes stay where they were: ${reason}`);
        life.answer({ to, flipped: false, epoch, pauseMs, reason });
        return;
      }
    }
  }

  private publish(to: Desired, epoch: number, state: "paused" | "flipped" | "retreated"): void {
    const { publish } = this.options;
    if (state === "paused") publish({ writes: "paused", epoch }, false);
    else if (state === "flipped") publish({ writes: to, epoch: epoch + 1 }, false);
    else publish({ writes: to === "postgres" ? "sqlite" : "postgres", epoch }, false);
  }
}

export function nameOf(store: Desired): string {
  return store === "postgres" ? "PostgreSQL" : "SQLite";
}

/** To a tenth: what people and scripts read. */
function rounded(ms: number): number {
  return Math.round(ms * 10) / 10;
}
