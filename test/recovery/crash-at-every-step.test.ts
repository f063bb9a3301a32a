// The real gates of both stores, and a sidecar that is gone before or after any one of their steps. What the next
// sidecar finds in the stores' own records must be enough for exactly one open store with every row in it.
import type Database from "better-sqlite3";
import type pg from "pg";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { SourceConfig } from "#switchback/config/config.js";
import { resume } from "#switchback/cutover/recover-stores.js";
import { connectPostgres } from "#switchback/postgres/connection.js";
import { PostgresGate } from "#switchback/postgres/gate.js";
import { type FollowedTable, Records } from "#switchback/postgres/records.js";
import { lockTarget } from "#switchback/postgres/sidecar-lock.js";
import type { Gate } from "#switchback/protocol/contract.js";
import { Barrier, flip } from "#switchback/protocol/flip.js";
import type { Link } from "#switchback/protocol/link.js";
import { ForwardReplication, type InHand } from "#switchback/sidecar/forward.js";
import { ReverseReplication } from "#switchback/sidecar/reverse.js";
import { SqliteGate } from "#switchback/sqlite/gate.js";
import { SqliteSource } from "#switchback/sqlite/source/source.js";
import type { Route } from "#switchback/status.js";
import { createMetrics } from "#switchback/telemetry/metrics.js";
import { effort } from "../support/effort.js";
import { silentLog } from "../support/log.js";
import { configOf } from "../support/postgres-source.js";
import { differences } from "../support/rows.js";
import { type TestDatabase, testDatabase } from "../support/servers.js";
import { pythonNow, type TestFile, testFile } from "../support/sqlite.js";

const SCHEMA = `
  CREATE TABLE parent(id INTEGER PRIMARY KEY AUTOINCREMENT, v TEXT NOT NULL);
  CREATE TABLE child(id INTEGER PRIMARY KEY, parent INTEGER REFERENCES parent(id));
  CREATE TABLE audit(id INTEGER PRIMARY KEY, v TEXT);
  CREATE TRIGGER remember AFTER INSERT ON parent BEGIN INSERT INTO audit(v) VALUES (new.v); END;
  INSERT INTO parent(v) VALUES ('first');`;

/** Writes as an application in another language does; says whether the file took the row. */
const WRITER = `
import sqlite3, sys
db = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=5)
try:
    db.execute("INSERT INTO parent(v) VALUES (?)", (sys.argv[2],))
    print("taken")
except sqlite3.Error as error:
    if "writes have moved to PostgreSQL" not in str(error): raise
    print("refused")
`.trim();

class Gone extends Error {}

type Moment = "before" | "after";
interface Crash {
  /** Which call of a gate, counted over both gates. */
  readonly call: number;
  readonly moment: Moment;
  /** The flag is withdrawn before the drain, so that the old gate opens again. */
  readonly withdrawn: boolean;
}

const STEPS = /^(reserve|close|marks|open|left|reopen)$/;

/** After the crash nothing reaches the store any more. */
function crashing<G extends Gate>(gate: G, crash: Crash, count: { calls: number; gone: boolean }): G {
  return new Proxy(gate, {
    get(target, name) {
      const value: unknown = Reflect.get(target, name);
      if (typeof value !== "function") return value;
      const method = value.bind(target) as (...given: unknown[]) => unknown;
      if (!STEPS.test(String(name))) return method;
      return async (...given: unknown[]) => {
        if (count.gone) throw new Gone();
        const mine = ++count.calls === crash.call;
        count.gone ||= mine && crash.moment === "before";
        if (count.gone) throw new Gone();
        const result = await method(...given);
        count.gone ||= mine;
        if (count.gone) throw new Gone();
        return result;
      };
    },
  });
}

class Pair {
  readonly written: string[] = [];
  private n = 0;

  private constructor(
    readonly file: TestFile,
    readonly database: TestDatabase,
    private readonly postgres: pg.Client,
    private readonly sqlite: Database.Database,
  ) {}

  static async open(version: 15 | 18): Promise<Pair> {
    const [file, database] = [testFile(SCHEMA), await testDatabase(version)];
    const pair = new Pair(file, database, await database.client(), file.writer());
    const client = await connectPostgres(configOf(database.url), { name: "test" });
    await new Records(client).install();
    await client.end();
    return pair;
  }

