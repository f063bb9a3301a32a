// Transactions that need locks of the application's tables. Other sessions queue behind a request for a lock, so the
// request ends soon and is made again after a pause.
import type pg from "pg";
import { type LockWait, retryOnLock } from "../retry.js";
import { sqlState } from "./connection.js";

/** lock_not_available, deadlock_detected, serialization_failure. */
const LOCKED = /^(55P03|40P01|40001)$/;

/** Runs `work`, which begins a transaction with a lock_timeout of its own; each try that fails is rolled back. */
export function retryTransaction(
  client: pg.ClientBase,
  wait: Omit<LockWait, "locked">,
  work: () => Promise<void>,
): Promise<void> {
  const attempt = async () => {
    try {
      await work();
    } catch (error) {
      await client.query("ROLLBACK").catch(() => {});
      throw error;
    }
  };
  return retryOnLock(attempt, { ...wait, locked: (error) => LOCKED.test(sqlState(error) ?? "") });
}
