// A reader in its own thread: one connection, one read transaction at a time, ranges of rows out. The thread
// only reads; it never writes to the file. Flow control is by credits: at most `CREDITS` chunks are on their
// way at any moment, so that memory stays bounded when PostgreSQL is slower than SQLite.
import { parentPort, workerData } from "node:worker_threads";
import type Database from "better-sqlite3";
import { mappingFromJson } from "../../mapping/mapping.js";
import type { Chunk, Range, RefusedRow } from "../store.js";
import { openSqlite } from "./connection.js";
import { readRange } from "./range-reader.js";

export interface WorkerData {
  readonly file: string;
  /** Mappings as JSON text, by table name. */
  readonly mappings: Readonly<Record<string, string>>;
}

export type Request =
  | { readonly kind: "begin" }
  | { readonly kind: "end" }
  | { readonly kind: "read"; readonly range: Range }
  | { readonly kind: "credit" }
  | { readonly kind: "cancel" };

export type Reply =
  | { readonly kind: "begun"; readonly position: number }
  | { readonly kind: "ended" }
  | {
      readonly kind: "chunk";
      readonly csv: Uint8Array;
      readonly rows: number;
      readonly refused: readonly RefusedRow[];
    }
  | { readonly kind: "done" }
  | { readonly kind: "failed"; readonly message: string; readonly code: string | null };

/** Chunks of half a megabyte: four a reader keep both sides busy. */
export const CREDITS = 4;

const port = parentPort;
if (port) serve(port, workerData as WorkerData);

function serve(port: NonNullable<typeof parentPort>, data: WorkerData): void {
  let opened: Database.Database | null = null;
  let reading: Generator<Chunk> | null = null;
  let credits = CREDITS;
  const send = (reply: Reply, transfer: ArrayBuffer[] = []) => port.postMessage(reply, transfer);

  const pump = () => {
    while (reading && credits > 0) {
      const next = reading.next();
      if (next.done) {
        reading = null;
        send({ kind: "done" });
        return;
      }
      credits--;
      const { csv, rows, refused } = next.value;
      // Handed over, not copied, where the chunk has its memory to itself.
      const alone = csv.byteOffset === 0 && csv.byteLength === csv.buffer.byteLength;
      const own = alone ? new Uint8Array(csv.buffer) : new Uint8Array(csv);
      send({ kind: "chunk", csv: own, rows, refused }, [own.buffer as ArrayBuffer]);
    }
  };

  port.on("message", (request: Request) => {
    try {
      opened ??= open(data.file);
      const db = opened;
      switch (request.kind) {
        case "begin":
          send({ kind: "begun", position: begin(db) });
          return;
        case "end":
          if (db.inTransaction) db.exec("ROLLBACK");
          send({ kind: "ended" });
          return;
        case "read": {
          const json = data.mappings[request.range.table];
          if (json === undefined) throw new Error(`no mapping for table ${request.range.table}`);
          reading = readRange(db, mappingFromJson(JSON.parse(json)), request.range);
          credits = CREDITS;
          pump();
          return;
        }
        case "credit":
          credits++;
          pump();
          return;
        case "cancel":
          reading?.return(undefined);
          reading = null;
          return;
      }
    } catch (error) {
      reading = null;
      const code = (error as { code?: unknown }).code;
      send({
        kind: "failed",
        message: (error as Error).message,
        code: typeof code === "string" ? code : null,
      });
    }
  });
}

function open(file: string): Database.Database {
  const db = openSqlite(file, { readonly: true });
  // Every page is read once, in order: a cache would only cost memory.
  db.pragma("cache_size = -2000");
  return db;
}

/** Starts a read transaction and reads the log's end in it, which makes the transaction real. */
export function begin(db: Database.Database): number {
  if (db.inTransaction) db.exec("ROLLBACK");
  db.exec("BEGIN");
  return Number(db.prepare("SELECT coalesce(max(seq), 0) FROM _switchback_log").pluck().get());
}