  /** A row of an application that knows where writes go, acknowledged. */
  async write(route: Route): Promise<void> {
    const v = `row ${++this.n}`;
    if (route.writes === "postgres") await this.postgres.query("INSERT INTO parent(v) VALUES ($1)", [v]);
    else this.sqlite.prepare("INSERT INTO parent(v) VALUES (?)").run(v);
    this.written.push(v);
  }

  /** Starts a sidecar as run does, works with it, and ends it without any goodbye. */
  async sidecar<T>(
    work: (life: {
      owner: string;
      follower: ForwardReplication;
      reverse: ReverseReplication;
      route: Route;
    }) => Promise<T>,
  ): Promise<T> {
    const postgres = configOf(this.database.url);
    const [source, metrics] = [sourceOf(this.file.path), createMetrics()];
    const lock = await lockTarget(postgres);
    const common = { source, postgres, log: silentLog(), metrics: metrics.source("app") };
    const follower = new ForwardReplication({
      ...common,
      workers: 1,
      verify: { share: 0, everyMs: 1 },
      progress: { table() {}, phase() {}, done() {} },
      event() {},
      verified() {},
    });
    try {
      const route = await resume(postgres, lock.owner, [follower.source], silentLog());
      return await work({
        owner: lock.owner,
        follower,
        reverse: new ReverseReplication({ ...common, verified: () => {} }),
        route,
      });
    } finally {
      await this.cutOff();
      await follower.close();
      await lock.release();
      metrics.close();
    }
  }

  /** Every session of switchback's ends as with its process. */
  async cutOff(): Promise<void> {
    await this.postgres.query(
      `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
        WHERE datname = current_database() AND application_name LIKE 'switchback%'`,
    );
  }

  /** Flips in the direction that is due; true when it came to its end. */
  async flip(crash: Crash): Promise<boolean> {
    return this.sidecar(async ({ owner, follower, reverse, route }) => {
      const postgres = configOf(this.database.url);
      const stop = new AbortController();
      const withdrawn = new AbortController();
      const count = { calls: 0, gone: false };
      const publish = (state: string) => {
        if (state === "paused" && crash.withdrawn) withdrawn.abort(new Error("withdrawn"));
      };
      const plan = { epoch: route.epoch, signal: withdrawn.signal, publish };
      const opened: { dispose(): unknown }[] = [];
      let following: Promise<void> = Promise.resolve();
      try {
        if (route.writes === "sqlite") {
          await this.suspend(owner);
          const barrier = new Barrier<InHand>(1);
          following = follower.follow(owner, stop.signal, () => {}, barrier);
          await this.write(route);
          const [held] = await Promise.race([barrier.take(stop.signal), following.then(() => [])]);
          if (!held) throw new Error("the follower ended");
          const { from, to } = await this.gatesOut(owner, follower, opened, route.epoch);
          to.feed(held.name, held.target);
          await this.write(route);
          const gates = { from: crashing(from, crash, count), to: crashing(to, crash, count) };
          return (await flip({ ...gates, ...plan, links: [held.link] })).flipped;
        }
        const tables = await this.followed();
        follower.suspend();
        follower.source.attach(tables.map(({ mapping }) => mapping));
        const barrier = new Barrier<Link>(1);
        following = reverse.follow(owner, tables, stop.signal, () => {}, barrier);
        await this.write(route);
        const [link] = await Promise.race([barrier.take(stop.signal), following.then(() => [])]);
        if (!link) throw new Error("the revert ended");
        const to = new SqliteGate([follower.source], owner);
        const from = await PostgresGate.open(postgres, owner, [{ name: "app", tables }]);
        opened.push(to, from);
        await this.write(route);
        const gates = { from: crashing(from, crash, count), to: crashing(to, crash, count) };
        return (await flip({ ...gates, ...plan, links: [link] })).flipped;
      } catch (error) {
        if (!(error instanceof Gone)) throw error;
        return false;
      } finally {
        await this.cutOff();
        stop.abort();
        await following.catch(() => {});
        for (const gate of opened) await gate.dispose();
      }
    });
  }

  private async gatesOut(
    owner: string,
    follower: ForwardReplication,
    opened: { dispose(): unknown }[],
    epoch: number,
  ) {
    const from = new SqliteGate([follower.source], owner);
    opened.push(from);
    const to = await PostgresGate.open(configOf(this.database.url), owner, [
      { name: "app", tables: follower.tables },
    ]);
    opened.push(to);
    await to.prepare();
    await from.prepare(epoch + 1);
    return { from, to };
  }

