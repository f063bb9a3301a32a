// Our own write transactions: which of them survive a power cut, and how they get the lock beside a busy
// application. They try for short times, so that the event loop keeps running.
import type Database from "better-sqlite3";
import { retryOnLock } from "../retry.js";

/** One attempt; waiting for a lock blocks this process. */
const TRY_MS = 10;
const PAUSE_MS = 1;

/**
 * From now on a commit on this connection outlives a power cut. With a rollback journal the commit is the journal's
 * removal, which FULL does not wait for and EXTRA does; in WAL mode they are the same.
 */
export function durableCommits(db: Database.Database): void {
  db.pragma("synchronous = EXTRA");
}

/** Waiting for a lock blocks this process, so waits are short and repeated, except at a start. */
export function waitFor(ms: number, ...connections: readonly Database.Database[]): void {
  for (const db of connections) if (db.open) db.pragma(`busy_timeout = ${ms}`);
}

/**
 * Commits of a long-lived connection that may be lost: in WAL mode they do not hold the write lock while the
 * disk syncs.
 */
export function relaxedCommits<T>(db: Database.Database, work: () => T): T {
  // With a rollback journal a lower setting could damage the file.
  if (db.pragma("journal_mode", { simple: true }) !== "wal") return work();
  db.pragma("synchronous = NORMAL");
  try {
    return work();
  } finally {
    durableCommits(db);
  }
}

/**
 * Runs `work` in a BEGIN IMMEDIATE transaction; `work` must not be asynchronous.
 * @throws the signal's reason, naming the lock, when it is aborted before it has the lock; or the error of
 * `work`
 */
export async function withWriteLock<T>(
  db: Database.Database,
  signal: AbortSignal,
  work: () => T,
): Promise<T> {
  const patienceMs = Number(db.pragma("busy_timeout", { simple: true }));
  db.pragma(`busy_timeout = ${TRY_MS}`);
  try {
    const wait = { locked: isBusy, pauseMs: () => PAUSE_MS, signal, gaveUp: waited };
    return await retryOnLock<T>(() => db.transaction(work).immediate(), wait);
  } finally {
    if (db.open) db.pragma(`busy_timeout = ${patienceMs}`);
  }
}

function waited(reason: unknown): Error {
  const message = reason instanceof Error ? reason.message : String(reason);
  return new Error(`${message}: another connection holds the file's write lock`, { cause: reason });
}

/** True for SQLite's own errors and for what connection.ts makes of them. */
export function isBusy(error: unknown): boolean {
  return /^SQLITE_BUSY/.test(String((error as { code?: unknown } | null)?.code));
}
