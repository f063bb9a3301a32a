// A sidecar in this process, with two sources, whose sessions are lost at chosen messages, and an application that
// writes to whichever store takes its rows. Whatever is lost, the sidecar continues by itself, one store is open and no
// acknowledged write is missing.
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type Database from "better-sqlite3";
import type pg from "pg";
import { pino } from "pino";
import { expect } from "vitest";
import { loadConfig } from "#switchback/config/config.js";
import { requestFlip } from "#switchback/cutover/request.js";
import { isRetryable } from "#switchback/errors.js";
import { Sidecar } from "#switchback/sidecar/sidecar.js";
import { CutProxy, type Loss } from "./cut-proxy.js";
import type { TestDatabase } from "./servers.js";
import { testDatabase } from "./servers.js";
import { type TestFile, testFile } from "./sqlite.js";

type Store = "sqlite" | "postgres";

const SOURCES = ["a", "b"] as const;
const schemaOf = (name: string) => `
  CREATE TABLE ${name}_kind(id INTEGER PRIMARY KEY, name TEXT UNIQUE);
  CREATE TABLE ${name}_row(id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL UNIQUE, kind INTEGER REFERENCES ${name}_kind(id));
  INSERT INTO ${name}_kind VALUES (1, 'one'), (2, 'two');
  INSERT INTO ${name}_row(name, kind) VALUES ('first', 1), ('second', 2);`;
const insert = (table: string, place: string) => `INSERT INTO ${table}(name, kind) VALUES (${place}, 1)`;
const sqliteTable = (source: string) => `${source}_row`;
/** Each source has a schema of its own. */
const postgresTable = (source: string) => `${source}.${source}_row`;
const PHASE = { sqlite: "streaming", postgres: "reverse_streaming" } as const;
/** Half a dozen retreats and their pauses. */
const PATIENCE_MS = 40_000;
const STEP_MS = 4;

export class Losing {
  readonly proxy: CutProxy;
  readonly acknowledged: { source: string; name: string }[] = [];
  private sidecar: Sidecar | null = null;
  private stop = new AbortController();
  private running: Promise<void> = Promise.resolve();
  private writing: Promise<void> = Promise.resolve();
  private writes = true;
  private readonly logged: string[] = [];

  private constructor(
    private readonly database: TestDatabase,
    private readonly files: readonly TestFile[],
    private readonly sqliteFiles: readonly Database.Database[],
    private readonly postgres: pg.Client,
    proxy: CutProxy,
    private readonly folder: string,
  ) {
    this.proxy = proxy;
  }

  static async open(): Promise<Losing> {
    const database = await testDatabase(18);
    const files = SOURCES.map((name) => testFile(schemaOf(name)));
    const folder = join(files[0]?.folder ?? "", "switchback");
    mkdirSync(folder);
    const sqliteFiles = files.map((file) => file.writer());
    for (const sqlite of sqliteFiles) sqlite.pragma("busy_timeout = 0");
    return new Losing(
      database,
      files,
      sqliteFiles,
      await database.client(),
      await CutProxy.open(database.url),
      folder,
    );
  }

  /** Starts the sidecar, as a supervisor does: again when its first steps fail for a store that is away. */
  start(): void {
    writeFileSync(
      join(this.folder, "switchback.yaml"),
      JSON.stringify({
        sources: SOURCES.map((name, i) => ({ name, schema: name, sqlite: this.files[i]?.path })),
        postgres: { url: this.proxy.through(this.database.url) },
        http: { listen: "off" },
      }),
    );
    const config = loadConfig({ config: join(this.folder, "switchback.yaml") }, {}, this.folder);
    const { postgres } = config;
    if (!postgres) throw new Error("no server");
    const log = pino({ level: "info" }, { write: (line: string) => void this.logged.push(line) });
    const silent = { table() {}, phase() {}, done() {} };
    this.stop = new AbortController();
    const { signal } = this.stop;
    this.running = (async () => {
      while (!signal.aborted) {
        const sidecar = new Sidecar(config, postgres, log, silent);
        this.sidecar = sidecar;
        try {
          await sidecar.run(signal);
        } catch (error) {
          if (!isRetryable(error)) throw error;
          await sleep(100);
        } finally {
          await sidecar.close();
        }
      }
    })();
    this.running.catch(() => {});
  }

  /** From now on rows are written, to the store that takes them. */
  write(): void {
    this.writing = (async () => {
      for (let n = 0; this.writes; n++) {
        const source = SOURCES[n % SOURCES.length] ?? "a";
        const name = `row ${n}`;
        if ((await this.tryHome(source, name)) || (await this.tryAway(source, name)))
          this.acknowledged.push({ source, name });
        await sleep(STEP_MS);
      }
    })();
    this.writing.catch(() => {});
  }

  private async tryHome(source: string, name: string): Promise<boolean> {
    const sqlite = this.sqliteFiles[SOURCES.indexOf(source as "a")];
    try {
      sqlite?.prepare(insert(sqliteTable(source), "?")).run(name);
      return true;
    } catch (error) {
      if (/SQLITE_(BUSY|CONSTRAINT_TRIGGER)/.test(String((error as { code?: string }).code))) return false;
      throw error;
    }
  }