  private async suspend(owner: string): Promise<void> {
    const gate = await PostgresGate.open(configOf(this.database.url), owner, [
      { name: "app", tables: await this.followed() },
    ]);
    await gate.suspend(new AbortController().signal, false, () => {});
    await gate.dispose();
  }

  async followed(): Promise<FollowedTable[]> {
    const client = await connectPostgres(configOf(this.database.url), { name: "switchback test" });
    try {
      return await new Records(client).followed("app");
    } finally {
      await client.end();
    }
  }

  /** After a recovery: one store takes writes, the one that the records name, and has every row. */
  async examine(): Promise<Route> {
    const route = await this.sidecar(async ({ route: found }) => found);
    const v = `row ${++this.n}`;
    const sqlite = pythonNow(WRITER, [this.file.path, v]).trim() === "taken";
    const postgres = await this.postgres.query("INSERT INTO parent(v) VALUES ($1)", [v]).then(
      () => true,
      (error: { code?: string }) => {
        if (error.code !== "25006") throw error;
        return false;
      },
    );
    expect({ sqlite, postgres }).toEqual({
      sqlite: route.writes === "sqlite",
      postgres: route.writes === "postgres",
    });
    this.written.push(v);
    const rows =
      route.writes === "sqlite"
        ? this.sqlite.prepare("SELECT v FROM parent ORDER BY id").pluck().all()
        : (await this.postgres.query<{ v: string }>("SELECT v FROM parent ORDER BY id")).rows.map(
            ({ v }) => v,
          );
    expect([...(rows as string[])].sort()).toEqual(["first", ...this.written].sort());
    return route;
  }

  async close(): Promise<void> {
    await this.database.drop();
    this.file.remove();
  }
}

function sourceOf(sqlite: string): SourceConfig {
  return {
    ...{ name: "app", sqlite, schema: "public", target: "create", lengths: "drop" },
    ...{ include: ["*"], exclude: [], tables: {} },
  };
}

const NEVER: Crash = { call: 0, moment: "before", withdrawn: false };
/** Where the flip is decided: from that call on it has happened. */
const DECISION = { sqlite: 4, postgres: 4 } as const;
const CRASHES: Crash[] = [
  ...[1, 2, 3, 4, 5].flatMap((call) =>
    (["before", "after"] as const).map((moment) => ({ call, moment, withdrawn: false })),
  ),
  // reserve, close, reopen
  ...(["before", "after"] as const).map((moment) => ({ call: 3, moment, withdrawn: true })),
];

/** The short run has every crash on one version, the long run on both. */
const VERSIONS = ([18, 15] as const).slice(0, effort(1, 2));

