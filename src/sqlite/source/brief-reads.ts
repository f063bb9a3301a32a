// Patience where the file has a rollback journal: a writer keeps readers out for moments, and a read is tried again in
// the writer's rests.
import { retryOnLock } from "../../retry.js";
import { isBusy } from "../transaction.js";

/**
 * One try. SQLite looks again after ever longer pauses, up to a tenth of a second: a busy writer's rests are met by
 * short tries.
 */
export const READ_TRY_MS = 50;
const PAUSE_MS = 5;
const PATIENCE_MS = 10_000;

/** Between tries the event loop runs. */
export function whenReadable<T>(work: () => Promise<T>): Promise<T> {
  return retryOnLock(work, { locked: isBusy, pauseMs: () => PAUSE_MS, waitMaxMs: PATIENCE_MS });
}

/** For reads and whole transactions: what met a lock has done nothing, and is done again. */
export function untilFree<T>(ms: number, work: () => T): T {
  const untilMs = performance.now() + ms;
  for (;;) {
    try {
      return work();
    } catch (error) {
      if (!isBusy(error) || performance.now() > untilMs) throw error;
    }
  }
}
