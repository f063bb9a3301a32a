// One sidecar per SQLite file, whichever PostgreSQL it copies to: a lock that the operating system releases
// with the process. It is SQLite's own lock on a small database beside the file, never on the application's
// file, so it does not affect the application. The row in it names the holder, and stays readable while the
// lock is held.
import { realpathSync, rmSync, statSync } from "node:fs";
import { hostname } from "node:os";
import Database from "better-sqlite3";
import { SwitchbackError, type Where } from "../errors.js";
import { pause } from "../retry.js";
import { sqliteError } from "./connection.js";

interface Holder {
  readonly host: string;
  readonly pid: number;
  /** The database that it copies to. */
  readonly address: string;
  readonly place: string | null;
  readonly since: string;
}

/** A killed process releases the lock immediately; one that is stopping may take a moment. */
const PATIENCE_MS = 2_000;
const LOOK_MS = 50;
/** A frozen process keeps the lock; the sidecar that took over from it takes the lock when that process ends. */
const AGAIN_MS = 2_000;

const SCHEMA =
  "CREATE TABLE IF NOT EXISTS holder (host TEXT, pid INTEGER, address TEXT, place TEXT, since TEXT)";

function lockFileOf(file: string): string {
  return `${realpathSync(file)}-switchback`;
}

class FileLock {
  private readonly path: string;
  private db: Database.Database | null = null;
  private timer: NodeJS.Timeout | undefined;

  private constructor(
    file: string,
    private readonly me: Holder,
  ) {
    this.path = lockFileOf(file);
  }

  /**
   * Takes the lock. A holder that copies to the same database is tolerated. PostgreSQL's lock is held here,
   * so that holder was frozen or cut off, and the owner check refuses its writes.
   * @throws SwitchbackError SOURCE_TAKEN
   */
  static async take(file: string, me: Holder, where: Where): Promise<FileLock> {
    const lock = new FileLock(file, me);
    const acquired = () => {
      try {
        return lock.acquire();
      } catch (error) {
        throw sqliteError(error, { ...where, file: lock.path });
      }
    };
    for (const until = performance.now() + PATIENCE_MS; !acquired(); await pause(LOOK_MS)) {
      if (performance.now() < until) continue;
      const holder = lock.holder();
      if (holder && sameDatabase(holder, me)) {
        lock.timer = setInterval(() => lock.again(), AGAIN_MS).unref();
        return lock;
      }
      throw new SwitchbackError(
        "SOURCE_TAKEN",
        `${file}: another sidecar follows it: ${described(holder)}`,
        where,
      );
    }
    return lock;
  }

  release(): void {
    clearInterval(this.timer);
    if (this.db === null) return;
    // Checked while the lock is held: a process that waited may have locked a file that was replaced
    // meanwhile.
    rmSync(this.path, { force: true });
    this.db.close();
    this.db = null;
  }

  private again(): void {
    try {
      if (this.acquire()) clearInterval(this.timer);
    } catch {
      // The folder has changed; opening the SQLite file reports the same problem.
    }
  }

  private acquire(): boolean {
    const before = inode(this.path);
    const db = new Database(this.path, { timeout: 0 });
    try {
      db.exec(`BEGIN IMMEDIATE; ${SCHEMA}; DELETE FROM holder`);
      const { host, pid, address, place, since } = this.me;
      db.prepare("INSERT INTO holder VALUES (?, ?, ?, ?, ?)").run(host, pid, address, place, since);
      // Committed, so that others can read it while the lock is held.
      db.exec("COMMIT; BEGIN IMMEDIATE");
      if (before !== null && before !== inode(this.path))
        throw new Database.SqliteError("moved", "SQLITE_BUSY");
      this.db = db;
      return true;
    } catch (error) {
      db.close();
      if (/^SQLITE_BUSY/.test(String((error as { code?: unknown }).code))) return false;
      throw error;
    }
  }

  private holder(): Holder | null {
    try {
      const db = new Database(this.path, { readonly: true, timeout: PATIENCE_MS });
      try {
        return (db.prepare("SELECT * FROM holder").get() ?? null) as Holder | null;
      } finally {
        db.close();
      }
    } catch {
      return null;
    }
  }
}

/** The locks of one sidecar's files. */
export class FileLocks {
  private held: FileLock[] = [];

  /** Takes all of them, once. @throws SwitchbackError SOURCE_TAKEN; none is held then */
  async take(
    sources: readonly { readonly name: string; readonly sqlite: string }[],
    { address, place }: Pick<Holder, "address" | "place">,
  ): Promise<void> {
    if (this.held.length > 0) return;
    const me = { host: hostname(), pid: process.pid, address, place, since: new Date().toISOString() };
    try {
      for (const { name, sqlite } of sources)
        this.held.push(await FileLock.take(sqlite, me, { source: name, file: sqlite }));
    } catch (error) {
      this.release();
      throw error;
    }
  }

  release(): void {
    for (const lock of this.held) lock.release();
    this.held = [];
  }
}

function sameDatabase(a: Holder, b: Holder): boolean {
  return a.place !== null && b.place !== null ? a.place === b.place : a.address === b.address;
}

function described(holder: Holder | null): string {
  if (!holder) return "it does not say which";
  return `process ${holder.pid} on ${holder.host}, which copies to ${holder.address}, since ${holder.since}`;
}

function inode(path: string): string | null {
  const stat = statSync(path, { throwIfNoEntry: false });
  return stat ? `${stat.dev}:${stat.ino}` : null;
}