describe.each(VERSIONS)("on PostgreSQL %i", (version) => {
  let pair: Pair;
  beforeAll(async () => {
    pair = await Pair.open(version);
    await pair.flip(NEVER);
    await pair.flip(NEVER);
  });
  afterAll(async () => {
    await pair?.close();
  });

  for (const start of ["sqlite", "postgres"] as const) {
    for (const crash of CRASHES) {
      const { call, moment, withdrawn } = crash;
      const what = `${moment} call ${call}${withdrawn ? " of a retreat" : ""}, writes in ${start}`;
      test(what, async () => {
        let route = await pair.examine();
        if (route.writes !== start) expect(await pair.flip(NEVER)).toBe(true);
        route = await pair.examine();
        expect(route.writes).toBe(start);
        expect(await pair.flip(crash)).toBe(false);
        const after = await pair.examine();
        const decided =
          !withdrawn && (call > DECISION[start] || (call === DECISION[start] && moment === "after"));
        expect(after.writes === start).toBe(!decided);
        expect(after.epoch).toBe(route.epoch + (decided ? 1 : 0));
      });
    }
  }

  test("a sidecar that wakes up after another took over finds the gates under another owner", async () => {
    if ((await pair.examine()).writes === "postgres") expect(await pair.flip(NEVER)).toBe(true);
    const route = await pair.examine();
    const source = new SqliteSource("app", pair.file.path, 1);
    const late = "a sidecar that sleeps";
    const sqlite = new SqliteGate([source], late);
    source.know((await pair.followed()).map(({ mapping }) => mapping));
    await sqlite.close(route.epoch + 1, new AbortController().signal);
    // Others open the gate again and continue.
    expect(await pair.examine()).toMatchObject({ writes: "sqlite", epoch: route.epoch });
    expect(await pair.flip(NEVER)).toBe(true);
    const config = configOf(pair.database.url);
    const postgres = await PostgresGate.open(config, late, [{ name: "app", tables: await pair.followed() }]);
    try {
      const conflict = { code: "POSITION_CONFLICT" };
      await expect(sqlite.reopen(route.epoch)).rejects.toMatchObject(conflict);
      await expect(sqlite.left(route.epoch + 1)).rejects.toMatchObject(conflict);
      await expect(sqlite.open(route.epoch + 2, new Map())).rejects.toMatchObject(conflict);
      await expect(postgres.close(route.epoch + 2, new AbortController().signal)).rejects.toMatchObject(
        conflict,
      );
      await expect(postgres.reopen(route.epoch + 1)).rejects.toMatchObject(conflict);
      await expect(postgres.left(route.epoch + 2)).rejects.toMatchObject(conflict);
      expect(await pair.examine()).toMatchObject({ writes: "postgres", epoch: route.epoch + 1 });
      expect(await pair.flip(NEVER)).toBe(true);
      source.know((await pair.followed()).map(({ mapping }) => mapping));
      await expect(sqlite.close(route.epoch + 1, new AbortController().signal)).rejects.toMatchObject(
        conflict,
      );
      expect(await pair.examine()).toMatchObject({ writes: "sqlite", epoch: route.epoch + 2 });
    } finally {
      await postgres.dispose();
      sqlite.dispose();
      await source.close();
    }
  });

  test("a close that is given up at any moment leaves PostgreSQL open", async () => {
    if ((await pair.examine()).writes === "sqlite") expect(await pair.flip(NEVER)).toBe(true);
    const route = await pair.examine();
    await pair.sidecar(async ({ owner }) => {
      const sources = [{ name: "app", tables: await pair.followed() }];
      const postgres = await PostgresGate.open(configOf(pair.database.url), owner, sources);
      try {
        for (let ms = 0; ms < 6; ms += 0.25) {
          const withdrawn = new AbortController();
          const closing = postgres.close(route.epoch + 1, withdrawn.signal).catch(() => {});
          const until = performance.now() + ms;
          while (performance.now() < until) await new Promise((resolve) => setImmediate(resolve));
          withdrawn.abort(new Error("withdrawn"));
          await postgres.reopen(route.epoch);
          await pair.write(route);
          await closing;
          await pair.write(route);
        }
      } finally {
        await postgres.dispose();
      }
    });
    expect(await pair.examine()).toMatchObject({ writes: "postgres", epoch: route.epoch });
  });

  test("a decision that is given up at any moment is one or the other", async () => {
    if ((await pair.examine()).writes === "sqlite") expect(await pair.flip(NEVER)).toBe(true);
    const route = await pair.examine();
    // Nothing may wait to be carried home: this decides without a drain.
    expect(await pair.flip(NEVER)).toBe(true);
    expect(await pair.flip(NEVER)).toBe(true);
    const epoch = route.epoch + 2;
    let decided = false;
    await pair.sidecar(async ({ owner }) => {
      const sources = [{ name: "app", tables: await pair.followed() }];
      const postgres = await PostgresGate.open(configOf(pair.database.url), owner, sources);
      try {
        for (let ms = 0; ms < 4 && !decided; ms += 0.1) {
          await postgres.close(epoch + 1, new AbortController().signal);
          const withdrawn = new AbortController();
          const left = postgres.left(epoch + 1, withdrawn.signal).then(
            () => true,
            () => false,
          );
          const until = performance.now() + ms;
          while (performance.now() < until) await new Promise((resolve) => setImmediate(resolve));
          withdrawn.abort(new Error("withdrawn"));
          decided = await left;
          if (!decided) await postgres.reopen(epoch);
          const [said] = await pair.database.query("SELECT writes, epoch::int FROM switchback.route");
          expect(said).toEqual(
            decided ? { writes: "sqlite", epoch: epoch + 1 } : { writes: "postgres", epoch },
          );
        }
      } finally {
        await postgres.dispose();
      }
    });
    expect(decided).toBe(true);
    expect(await pair.examine()).toMatchObject({ writes: "sqlite", epoch: epoch + 1 });
  });

  test("afterwards both stores are equal", async () => {
    const route = await pair.examine();
    expect(await pair.flip(NEVER)).toBe(true);
    if (route.writes === "sqlite") expect(await pair.flip(NEVER)).toBe(true);
    const last = await pair.examine();
    expect(last.writes).toBe("sqlite");
    // One more flip carries the row of the look over.
    expect(await pair.flip(NEVER)).toBe(true);
    expect(await differences(pair.file.path, pair.database.url)).toEqual([]);
  });
});
