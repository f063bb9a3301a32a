// A reader in its own thread: one connection, one read transaction at a time, ranges of rows out. The thread
// only reads; it never writes to the file. Flow control uses credits: at most `CREDITS` chunks are in flight
// at any moment, so that memory stays bounded when PostgreSQL is slower than SQLite.
//
// Every request has an id, and every reply names its request. A read may be cancelled while its chunks are in
// flight. Credits and a cancellation name their read too, so that none of them affects the next.
import { parentPort, workerData } from "node:worker_threads";
import type Database from "better-sqlite3";
import { mappingFromJson, type TableMapping } from "../../mapping/mapping.js";
import type { Chunk, Counted, Range, RefusedRow } from "../../protocol/contract.js";
import { openSqlite } from "../connection.js";
import { preparedValue } from "../statements.js";
import { waitFor } from "../transaction.js";
import { readRange } from "./range-reader.js";
import { countKeyed } from "./ranges.js";

export interface WorkerData {
  readonly file: string;
  /** Mappings as JSON text, by table name. */
  readonly mappings: Readonly<Record<string, string>>;
  /** How long a lock is waited for; null for the usual time. */
  readonly patienceMs: number | null;
}

export type ReaderRequest = { readonly id: number } & (
  | { readonly kind: "begin" }
  | { readonly kind: "end" }
  | { readonly kind: "count"; readonly table: string }
  | { readonly kind: "read"; readonly range: Range }
  | { readonly kind: "credit" }
  | { readonly kind: "cancel" }
);

export type ReaderReply = { readonly id: number } & (
  | { readonly kind: "begun"; readonly position: number }
  | { readonly kind: "ended" }
  | { readonly kind: "tallied"; readonly rows: number }
  | {
      readonly kind: "chunk";
      readonly csv: Uint8Array;
      readonly rows: number;
      readonly refused: readonly RefusedRow[];
    }
  | { readonly kind: "done"; readonly counted: Counted }
  | { readonly kind: "failed"; readonly message: string; readonly code: string | null }
);

/** Chunks of half a megabyte: four per reader keep both sides busy. */
const CREDITS = 4;

const port = parentPort;
if (port) serve(port, workerData as WorkerData);

/** The read in progress. */
interface Underway {
  readonly id: number;
  readonly chunks: Generator<Chunk, Counted>;
  credits: number;
}

function serve(port: NonNullable<typeof parentPort>, data: WorkerData): void {
  let opened: Database.Database | null = null;
  let reading: Underway | null = null;
  const send = (reply: ReaderReply, transfer: ArrayBuffer[] = []) => port.postMessage(reply, transfer);

  const giveUp = () => {
    reading?.chunks.return({ rows: 0, refused: 0 });
    reading = null;
  };

  const pump = () => {
    while (reading && reading.credits > 0) {
      const { id, chunks } = reading;
      const next = chunks.next();
      if (next.done) {
        reading = null;
        send({ id, kind: "done", counted: next.value });
        return;
      }
      reading.credits--;
      const { csv, rows, refused } = next.value;
      // Transferred, not copied, where the chunk owns its whole buffer.
      const alone = csv.byteOffset === 0 && csv.byteLength === csv.buffer.byteLength;
      const own = alone ? new Uint8Array(csv.buffer) : new Uint8Array(csv);
      send({ id, kind: "chunk", csv: own, rows, refused }, [own.buffer as ArrayBuffer]);
    }
  };

  const answer = (db: Database.Database, request: ReaderRequest) => {
    const { id } = request;
    switch (request.kind) {
      case "begin":
        giveUp();
        send({ id, kind: "begun", position: begin(db) });
        return;
      case "end":
        giveUp();
        if (db.inTransaction) db.exec("ROLLBACK");
        send({ id, kind: "ended" });
        return;
      case "count":
        giveUp();
        send({ id, kind: "tallied", rows: countKeyed(db, mappingOf(data, request.table).table) });
        return;
      case "read":
        giveUp();
        reading = {
          id,
          chunks: readRange(db, mappingOf(data, request.range.table), request.range),
          credits: CREDITS,
        };
        pump();
        return;
      case "credit":
        if (reading?.id !== id) return;
        reading.credits++;
        pump();
        return;
      case "cancel":
        if (reading?.id === id) giveUp();
        return;
    }
  };

  port.on("message", (request: ReaderRequest) => {
    try {
      opened ??= open(data);
      answer(opened, request);
    } catch (error) {
      reading = null;
      const code = (error as { code?: unknown }).code;
      send({
        id: request.id,
        kind: "failed",
        message: (error as Error).message,
        code: typeof code === "string" ? code : null,
      });
    }
  });
}

function mappingOf(data: WorkerData, table: string): TableMapping {
  const json = data.mappings[table];
  if (json === undefined) throw new Error(`no mapping for table ${table}`);
  return mappingFromJson(JSON.parse(json));
}

function open({ file, patienceMs }: WorkerData): Database.Database {
  const db = openSqlite(file, { readonly: true });
  if (patienceMs !== null) waitFor(patienceMs, db);
  // Every page is read once, in order: a cache would only use memory.
  db.pragma("cache_size = -2000");
  return db;
}

/** Starts a read transaction and reads the log's end, because SQLite takes the snapshot at the first read. */
export function begin(db: Database.Database): number {
  if (db.inTransaction) db.exec("ROLLBACK");
  db.exec("BEGIN");
  return Number(preparedValue(db, "SELECT coalesce(max(seq), 0) FROM _switchback_log").get());
}
