// Flips under writers that follow the route file, while the sidecar, PostgreSQL or both are killed, or the power goes:
// at random moments and at chosen ones. Used with few kills by the tests and with many by the soak.
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import Database from "better-sqlite3";
import pg from "pg";
import { Sidecar, type Status } from "./cli.js";
import { Power } from "./power.js";
import { differences } from "./rows.js";
import { type OwnServer, ownServer } from "./servers.js";
import { type Outside, python, testFile } from "./sqlite.js";

const WRITERS = 4;
/** Each writer's pause; with a rollback journal everybody waits for everybody. */
const STEP_MS = { wal: 2, delete: 30 };
const SCHEMA = `
  CREATE TABLE op(name TEXT PRIMARY KEY, writer INTEGER NOT NULL);
  CREATE TABLE counter(writer INTEGER PRIMARY KEY, value INTEGER NOT NULL);
  INSERT INTO counter VALUES (0, 0), (1, 0), (2, 0), (3, 0);`;

/** Takes names on standard input; a name that is there already was written before its writer could know. */
const SQLITE_WRITER = `
import os, sqlite3, sys
db = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=10)
# In WAL mode the same as FULL; with a rollback journal only this makes a commit last.
db.execute("PRAGMA synchronous = EXTRA")
# What every commit copies as a whole should be short.
if "POWER_FOLDER" in os.environ: db.execute("PRAGMA wal_autocheckpoint = 60")
for line in sys.stdin:
    try:
        db.execute("BEGIN IMMEDIATE")
        if db.execute("SELECT 1 FROM op WHERE name = ?", (line.strip(),)).fetchone() is None:
            db.execute("INSERT INTO op VALUES (?, ?)", (line.strip(), int(sys.argv[2])))
            db.execute("UPDATE counter SET value = value + 1 WHERE writer = ?", (int(sys.argv[2]),))
        db.execute("COMMIT")
        print("done")
    except sqlite3.Error as error:
        if db.in_transaction: db.execute("ROLLBACK")
        print("not")
`;

/** A store is open when it would take a row; it never gets one. */
const TRIAL = "INSERT INTO op VALUES ('trial', 9)";
const SQLITE_TRIAL = `
import sqlite3, sys
db = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=10)
try:
    db.execute("BEGIN IMMEDIATE")
    db.execute("${TRIAL}")
    print("open")
except sqlite3.Error as error:
    if "writes have moved to PostgreSQL" not in str(error): raise
    print("closed")
if db.in_transaction: db.execute("ROLLBACK")
`;

type Store = "sqlite" | "postgres";

class Writer {
  readonly acknowledged: string[] = [];
  ackedAtMs = 0;
  private postgres: pg.Client | null = null;
  private stopped = false;
  private sqlite: Outside | null = null;
  private readonly over: Promise<void>;

  constructor(
    private readonly route: () => { writes?: string } | null,
    private readonly file: string,
    private readonly url: string,
    private readonly number: number,
    private readonly stepMs: number,
    private readonly environment: Readonly<Record<string, string>>,
  ) {
    this.begin();
    this.over = this.work();
    this.over.catch(() => {});
  }

  /** Ends once the operation under way is acknowledged. */
  async stop(): Promise<void> {
    this.stopped = true;
    await this.over;
    await this.sqlite?.finish();
    await this.postgres?.end().catch(() => {});
  }

  begin(): void {
    this.sqlite = python(SQLITE_WRITER, [this.file, String(this.number)], "python3", this.environment);
  }

  freeze(): void {
    this.sqlite?.process.kill("SIGSTOP");
  }

  /** Kills what writes to SQLite; what it did not acknowledge is tried again after `begin`. */
  async kill(): Promise<void> {
    const { sqlite } = this;
    this.sqlite = null;
    sqlite?.kill();
    await sqlite?.finish().catch(() => {});
  }

  private async work(): Promise<void> {
    for (let n = 0; !this.stopped; n++) {
      const name = `${this.number}-${n}`;
      while (!(await this.wrote(name))) await sleep(this.stepMs);
      this.acknowledged.push(name);
      this.ackedAtMs = performance.now();
      await sleep(this.stepMs);
    }
  }

  private async wrote(name: string): Promise<boolean> {
    switch (this.route()?.writes) {
      case "sqlite":
        return this.wroteHome(name);
      case "postgres":
        return this.wroteAway(name);
      default:
        return false;
    }
  }

  private async wroteHome(name: string): Promise<boolean> {
    const { sqlite } = this;
    if (!sqlite) return false;
    sqlite.process.stdin?.write(`${name}\n`);
    try {
      return (await sqlite.line()) === "done";
    } catch (error) {
      if (this.sqlite === sqlite) throw error;
      return false;
    }
  }

