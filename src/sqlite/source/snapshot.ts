// A snapshot: several reader threads and the main connection, all in read transactions that see one position. No
// locks are taken for that. Each reader begins on its own and reads the log's end; those that are behind begin again
// until all agree. Equal positions mean equal captured content, because every captured write advances the position.
import { Worker } from "node:worker_threads";
import Database from "better-sqlite3";
import { at } from "../../present.js";
import type { Position, Range, RangeReading, Scope, Snapshot, Window } from "../../protocol/contract.js";
import { begin, type ReaderReply, type ReaderRequest, type WorkerData } from "./reader-worker.js";

/** Attempts to agree on one position before giving up; each takes well under a millisecond. */
const ATTEMPTS = 2_000;

/** A request with one reply. */
type Question =
  | { readonly kind: "begin" }
  | { readonly kind: "end" }
  | { readonly kind: "count"; readonly table: string };

/** One request and its replies; replies to other requests never get here. */
class Exchange {
  private readonly inbox: ReaderReply[] = [];
  private wake: (() => void) | null = null;
  private failure: Error | null = null;

  constructor(readonly id: number) {}

  deliver(reply: ReaderReply): void {
    this.inbox.push(reply);
    this.wake?.();
  }

  /** No more replies will come; every waiting caller gets the reason. */
  fail(error: Error): void {
    this.failure ??= error;
    this.wake?.();
  }

  async next(): Promise<ReaderReply> {
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
}

/**
 * A thread that reads; requests are answered in order, one at a time. A cancelled request is over for this side
 * immediately: its replies that are still in flight are dropped on arrival.
 */
export class Reader {
  private readonly worker: Worker;
  private exchange = new Exchange(0);
  private failure: Error | null = null;

  constructor(data: WorkerData) {
    this.worker = new Worker(new URL("./reader-worker.js", import.meta.url), {
      workerData: data,
      // A reader holds a few chunks only; by default the thread would reserve ten times that memory.
      resourceLimits: { maxYoungGenerationSizeMb: 8 },
    });
    this.worker.unref();
    this.worker.on("message", (reply: ReaderReply) => {
      if (reply.id === this.exchange.id) this.exchange.deliver(reply);
    });
    this.worker.on("error", (error) => this.fail(error as Error));
    this.worker.on("exit", () => this.fail(new Error("a reader thread ended")));
  }

  private fail(error: Error): void {
    this.failure ??= error;
    this.exchange.fail(this.failure);
  }

  private post(request: ReaderRequest): void {
    this.worker.postMessage(request);
  }

  /** Begins a new exchange; the previous one is over. */
  private open(): Exchange {
    this.exchange.fail(new Error("a reader was asked for something else"));
    this.exchange = new Exchange(this.exchange.id + 1);
    if (this.failure) this.exchange.fail(this.failure);
    return this.exchange;
  }

  private async ask<K extends ReaderReply["kind"]>(
    question: Question,
    answer: K,
  ): Promise<Extract<ReaderReply, { kind: K }>> {
    const exchange = this.open();
    this.post({ id: exchange.id, ...question });
    const reply = await exchange.next();
    if (reply.kind !== answer) throw new Error(`a reader answered ${reply.kind} to ${question.kind}`);
    return reply as Extract<ReaderReply, { kind: K }>;
  }

  async begin(): Promise<Position> {
    return (await this.ask({ kind: "begin" }, "begun")).position;
  }

  async end(): Promise<void> {
    await this.ask({ kind: "end" }, "ended");
  }

  async count(table: string): Promise<number> {
    return (await this.ask({ kind: "count", table }, "tallied")).rows;
  }

  async *read(range: Range): RangeReading {
    const exchange = this.open();
    const { id } = exchange;
    this.post({ id, kind: "read", range });
    let finished = false;
    try {
      for (;;) {
        const reply = await exchange.next();
        if (reply.kind === "done") {
          finished = true;
          return reply.counted;
        }
        if (reply.kind !== "chunk") throw new Error(`a reader answered ${reply.kind} to read`);
        yield { csv: reply.csv, rows: reply.rows, refused: reply.refused };
        this.post({ id, kind: "credit" });
      }
    } finally {
      if (!finished) this.post({ id, kind: "cancel" });
    }
  }

  async close(): Promise<void> {
    await this.worker.terminate();
  }
}

/** Brings the main connection and `readers` to one position and returns the snapshot. */
export async function pin(
  db: Database.Database,
  readers: readonly Reader[],
  window: (after: Position, to: Position, scope: Scope) => Promise<Window>,
): Promise<Snapshot> {
  try {
    return pinned(db, readers, await meetAt(db, readers), window);
  } catch (error) {
    // A reader that began and waits for the others would keep a writer out.
    if (db.inTransaction) db.exec("ROLLBACK");
    await Promise.allSettled(readers.map((reader) => reader.end()));
    throw error;
  }
}

/** Begins reading on every connection until all see one position. */
async function meetAt(db: Database.Database, readers: readonly Reader[]): Promise<Position> {
  const positions = await allBegun(readers);
  let own = begin(db);
  for (let attempt = 0; ; attempt++) {
    const newest = Math.max(own, ...positions);
    const behind = readers.map((_, i) => i).filter((i) => (positions[i] ?? 0) < newest);
    if (behind.length === 0 && own === newest) return own;
    if (attempt === ATTEMPTS)
      throw new Database.SqliteError("the readers could not meet at one position", "SQLITE_BUSY");
    const begun = await allBegun(behind.map((i) => at(readers, i, "reader")));
    for (const [n, i] of behind.entries()) positions[i] = at(begun, n, "position");
    if (own < newest) own = begin(db);
  }
}

/** Their positions. All have answered before the first failure is thrown. */
async function allBegun(readers: readonly Reader[]): Promise<Position[]> {
  const begun = await Promise.allSettled(readers.map((reader) => reader.begin()));
  return begun.map((one) => {
    if (one.status === "rejected") throw one.reason;
    return one.value;
  });
}

function pinned(
  db: Database.Database,
  readers: readonly Reader[],
  own: Position,
  window: (after: Position, to: Position, scope: Scope) => Promise<Window>,
): Snapshot {
  let released = false;
  let main = true;
  const letMainGo = () => {
    if (main && db.inTransaction) db.exec("ROLLBACK");
    main = false;
  };
  return {
    position: own,
    readers: readers.length,
    window: (after, scope) => window(after, own, scope),
    read(reader, range) {
      const chosen = readers[reader];
      if (!chosen) throw new Error(`there is no reader ${reader}`);
      return chosen.read(range);
    },
    leaveToReaders: letMainGo,
    count: (tables) => countAll(readers, tables),
    async release() {
      if (released) return;
      released = true;
      letMainGo();
      await Promise.all(readers.map((reader) => reader.end()));
    },
  };
}

/** Each reader takes the next table as soon as it has finished one. */
async function countAll(
  readers: readonly Reader[],
  tables: readonly string[],
): Promise<ReadonlyMap<string, number>> {
  const waiting = [...tables];
  const counts = new Map<string, number>();
  const work = async (reader: Reader) => {
    for (let table = waiting.shift(); table !== undefined; table = waiting.shift())
      counts.set(table, await reader.count(table));
  };
  await Promise.all(readers.map(work));
  return counts;
}
