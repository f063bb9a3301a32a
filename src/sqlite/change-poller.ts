// Detects that the file may have changed. `PRAGMA data_version` on an open connection is reliable and costs
// microseconds, so it is polled. File events only wake the poll early: they come late or debounced, and on
// some platforms and mounts never.
import { existsSync } from "node:fs";
import type Database from "better-sqlite3";
import { type FSWatcher, watch } from "chokidar";
import { WakeableSleep } from "../retry.js";

/** While changes arrive the poll runs at timer speed; it slows down step by step when they stop. */
const BUSY_MS = 2_000;
const PACE: readonly { readonly quietMs: number; readonly pollMs: number }[] = [
  { quietMs: BUSY_MS, pollMs: 1 },
  { quietMs: 30_000, pollMs: 5 },
  { quietMs: Number.POSITIVE_INFINITY, pollMs: 20 },
];

export class ChangePoller {
  private readonly version: Database.Statement<unknown[]>;
  private events: FSWatcher | null = null;
  private seen: unknown;
  private changedAtMs = performance.now();
  private readonly nap = new WakeableSleep();

  constructor(
    db: Database.Database,
    private readonly file: string,
  ) {
    this.version = db.prepare<unknown[]>("PRAGMA data_version").pluck();
    this.seen = this.version.get();
  }

  /** Milliseconds since another connection last committed. */
  get quietMs(): number {
    return performance.now() - this.changedAtMs;
  }

  /** Resolves once another connection has committed, or after `ms`; immediately when the signal is aborted. */
  async changed(ms: number, signal: AbortSignal): Promise<void> {
    const until = performance.now() + ms;
    while (!signal.aborted) {
      const version = this.look();
      if (version !== this.seen) {
        this.seen = version;
        this.changedAtMs = performance.now();
        this.unwatch();
        return;
      }
      const left = until - performance.now();
      if (left <= 0) return;
      if (this.quietMs >= BUSY_MS) this.watch();
      const pace = PACE.find(({ quietMs }) => this.quietMs < quietMs);
      await this.nap.sleep(Math.min(left, pace?.pollMs ?? 20), signal);
    }
  }

  /**
   * The files themselves, not their folder: other files in it must not wake the poll. Only while it is quiet, because
   * a busy application writes several times per millisecond.
   */
  private watch(): void {
    if (this.events) return;
    // A file that does not exist would be watched through its folder.
    const files = [this.file, `${this.file}-wal`].filter((file) => existsSync(file));
    this.events = watch(files, { ignoreInitial: true, followSymlinks: true });
    this.events.on("all", () => this.nap.nudge());
    // Too many watches, or a file system without events: polling continues without them.
    this.events.on("error", () => {});
  }

  private unwatch(): void {
    this.events?.close().catch(() => {});
    this.events = null;
  }

  /** The last known version, while a writer in rollback-journal mode locks all others out. */
  private look(): unknown {
    try {
      return this.version.get();
    } catch (error) {
      if (/^SQLITE_BUSY/.test(String((error as { code?: unknown }).code))) return this.seen;
      throw error;
    }
  }

  async close(): Promise<void> {
    await this.events?.close();
  }
}
