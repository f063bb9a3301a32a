// The flip: moves the writes from one store to the other, in either direction, and knows neither engine.
//
//   approach ── reserve ── close the old gate ── drain every link ── decide ── open the new gate ── publish
//         no pause    │◄───────────────────────── pause ────────────────────────────►│
//
// One of the two stores decides: the commit of its step is the flip, and until then everything can be taken back. So
// the decider's step comes first: arriving there, it opens and decides in one transaction; leaving it, it records the
// decision and then the other store opens. Until the decision a failure, the deadline or the operator's change of
// mind leads to a retreat: the old gate opens again. A decision whose outcome is unknown is never guessed: both gates
// stay closed and InDoubt is thrown (recovery.ts continues from the records).
import { setImmediate as nextTurn } from "node:timers/promises";
import { errorText } from "../error-text.js";
import { untilAborted } from "../retry.js";
import { type Gate, type IdCeilings, InDoubt } from "./contract.js";

export interface Drainable {
  approach(signal: AbortSignal): Promise<void>;
  drain(signal: AbortSignal): Promise<void>;
}

interface FlipPlan {
  /** The store that has the writes, under `epoch`. */
  readonly from: Gate;
  readonly to: Gate;
  readonly epoch: number;
  /** Every link from `from` to `to`; nothing else may be moving them. */
  readonly links: readonly Drainable[];
  /** Aborted at the deadline or when the flip is no longer wanted; its reason is the answer. */
  readonly signal: AbortSignal;
  /** Tells the world; must not wait for a disk. */
  readonly publish: (state: "paused" | "flipped" | "retreated") => void;
  /** Told once the writes have moved: what follows is a record, which may have to wait for the store that was left. */
  readonly moved?: (pauseMs: number) => void;
}

export type FlipResult =
  | { readonly flipped: true; readonly epoch: number; readonly pauseMs: number }
  | {
      readonly flipped: false;
      readonly reason: string;
      readonly pauseMs: number;
      /** Resolves once the links stand still: work that was given up may still be running. */
      readonly still?: Promise<unknown>;
    };

/**
 * @throws InDoubt when the decision's outcome is unknown; whatever kept the old gate from opening again, or a
 *   decided flip from being finished. In each case only the stores' records say how to continue.
 */
export async function flip(plan: FlipPlan): Promise<FlipResult> {
  const { from, to, epoch, signal } = plan;
  const next = epoch + 1;
  let closedAtMs: number | null = null;
  let marks: IdCeilings = new Map();
  let doing = "applying what there was";
  const works: Promise<void>[] = [];
  const links = (work: (link: Drainable) => Promise<void>) => {
    const started = plan.links.map(work);
    works.push(...started);
    return Promise.all(started.map((one) => untilAborted(signal, one)));
  };
  const sinceClosedMs = () => (closedAtMs === null ? 0 : performance.now() - closedAtMs);
  try {
    await links((link) => link.approach(signal));
    doing = "making the other store ready";
    await untilAborted(signal, to.reserve(signal));
    // Once more, in what was reserved: what had gathered meanwhile, and a cold session, belong before the pause.
    await links((link) => link.approach(signal));
    doing = "closing the store";
    closedAtMs = await untilAborted(signal, from.close(next, signal));
    doing = "carrying over the last changes";
    const draining = Promise.all([links((link) => link.drain(signal)), untilAborted(signal, from.marks())]);
    // What fails meanwhile is thrown below.
    draining.catch(() => {});
    // Told while the stores are at work: telling keeps this process from sending anything, so it comes after that.
    await nextTurn();
    plan.publish("paused");
    [, marks] = await draining;
    doing = "deciding";
    await decide(plan, next, marks);
  } catch (error) {
    to.abandon();
    if (error instanceof InDoubt) throw error;
    await from.reopen(epoch);
    const pauseMs = sinceClosedMs();
    plan.publish("retreated");
    const still = Promise.allSettled(works);
    return { flipped: false, reason: `${errorText(error)}, while ${doing}`, pauseMs, still };
  }
  if (!to.decides) await to.open(next, marks);
  plan.publish("flipped");
  const pauseMs = sinceClosedMs();
  plan.moved?.(pauseMs);
  if (to.decides) await from.left(next);
  return { flipped: true, epoch: next, pauseMs };
}

/** The decider's step: once it resolves, the flip has happened. */
async function decide({ from, to, signal }: FlipPlan, epoch: number, marks: IdCeilings): Promise<void> {
  if (to.decides) await to.open(epoch, marks, signal);
  else await from.left(epoch, signal);
}

/**
 * Where links stop for a flip. Every link of an epoch parks what it has in hand here, between two windows, and waits until
 * the flip is over.
 */
export class Barrier<T> {
  private readonly stop = new AbortController();
  private readonly parked: T[] = [];
  private readonly all: Promise<void>;
  private readonly over: Promise<void>;
  private allParked: () => void = () => {};
  private end: () => void = () => {};

  constructor(private readonly count: number) {
    this.all = new Promise((resolve) => {
      this.allParked = resolve;
    });
    this.over = new Promise((resolve) => {
      this.end = resolve;
    });
  }

  /** Aborted when links must stop and park. */
  get stopping(): AbortSignal {
    return this.stop.signal;
  }

  /** The link's side: resolves once the flip is over, whatever came of it. */
  async park(held: T, signal: AbortSignal): Promise<void> {
    this.parked.push(held);
    if (this.parked.length === this.count) this.allParked();
    await orAborted(this.over, signal);
  }

  /** Stops the links; resolves to what they hold. @throws the signal's reason */
  async take(signal: AbortSignal): Promise<readonly T[]> {
    this.stop.abort();
    await orAborted(this.all, signal);
    signal.throwIfAborted();
    return this.parked;
  }

  /** Ends the epoch: parked links end. */
  release(): void {
    this.stop.abort();
    this.end();
  }
}

/** Waits for the work or the signal, whichever is first. */
async function orAborted(work: Promise<void>, signal: AbortSignal): Promise<void> {
  if (signal.aborted) return;
  let stop: () => void = () => {};
  const aborted = new Promise<void>((resolve) => {
    stop = resolve;
    signal.addEventListener("abort", stop, { once: true });
  });
  await Promise.race([work, aborted]);
  signal.removeEventListener("abort", stop);
}
