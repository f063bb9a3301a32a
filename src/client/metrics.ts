// The counters of a handle: plain numbers since `connect`, for the application to export.
import type { ErrorVerdict, StoreName } from "./errors.js";

export interface StoreMetrics {
  /** Statements that only read, outside of transactions. */
  queries: number;
  /** Committed statements that write, outside of transactions. */
  writes: number;
  /** Committed calls of `transaction`. */
  transactions: number;
  /** Attempts that were discarded and repeated, for any reason. */
  retries: number;
  /** How often this store refused because the other one has the writes. */
  fences: number;
  /** Lost connections. */
  lost: number;
  /** Errors that the caller saw, except those that the caller's own function threw. */
  errors: number;
}

export interface Metrics {
  readonly sqlite: StoreMetrics;
  readonly postgres: StoreMetrics;
  /**
   * Waits for the route: how many, the total time, the longest, how many are in progress, and how many gave
   * up.
   */
  readonly waits: { count: number; totalMs: number; longestMs: number; now: number; timeouts: number };
  /** How often the route moved to the other store. */
  moves: number;
  /** Commits whose outcome had to be queried. */
  outcomesAsked: number;
  /** Of those, the ones without an answer. */
  outcomesUnknown: number;
}

const store = (): StoreMetrics => ({
  queries: 0,
  writes: 0,
  transactions: 0,
  retries: 0,
  fences: 0,
  lost: 0,
  errors: 0,
});

export function noMetrics(): Metrics {
  return {
    sqlite: store(),
    postgres: store(),
    waits: { count: 0, totalMs: 0, longestMs: 0, now: 0, timeouts: 0 },
    moves: 0,
    outcomesAsked: 0,
    outcomesUnknown: 0,
  };
}

/** An attempt in `name` failed and will be repeated. */
export function countRetry(metrics: Metrics, name: StoreName, verdict: ErrorVerdict): void {
  metrics[name].retries += 1;
  if (verdict === "fence") metrics[name].fences += 1;
  if (verdict === "lost") metrics[name].lost += 1;
}

/** Runs `wait` and counts it as time spent waiting for the route. */
export async function countWait<T>(metrics: Metrics, wait: () => Promise<T>): Promise<T> {
  const began = performance.now();
  metrics.waits.now += 1;
  try {
    return await wait();
  } finally {
    const ms = performance.now() - began;
    metrics.waits.now -= 1;
    metrics.waits.count += 1;
    metrics.waits.totalMs += ms;
    metrics.waits.longestMs = Math.max(metrics.waits.longestMs, ms);
  }
}
