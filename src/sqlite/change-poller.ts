// Knows when the file may have changed. `PRAGMA data_version` on a connection that stays open is the truth and
// costs microseconds, so it is polled; file events only wake the poll early, because they come late, come
// debounced, or on some platforms and mounts never come at all.
import { basename, dirname } from "node:path";
import type Database from "better-sqlite3";
import { type FSWatcher, watch } from "chokidar";
import { WakeableSleep } from "../retry.js";

/** While changes keep coming the poll runs at timer speed; it slows down step by step when they stop. */
const PACE: readonly { readonly quietMs: number; readonly pollMs: number }[] = [
  { quietMs: 2_000, pollMs: 1 },
  { quietMs: 30_000, pollMs: 5 },
  { quietMs: Number.POSITIVE_INFINITY, pollMs: 20 },
];

export class ChangePoller {
  private readonly version: Database.Statement<unknown[]>;
  private readonly events: FSWatcher;
  private seen: unknown;
  private changedAtMs = performance.now();
  private readonly nap = new WakeableSleep();

  constructor(db: Database.Database, file: string) {
    this.version = db.prepare<unknown[]>("PRAGMA data_version").pluck();
    this.seen = this.version.get();
    // The folder, because -wal and -journal come and go.
    const name = basename(file);
    this.events = watch(dirname(file), {
      depth: 0,
      ignoreInitial: true,
      ignored: (path) => path !== dirname(file) && !basename(path).startsWith(name),
    });
    this.events.on("all", () => this.nap.nudge());
    // Too many watches, a file system without events: the poll does without them.
    this.events.on("error", () => {});
  }

  /** Milliseconds since another connection was last seen to commit. */
  get quietMs(): number {
    return performance.now() - this.changedAtMs;
  }

  /** Resolves once another connection has committed, or after `ms`; at once when the signal is aborted. */
  async changed(ms: number, signal: AbortSignal): Promise<void> {
    const until = performance.now() + ms;
    while (!signal.aborted) {
      const version = this.look();
      if (version !== this.seen) {
        this.seen = version;
        this.changedAtMs = performance.now();
        return;
      }
      const left = until - performance.now();
      if (left <= 0) return;
      const pace = PACE.find(({ quietMs }) => this.quietMs < quietMs);
      await this.nap.rest(Math.min(left, pace?.pollMs ?? 20), signal);
    }
  }

  /** What was seen last, while a writer in rollback-journal mode locks everybody out. */
  private look(): unknown {
    try {
      return this.version.get();
    } catch (error) {
      if (/^SQLITE_BUSY/.test(String((error as { code?: unknown }).code))) return this.seen;
      throw error;
    }
  }

  async close(): Promise<void> {
    await this.events.close();
  }
}
