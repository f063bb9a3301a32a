// What a handle counts. Plain numbers since `connect`, for the application to export as it likes.
import type { ErrorVerdict, StoreName } from "./errors.js";

export interface StoreMetrics {
  /** Statements that only read, outside of transactions. */
  queries: number;
  /** Committed statements that write, outside of transactions. */
  writes: number;
  /** Committed calls of `transaction`. */
  transactions: number;
  /** Attempts that were thrown away and made again, for any reason. */
  retries: number;
  /** How often this store refused because the writes were elsewhere. */
  fences: number;
  /** Lost connections. */
  lost: number;
  /** Errors that the caller saw; not those that a function of the caller's threw itself. */
  errors: number;
}

export interface Metrics {
  readonly sqlite: StoreMetrics;
  readonly postgres: StoreMetrics;
  /** Waiting for the route: how often, how long altogether, the longest, how many wait now or gave up waiting. */
  readonly waits: { count: number; totalMs: number; longestMs: number; now: number; timeouts: number };
  /** How often the route was seen to move to the other store. */
  moves: number;
  /** Commits whose outcome had to be asked for. */
  outcomesAsked: number;
  /** Of those, the ones that could not be resolved. */
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

/** An attempt in `name` failed and will be made again. */
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
