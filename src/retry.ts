// What loops that try again are made of: pauses (back-off with full jitter and a cap; ended by a signal or a nudge),
// tries for a lock that others hold, and a log that stays readable through a long outage: the first failure, one line
// every half minute, one line of recovery. errors.ts says which errors may be tried again. Nothing here leaves a timer
// behind.
import { setMaxListeners } from "node:events";
import type { Logger } from "pino";

export interface Backoff {
  /** The cap of the first pause. */
  readonly firstMs: number;
  /** The cap that the doubling stops at. */
  readonly mostMs: number;
}

/** Half a minute is short enough to notice a server that is back, and no load on one that is struggling. */
export const BACKOFF: Backoff = { firstMs: 100, mostMs: 30_000 };

/** The pause before try number `tries + 1`: anywhere between nothing and a cap that doubles (full jitter). */
export function pauseMs(
  tries: number,
  backoff: Backoff = BACKOFF,
  random: () => number = Math.random,
): number {
  const doublings = Math.min(Math.max(tries - 1, 0), 40);
  return random() * Math.min(backoff.mostMs, backoff.firstMs * 2 ** doublings);
}

/** A signal that every source listens to: more than ten listeners are no leak there, as Node would warn. */
export function shared(signal: AbortSignal): AbortSignal {
  setMaxListeners(0, signal);
  return signal;
}

/** Waits; rejects with the signal's reason as soon as it is aborted, and leaves no timer or listener behind. */
export function pause(ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) return reject(signal.reason);
    const stop = () => {
      clearTimeout(timer);
      reject(signal?.reason);
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener("abort", stop);
      resolve();
    }, ms);
    signal?.addEventListener("abort", stop, { once: true });
  });
}

/** One line for the first failure, at most one every `everyMs` while it lasts, one when it is over. */
export class Outage {
  #tries = 0;
  #sinceMs = 0;
  #saidMs = 0;

  constructor(
    private readonly log: Logger,
    private readonly what: string,
    private readonly everyMs = 30_000,
    private readonly now: () => number = () => performance.now(),
  ) {}

  failed(error: unknown): void {
    const nowMs = this.now();
    this.#tries += 1;
    if (this.#tries === 1) this.#sinceMs = nowMs;
    else if (nowMs - this.#saidMs < this.everyMs) return;
    this.#saidMs = nowMs;
    const fields =
      this.#tries === 1 ? { err: error } : { err: error, tries: this.#tries, seconds: this.#seconds(nowMs) };
    this.log.warn(fields, `${this.what} failed; trying again`);
  }

  /** Says so once if there was a failure; silent otherwise. */
  recovered(): void {
    if (this.#tries === 0) return;
    this.log.info(
      { tries: this.#tries, seconds: this.#seconds(this.now()) },
      `${this.what} recovered after ${this.#tries} ${this.#tries === 1 ? "try" : "tries"}`,
    );
    this.#tries = 0;
  }

  #seconds(nowMs: number): number {
    return Math.round((nowMs - this.#sinceMs) / 100) / 10;
  }
}

/** How to wait for a lock that others hold: in tries, so that no session queues behind ours for long. */
export interface LockWait {
  /** Whether an error means that others hold what is needed; any other error is thrown. */
  readonly locked: (error: unknown) => boolean;
  /** The pause before the next try. */
  readonly pauseMs: () => number;
  /** Gives up with the last error after so many tries, or when a try failed after so long; without either, never. */
  readonly triesMax?: number;
  readonly waitMaxMs?: number;
  readonly signal?: AbortSignal;
  /** What is thrown for the signal's reason once a try has met the lock; the reason itself by default. */
  readonly gaveUp?: (reason: unknown) => unknown;
  /** Told after each try that met the lock. */
  readonly met?: (tries: number) => void;
}

/** Does `work` until the lock that it needs is free. Work that is not asynchronous costs no turn of the event loop. */
export async function retryOnLock<T>(work: () => T | Promise<T>, wait: LockWait): Promise<T> {
  const { signal, triesMax = Number.POSITIVE_INFINITY, waitMaxMs = Number.POSITIVE_INFINITY } = wait;
  const beganMs = performance.now();
  for (let tries = 1; ; tries += 1) {
    if (signal?.aborted) throw tries > 1 && wait.gaveUp ? wait.gaveUp(signal.reason) : signal.reason;
    try {
      const done = work();
      return done instanceof Promise ? await done : done;
    } catch (error) {
      if (!wait.locked(error) || tries >= triesMax || performance.now() - beganMs > waitMaxMs) throw error;
    }
    wait.met?.(tries);
    await pause(wait.pauseMs(), signal).catch(() => {});
  }
}

/** Work that notices the signal itself may say more than the signal does, if it says so soon. */
const LAST_WORDS_MS = 50;

/** Waits for the work, but not beyond the signal, whose reason is thrown: work that hangs is left to itself. */
export function untilAborted<T>(signal: AbortSignal, work: Promise<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    const stop = () => setTimeout(() => reject(signal.reason), LAST_WORDS_MS);
    if (signal.aborted) stop();
    else signal.addEventListener("abort", stop, { once: true });
    work.then(resolve, reject).finally(() => signal.removeEventListener("abort", stop));
  });
}

/** A rest that others may end early: for loops that poll and are told now and then that it is worth it. */
export class WakeableSleep {
  private waker: (() => void) | null = null;

  /** Ends the rest under way, if there is one. */
  nudge(): void {
    this.waker?.();
  }

  /** Resolves after `ms`, when nudged, or when the signal is aborted. */
  rest(ms: number, signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const wake = () => {
        clearTimeout(timer);
        signal.removeEventListener("abort", wake);
        this.waker = null;
        resolve();
      };
      const timer = setTimeout(wake, ms);
      this.waker = wake;
      signal.addEventListener("abort", wake, { once: true });
      if (signal.aborted) wake();
    });
  }
}
