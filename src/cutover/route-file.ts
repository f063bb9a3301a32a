// The route file: where writes go now, for applications that watch a file. Replaced atomically and durably, so
// that a reader never sees half of it.
import { closeSync, fsyncSync, mkdirSync, openSync, readFileSync, renameSync, writeSync } from "node:fs";
import { dirname } from "node:path";
import type { Logger } from "pino";
import { ERRORS, SwitchbackError } from "../errors.js";
import { Outage } from "../retry.js";
import type { Problem, Route } from "../status.js";
import { throughLinks } from "./flag-file.js";

/** `durable` waits for the disk; the pause of a flip has no time for that, and it is done again afterwards. */
function publishRoute(file: string, route: Route, durable: boolean): void {
  const text = `${JSON.stringify(route)}\n`;
  try {
    if (!durable && readFileSync(file, "utf8") === text) return;
  } catch {
    // Not there yet.
  }
  // Through a symbolic link: who reads its target must not be left with an old route.
  const place = throughLinks(file);
  mkdirSync(dirname(place), { recursive: true });
  const next = `${place}.${process.pid}.tmp`;
  const descriptor = openSync(next, "w", 0o644);
  try {
    writeSync(descriptor, text);
    if (durable) fsyncSync(descriptor);
  } finally {
    closeSync(descriptor);
  }
  renameSync(next, place);
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
 * A file that sent the application to PostgreSQL is never turned back by stores that know of no such flip. After
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

const LOOK_MS = 500;

/**
 * Keeps the route file true. A file that cannot be written, on a full disk for example, is tried again, and one that
 * was removed is put back. Otherwise applications would wait at a fence for a route that never comes.
 */
export class RouteFile {
  private readonly outage: Outage;
  private timer: NodeJS.Timeout | undefined;
  private failure: Problem | null = null;
  private route: Route | null = null;

  constructor(
    private readonly file: string,
    log: Logger,
  ) {
    this.outage = new Outage(log, "writing the route file");
  }

  /** Why applications cannot learn the route from the file, or null. */
  get problem(): Problem | null {
    return this.failure;
  }

  /** Never throws; from the first time on, the file is looked after. `durable` as in publishRoute. */
  publish(route: Route, durable: boolean): void {
    this.route = route;
    this.timer ??= setInterval(() => this.look(), LOOK_MS).unref();
    try {
      publishRoute(this.file, route, durable);
      this.outage.recovered();
      this.failure = null;
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      const message = `the route file ${this.file} cannot be written: ${code ?? String(error)}`;
      this.failure = { code: "ROUTE_UNWRITABLE", message, hint: ERRORS.ROUTE_UNWRITABLE.hint };
      this.outage.failed(new SwitchbackError("ROUTE_UNWRITABLE", message));
    }
  }

  close(): void {
    clearInterval(this.timer);
  }

  private look(): void {
    const { route } = this;
    if (!route) return;
    const found = readRoute(this.file);
    // A newer one is another sidecar's, which took over while this one could not notice.
    if (!this.failure && found && found.epoch > route.epoch) return;
    if (this.failure || found?.epoch !== route.epoch || found.writes !== route.writes)
      this.publish(route, true);
  }
}
