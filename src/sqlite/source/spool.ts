// A spool: bytes written once and read back once or more, in memory while they are few and in a temporary
// file when they are many. With it a wide window is read from SQLite in one short transaction. The window
// neither fills the memory, nor keeps the transaction open while PostgreSQL is busy.
import { closeSync, createReadStream, mkdtempSync, openSync, rmSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { SwitchbackError } from "../../errors.js";
import type { Rows } from "../../protocol/contract.js";

/** A table may have two spools open: together they stay well below the memory limit. */
const MEMORY_BYTES = 8 * 1024 * 1024;

const PIECE_BYTES = 256 * 1024;

export class Spool {
  private held: Uint8Array[] = [];
  private heldBytes = 0;
  private count = 0;
  private descriptor: number | null = null;

  write(bytes: Uint8Array, rows: number): void {
    this.held.push(bytes);
    this.heldBytes += bytes.length;
    this.count += rows;
    if (this.heldBytes > MEMORY_BYTES) this.spill();
  }

  rows(): Rows {
    return { kind: "csv", rows: this.count, chunks: () => this.read() };
  }

  dispose(): void {
    if (this.descriptor !== null) closeSync(this.descriptor);
    this.descriptor = null;
    this.held = [];
  }

  private spill(): void {
    try {
      this.descriptor ??= openNameless();
      for (const bytes of this.held) {
        for (let at = 0; at < bytes.length; ) at += writeSync(this.descriptor, bytes, at);
      }
    } catch (error) {
      throw new SwitchbackError("TEMPORARY_FILES", (error as Error).message, {}, { cause: error });
    }
    this.held = [];
    this.heldBytes = 0;
  }

  /** Joins small pieces: each would otherwise become its own message. */
  private *pieces(): Generator<Uint8Array> {
    let batch: Uint8Array[] = [];
    let bytes = 0;
    for (const piece of this.held) {
      batch.push(piece);
      bytes += piece.length;
      if (bytes < PIECE_BYTES) continue;
      yield Buffer.concat(batch);
      batch = [];
      bytes = 0;
    }
    if (bytes > 0) yield Buffer.concat(batch);
  }

  private async *read(): AsyncGenerator<Uint8Array> {
    if (this.descriptor !== null) {
      yield* createReadStream("", {
        fd: this.descriptor,
        start: 0,
        autoClose: false,
        highWaterMark: 1024 * 1024,
      });
    }
    yield* this.pieces();
  }
}

/** An open file without a name, so that nothing is left behind however the process ends. */
function openNameless(): number {
  const folder = mkdtempSync(join(tmpdir(), "switchback-"));
  const descriptor = openSync(join(folder, "spool"), "w+", 0o600);
  rmSync(folder, { recursive: true, force: true });
  return descriptor;
}