  private async wroteAway(name: string): Promise<boolean> {
    try {
      if (!this.postgres) {
        const client = new pg.Client({ connectionString: this.url, connectionTimeoutMillis: 5_000 });
        client.on("error", () => {});
        await client.connect();
        this.postgres = client;
      }
      await this.postgres.query("BEGIN");
      const { rowCount } = await this.postgres.query(
        "INSERT INTO op VALUES ($1, $2) ON CONFLICT (name) DO NOTHING",
        [name, this.number],
      );
      await this.postgres.query("UPDATE counter SET value = value + $2 WHERE writer = $1", [
        this.number,
        rowCount,
      ]);
      await this.postgres.query("COMMIT");
      return true;
    } catch {
      this.postgres?.end().catch(() => {});
      this.postgres = null;
      return false;
    }
  }
}

/** What is killed, and when: `after` a random time, when the route says paused, or once the flip is decided. */
export interface Kill {
  readonly what: "sidecar" | "server" | "both" | "power";
  readonly when: "random" | "paused" | "decided";
}

export interface FlipKillingResult {
  readonly differences: string[];
  /** Acknowledged and not in the store; there without having been acknowledged; counted otherwise. */
  readonly wrong: string[];
  readonly acknowledged: number;
  readonly epoch: number;
  /** From the start of what was killed until a write is acknowledged. */
  readonly recoveryMs: number[];
  /** How often a kill found the route in each state. */
  readonly found: Readonly<Record<string, number>>;
}

export async function runFlipKilling(
  kills: readonly Kill[],
  chance: () => number,
  journal: "wal" | "delete" = "wal",
): Promise<FlipKillingResult> {
  const file = testFile(SCHEMA, journal);
  const power = kills.some(({ what }) => what === "power") ? new Power(file.path) : null;
  const environment = power?.environment ?? {};
  const server = await ownServer(18, power ? ["fsync=on", "full_page_writes=on"] : []);
  const database = await server.database();
  const sidecar = await Sidecar.streaming({ sqlite: file.path, url: database.url, environment });
  const verified = await sidecar.cli(["verify"]);
  if (verified.code !== 0) throw new Error(verified.stderr);
  const route = () => routeOf(sidecar);
  const writers = Array.from(
    { length: WRITERS },
    (_, n) => new Writer(route, file.path, database.url, n, STEP_MS[journal], environment),
  );
  const run = new Run(server, sidecar, file.path, database.url, writers, power);
  try {
    for (const [n, kill] of kills.entries()) {
      const to = n % 2 === 0 ? "postgres" : "sqlite";
      await run.kill(kill, to, chance);
    }
    // The last flip leaves the other store to be drained.
    await run.arrive(kills.length % 2 === 0 ? "postgres" : "sqlite");
    for (const writer of writers) await writer.stop();
    await sleep(500);
    await sidecar.waitFor("a drained copy", ({ sources }) => sources.every(({ lag }) => lag.changes === 0));
    const acknowledged = writers.flatMap((writer) => writer.acknowledged);
    return {
      differences: await differences(file.path, database.url),
      wrong: wrongIn(file.path, acknowledged),
      acknowledged: acknowledged.length,
      epoch: routeOf(sidecar)?.epoch ?? -1,
      recoveryMs: run.recoveryMs,
      found: run.found,
    };
  } finally {
    for (const writer of writers) await writer.kill();
    await sidecar.remove();
    await server.remove();
    power?.remove();
    file.remove();
  }
}

class Run {
  readonly recoveryMs: number[] = [];
  readonly found: Record<string, number> = {};
  private epoch = 0;

  constructor(
    private readonly server: OwnServer,
    private readonly sidecar: Sidecar,
    private readonly file: string,
    private readonly url: string,
    private readonly writers: readonly Writer[],
    private readonly power: Power | null,
  ) {}

  async kill({ what, when }: Kill, to: Store, chance: () => number): Promise<void> {
    this.flag(to);
    await this.moment(when, to, chance);
    if (what === "power") await this.cutPower();
    else if (what !== "server") await this.sidecar.kill9();
    if (what === "server" || what === "both") await this.server.stop("immediate");
    if (what !== "power") this.note(`${what} ${this.state()}`);
    if (what !== "sidecar") await this.server.start();
    if (what === "power") await this.powered();
    const startedMs = performance.now();
    if (what !== "server") this.sidecar.start();
    await this.acknowledgedSince(startedMs);
    this.recoveryMs.push(performance.now() - startedMs);
    await this.arrive(to);
    if (what === "power") expectOneOpen(await this.open(), true);
  }

  private note(found: string): void {
    this.found[found] = (this.found[found] ?? 0) + 1;
  }

  /** The power is back, and no sidecar runs yet. */
  private async powered(): Promise<void> {
    const open = await this.open();
    this.note(`power file ${routeOf(this.sidecar)?.writes} open ${open[0] ?? "none"}`);
    expectOneOpen(open, false);
    for (const writer of this.writers) writer.begin();
  }

  /** Everything stops at one moment, SQLite's side first: what comes later in PostgreSQL cannot have come from there. */
  private async cutPower(): Promise<void> {
    process.kill(this.sidecar.pid, "SIGSTOP");
    for (const writer of this.writers) writer.freeze();
    this.server.pause();
    await Promise.all([
      this.sidecar.kill9(),
      this.server.kill(),
      ...this.writers.map((writer) => writer.kill()),
    ]);
    this.power?.cut();
  }