  private async tryAway(source: string, name: string): Promise<boolean> {
    try {
      await this.postgres.query(insert(postgresTable(source), "$1"), [name]);
      return true;
    } catch (error) {
      // The fence, locks of a flip, and tables that are not there yet.
      if (/^(P0001|42P01|SB|40|55|57)/.test(String((error as { code?: string }).code))) return false;
      if (/switchback/.test((error as Error).message)) return false;
      throw error;
    }
  }

  /** Asks for a flip as an operator does, again after each retreat, until the writes are there and followed. */
  async move(to: Store): Promise<void> {
    const { signal } = this.stop;
    const until = performance.now() + PATIENCE_MS;
    for (;;) {
      const outcome = await requestFlip({
        flagFile: join(this.folder, "switchback.flag"),
        routeFile: join(this.folder, "switchback.route.json"),
        to,
        timeoutMs: 5_000,
        signal,
      });
      if (outcome.there) break;
      this.assertNotHalted();
      if (performance.now() > until)
        throw new Error(`not moved to ${to}: ${outcome.reason}; ${this.story()}`);
      await sleep(50);
    }
    await this.settled(to);
  }

  /** Waits until the store has the writes and is followed, by itself; then exactly that one is open. */
  async settled(writes: Store): Promise<void> {
    const until = performance.now() + PATIENCE_MS;
    for (;;) {
      this.assertNotHalted();
      const status = this.sidecar?.status();
      const connected = status?.problems.every(({ code }) => !/^(POSTGRES|SQLITE)/.test(code));
      if (status?.phase === PHASE[writes] && status.route.writes === writes && connected) break;
      if (performance.now() > until)
        throw new Error(`${JSON.stringify(status)} did not settle; ${this.story()}`);
      await sleep(10);
    }
    expect(await this.open(), this.story()).toEqual(SOURCES.map(() => writes));
  }

  /** Which store takes a row of each source; none gets one. */
  private async open(): Promise<string[]> {
    return Promise.all(
      SOURCES.map(async (source, i) => {
        const sqlite = this.sqliteFiles[i];
        const found: Store[] = [];
        for (let tries = 0; tries < 200; tries++) {
          try {
            sqlite?.exec(`BEGIN IMMEDIATE; ${insert(sqliteTable(source), "'trial'")}`);
            found.push("sqlite");
            break;
          } catch (error) {
            if (!/BUSY/.test(String((error as { code?: string }).code))) break;
            await sleep(5);
          } finally {
            if (sqlite?.inTransaction) sqlite.exec("ROLLBACK");
          }
        }
        const client = await this.database.client();
        try {
          await client.query(`BEGIN; ${insert(postgresTable(source), "'trial'")}`);
          found.push("postgres");
        } catch {
          // Closed.
        } finally {
          await client.end();
        }
        return found.join(" and ");
      }),
    );
  }

  assertNotHalted(): void {
    const status = this.sidecar?.status();
    if (status?.phase === "halted") throw new Error(`${JSON.stringify(status.problems)}; ${this.story()}`);
  }

  /** What was lost last, for a message. */
  story(): string {
    return `lost ${JSON.stringify(this.proxy.cut).slice(0, 400)}\n${this.logged.slice(-15).join("")}`;
  }

  async verify(): Promise<void> {
    for (const { equal } of (await this.sidecar?.verify(this.stop.signal)) ?? [])
      expect(equal, this.story()).toBe(true);
  }

  /** Ends the application; every row that was acknowledged is in both stores once they are equal. */
  async proveNothingLost(): Promise<void> {
    this.writes = false;
    await this.writing;
    await this.verify();
    for (const [i, source] of SOURCES.entries()) {
      const here = new Set(
        this.sqliteFiles[i]
          ?.prepare(`SELECT name FROM ${sqliteTable(source)}`)
          .pluck()
          .all(),
      );
      const postgres = await this.database.query(`SELECT name FROM ${postgresTable(source)}`);
      const there = new Set(postgres.map(({ name }) => name));
      const acknowledged = this.acknowledged.filter((row) => row.source === source);
      expect(acknowledged.filter(({ name }) => !here.has(name) || !there.has(name))).toEqual([]);
    }
  }

  async close(): Promise<void> {
    this.writes = false;
    this.stop.abort();
    await Promise.allSettled([this.running, this.writing]);
    await this.proxy.close();
    await this.database.drop();
    for (const file of this.files) file.remove();
  }
}

/** One loss during a flip: asked for immediately, the session is lost at the n-th message from then. */
export async function loseInFlip(pair: Losing, to: Store, n: number, loss: Loss): Promise<void> {
  pair.proxy.arm([n, loss]);
  await pair.move(to);
  pair.proxy.disarm();
}

/** One loss while a store is followed. */
export async function loseWhileFollowing(pair: Losing, writes: Store, n: number, loss: Loss): Promise<void> {
  pair.proxy.arm([n, loss]);
  for (const until = performance.now() + 2_000; !pair.proxy.cut && performance.now() < until; )
    await sleep(5);
  pair.proxy.disarm();
  // The loss has to be noticed before a recovery from it can be.
  await sleep(30);
  await pair.settled(writes);
}

/** One loss in a start: the first copy, capture, fences, keys and indexes. */
export async function loseInStart(n: number, loss: Loss): Promise<void> {
  const pair = await Losing.open();
  try {
    pair.write();
    pair.proxy.arm([n, loss]);
    pair.start();
    await pair.settled("sqlite");
    pair.proxy.disarm();
    await pair.proveNothingLost();
  } finally {
    await pair.close();
  }
}
