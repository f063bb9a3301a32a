// The route file: where writes go now, for applications that watch a file. Replaced atomically and durably, so
// that a reader never sees half of it.
import { closeSync, fsyncSync, mkdirSync, openSync, readFileSync, renameSync, writeSync } from "node:fs";
import { dirname } from "node:path";
import { SwitchbackError } from "./errors.js";
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

/** The route as it was published last; null where there is none, or none that can be read. */
export function readRoute(file: string): Route | null {
  try {
    return JSON.parse(readFileSync(file, "utf8")) as Route;
  } catch {
    return null;
  }
}

/**
 * A file that sent the application to PostgreSQL is never turned back by stores that know of no such flip: after
 * `teardown --keep postgres` the SQLite file is old and takes writes again. @throws SwitchbackError ROUTE_AHEAD
 */
export function refuseToForget(file: string, found: Route): void {
  const published = readRoute(file);
  if (published?.writes !== "postgres" || found.writes === "postgres" || published.epoch <= found.epoch)
    return;
  throw new SwitchbackError(
    "ROUTE_AHEAD",
    `the route file ${file} sends writes to PostgreSQL (epoch ${published.epoch}), but the stores record no such flip, as after \`teardown --keep postgres\``,
    { file },
  );
}
