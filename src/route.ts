// The route file: where writes go now, for applications that watch a file. Replaced atomically and durably, so
// that a reader never sees half of it.
import { closeSync, fsyncSync, mkdirSync, openSync, readFileSync, renameSync, writeSync } from "node:fs";
import { dirname } from "node:path";
import type { Route } from "./status.js";

/** `durable` waits for the disk; in the pause of a flip nobody has time for that, and it is done again afterwards. */
export function publishRoute(file: string, route: Route, durable: boolean): void {
  const text = `${JSON.stringify(route)}\n`;
  try {
    if (!durable && readFileSync(file, "utf8") === text) return;
  } catch {
    // Not there yet.
  }
  mkdirSync(dirname(file), { recursive: true });
  const next = `${file}.${process.pid}.tmp`;
  const descriptor = openSync(next, "w", 0o644);
  try {
    writeSync(descriptor, text);
    if (durable) fsyncSync(descriptor);
  } finally {
    closeSync(descriptor);
  }
  renameSync(next, file);
}