  /** The stores that would take a write now. */
  private async open(): Promise<Store[]> {
    const sqlite = python(SQLITE_TRIAL, [this.file], "python3", this.power?.environment);
    const client = new pg.Client({ connectionString: this.url });
    await client.connect();
    const postgres = client.query(`BEGIN; ${TRIAL}`).then(
      () => true,
      (error: { code?: string }) => {
        if (error.code !== "25006") throw error;
        return false;
      },
    );
    try {
      const [said] = await sqlite.finish();
      return [
        ...(said === "open" ? ["sqlite" as const] : []),
        ...((await postgres) ? ["postgres" as const] : []),
      ];
    } finally {
      await client.end();
    }
  }

  /** What the route file and SQLite's own record say. */
  private state(): string {
    const db = new Database(this.file, { readonly: true });
    const sqlite = db.prepare("SELECT writes FROM _switchback_route").pluck().get();
    db.close();
    return `file ${routeOf(this.sidecar)?.writes} sqlite ${sqlite}`;
  }

  private async moment(when: Kill["when"], to: Store, chance: () => number): Promise<void> {
    if (when === "random") return void (await sleep(chance() * 300));
    const client = new pg.Client({ connectionString: this.url });
    client.on("error", () => {});
    await client.connect();
    const decided = async () =>
      (await client.query("SELECT writes FROM switchback.route")).rows[0].writes === to;
    const paused = () => routeOf(this.sidecar)?.writes === "paused";
    for (const giveUp = Date.now() + 30_000; Date.now() < giveUp; ) {
      if (await decided()) break;
      if (when === "paused" && paused()) break;
      if (when === "paused") await sleep(0);
    }
    client.end().catch(() => {});
  }

  /** Asks for it, and waits until the writes are there and the links run. */
  async arrive(to: Store): Promise<void> {
    this.flag(to);
    const phase = to === "postgres" ? "reverse_streaming" : "streaming";
    await this.sidecar.waitFor(`writes in ${to}`, (status) => this.isThere(status, phase, to), 60_000);
    const epoch = routeOf(this.sidecar)?.epoch ?? -1;
    if (epoch < this.epoch) throw new Error(`the epoch went from ${this.epoch} to ${epoch}`);
    this.epoch = epoch;
  }

  private isThere({ phase, route }: Status, wanted: string, to: Store): boolean {
    return phase === wanted && route.writes === to;
  }

  private flag(to: Store): void {
    writeFileSync(join(this.sidecar.folder, "flag"), `${to}\n`);
  }

  private async acknowledgedSince(startedMs: number): Promise<void> {
    for (const giveUp = Date.now() + 60_000; Date.now() < giveUp; await sleep(1)) {
      if (this.writers.some(({ ackedAtMs }) => ackedAtMs > startedMs)) return;
    }
    throw new Error(`no write was acknowledged; log:\n${this.sidecar.log().slice(-2_000)}`);
  }
}

/** Before a sidecar has looked, both may be closed. */
function expectOneOpen(open: readonly Store[], recovered: boolean): void {
  if (open.length === 1 || (open.length === 0 && !recovered)) return;
  throw new Error(`${open.length} stores take writes ${recovered ? "after" : "before"} the recovery`);
}

function routeOf(sidecar: Sidecar): { writes?: string; epoch?: number } | null {
  try {
    return JSON.parse(readFileSync(join(sidecar.folder, "route.json"), "utf8"));
  } catch {
    return null;
  }
}

function wrongIn(file: string, acknowledged: readonly string[]): string[] {
  const db = new Database(file, { readonly: true });
  const there = new Set(db.prepare("SELECT name FROM op").pluck().all() as string[]);
  const counted = db.prepare("SELECT sum(value) FROM counter").pluck().get();
  db.close();
  const known = new Set(acknowledged);
  return [
    ...acknowledged.filter((name) => !there.has(name)).map((name) => `lost ${name}`),
    ...[...there].filter((name) => !known.has(name)).map((name) => `unknown ${name}`),
    ...(counted === acknowledged.length ? [] : [`counted ${counted} of ${acknowledged.length}`]),
  ];
}

/** The figures in one line. */
export function figures({ recoveryMs, acknowledged, epoch, found }: FlipKillingResult): string {
  const sorted = [...recoveryMs].sort((a, b) => a - b);
  const median = sorted[Math.floor(sorted.length / 2)] ?? 0;
  const states = Object.entries(found).map(([state, n]) => `${state}: ${n}`);
  return (
    `${sorted.length} kills, ${acknowledged} writes acknowledged, epoch ${epoch}; until a write is acknowledged ` +
    `median ${median.toFixed(0)} ms, worst ${(sorted.at(-1) ?? 0).toFixed(0)} ms; found ${states.join(", ")}`
  );
}
