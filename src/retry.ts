// The parts of retry loops. Pauses have back-off with full jitter and a cap, and end at a signal or a nudge. Locks
// that others hold are tried repeatedly. The log stays readable through a long outage: the first failure, one line
// every half minute, one line on recovery. errors.ts decides which errors may be retried. Nothing here leaves a timer
// behind.
import { setMaxListeners } from "node:events";
import type { Logger } from "pino";

export interface Backoff {
  /** The cap of the first pause. */
  readonly firstMs: number;
  /** The cap that the doubling stops at. */
  readonly mostMs: number;
}

/** Half a minute is soon enough to notice that a server is up again, and no load on a struggling one. */
export const BACKOFF: Backoff = { firstMs: 100, mostMs: 30_000 };

/** The pause before try number `tries + 1`: random between zero and a cap that doubles (full jitter). */
export function pauseMs(
  tries: number,
  backoff: Backoff = BACKOFF,
  random: () => number = Math.random,
): number {
  const doublings = Math.min(Math.max(tries - 1, 0), 40);
  return random() * Math.min(backoff.mostMs, backoff.firstMs * 2 ** doublings);
}

/** Every source listens to the signal: more than ten listeners are no leak here, although Node would warn. */
export function shared(signal: AbortSignal): AbortSignal {
  setMaxListeners(0, signal);
  return signal;
}

/** Waits. Rejects with the signal's reason when it is aborted, and leaves no timer or listener behind. */
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

/** One line for the first failure, at most one every `everyMs` while it lasts, one at the recovery. */
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

  /** Logs the recovery once after a failure; otherwise silent. */
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

/**
 * How to wait for a lock that others hold: in several tries, so that other sessions never queue behind ours for long.
 */
export interface LockWait {
  /** True for an error that means that others hold the lock; any other error is thrown. */
  readonly locked: (error: unknown) => boolean;
  /** The pause before the next try. */
  readonly pauseMs: () => number;
  /**
   * Gives up with the last error after this many tries, or when a try failed after this time. Without either it never
   * gives up.
   */
  readonly triesMax?: number;
  readonly waitMaxMs?: number;
  readonly signal?: AbortSignal;
  /** The error thrown instead of the signal's reason once a try has met the lock; by default the reason itself. */
  readonly gaveUp?: (reason: unknown) => unknown;
  /** Called after each try that met the lock. */
  readonly met?: (tries: number) => void;
}

/** Runs `work` until its lock is free. Synchronous work takes no turn of the event loop. */
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

/** After an abort, work has this long to reject with its own, more specific error. */
const LAST_WORDS_MS = 50;

/** Waits for the work, but not beyond the signal, whose reason is thrown: hanging work is abandoned. */
export function untilAborted<T>(signal: AbortSignal, work: Promise<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    const stop = () => setTimeout(() => reject(signal.reason), LAST_WORDS_MS);
    if (signal.aborted) stop();
    else signal.addEventListener("abort", stop, { once: true });
    work.then(resolve, reject).finally(() => signal.removeEventListener("abort", stop));
  });
}

/** A sleep that others may end early: for loops that poll and are sometimes notified. */
export class WakeableSleep {
  private waker: (() => void) | null = null;

  /** Ends the current sleep, if there is one. */
  nudge(): void {
    this.waker?.();
  }

  /** Resolves after `ms`, when nudged, or when the signal is aborted. */
  sleep(ms: number, signal: AbortSignal): Promise<void> {
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
