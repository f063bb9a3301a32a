// A snapshot: several reader threads and the main connection, all in read transactions that see one position.
// Nobody locks anything to get there. Each begins on its own and reads the log's end; those that are behind
// begin again until all agree. Equal positions mean equal captured content, because every captured write
// moves the position.
import { Worker } from "node:worker_threads";
import Database from "better-sqlite3";
import type { Chunk, Position, Range, Scope, Snapshot, Window } from "../store.js";
import { begin, type Reply, type Request, type WorkerData } from "./reader-worker.js";

/** Attempts to meet at one position before giving up; each takes well under a millisecond. */
const ATTEMPTS = 2_000;

/** A thread that reads; requests are answered in order, one at a time. */
export class Reader {
  private readonly worker: Worker;
  private readonly inbox: Reply[] = [];
  private wake: (() => void) | null = null;
  private failure: Error | null = null;

  constructor(data: WorkerData) {
    this.worker = new Worker(new URL("./reader-worker.js", import.meta.url), {
      workerData: data,
      // A reader holds a few chunks and nothing else; left alone it would reserve ten times that.
      resourceLimits: { maxYoungGenerationSizeMb: 8 },
    });
    this.worker.unref();
    this.worker.on("message", (reply: Reply) => {
      this.inbox.push(reply);
      this.wake?.();
    });
    this.worker.on("error", (error) => this.fail(error as Error));
    this.worker.on("exit", () => this.fail(new Error("a reader thread ended")));
  }

  private fail(error: Error): void {
    this.failure ??= error;
    this.wake?.();
  }

  private post(request: Request): void {
    this.worker.postMessage(request);
  }

  private async next(): Promise<Reply> {
    for (;;) {
      const reply = this.inbox.shift();
      if (reply) {
        if (reply.kind === "failed")
          throw new Database.SqliteError(reply.message, reply.code ?? "SQLITE_ERROR");
        return reply;
      }
      if (this.failure) throw this.failure;
      await new Promise<void>((resolve) => {
        this.wake = resolve;
      });
      this.wake = null;
    }
  }

  async begin(): Promise<Position> {
    this.post({ kind: "begin" });
    const reply = await this.next();
    if (reply.kind !== "begun") throw new Error(`a reader answered ${reply.kind} to begin`);
    return reply.position;
  }

  async end(): Promise<void> {
    this.post({ kind: "end" });
    while ((await this.next()).kind !== "ended") {
      // Chunks that were still on their way when a range was given up.
    }
  }

  async *read(range: Range): AsyncGenerator<Chunk> {
    this.post({ kind: "read", range });
    let finished = false;
    try {
      for (;;) {
        const reply = await this.next();
        if (reply.kind === "done") {
          finished = true;
          return;
        }
        if (reply.kind !== "chunk") throw new Error(`a reader answered ${reply.kind} to read`);
        yield { csv: reply.csv, rows: reply.rows, refused: reply.refused };
        this.post({ kind: "credit" });
      }
    } finally {
      if (!finished) this.post({ kind: "cancel" });
    }
  }

  async close(): Promise<void> {
    await this.worker.terminate();
  }
}

/** Brings the main connection and `readers` to one position and hands out the snapshot. */
export async function pin(
  db: Database.Database,
  readers: readonly Reader[],
  window: (after: Position, to: Position, scope: Scope) => Promise<Window>,
): Promise<Snapshot> {
  const positions = await Promise.all(readers.map((reader) => reader.begin()));
  let own = begin(db);
  for (let attempt = 0; ; attempt++) {
    const newest = Math.max(own, ...positions);
    const behind = readers.map((_, i) => i).filter((i) => (positions[i] ?? 0) < newest);
    if (behind.length === 0 && own === newest) break;
    if (attempt === ATTEMPTS) {
      db.exec("ROLLBACK");
      throw new Database.SqliteError("the readers could not meet at one position", "SQLITE_BUSY");
    }
    await Promise.all(
      behind.map(async (i) => {
        const reader = readers[i];
        if (reader) positions[i] = await reader.begin();
      }),
    );
    if (own < newest) own = begin(db);
  }
  let released = false;
  return {
    position: own,
    readers: readers.length,
    window: (after, scope) => window(after, own, scope),
    read(reader, range) {
      const chosen = readers[reader];
      if (!chosen) throw new Error(`there is no reader ${reader}`);
      return chosen.read(range);
    },
    async release() {
      if (released) return;
      released = true;
      if (db.inTransaction) db.exec("ROLLBACK");
      await Promise.all(readers.map((reader) => reader.end()));
    },
  };
}
