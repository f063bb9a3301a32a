// How a pool that parts with its sessions is told from one that keeps them. The pools hand out sessions in every
// order, with others' traffic and with none left; a real server is reached directly.
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { PostgresConfig } from "#switchback/config/config.js";
import { connectPostgres, watchLasting } from "#switchback/postgres/connection.js";
import { assertLasting, backendOf, isPooled, type Probe } from "#switchback/postgres/pooler.js";
import { type TestDatabase, testDatabase } from "../support/servers.js";

type Mode = "session" | "transaction" | "statement";

/** Sessions of a server by number, handed out as a pooler does. */
class Pool {
  private readonly idle: number[] = [];
  private made = 0;
  readonly ended: number[] = [];

  constructor(
    private readonly mode: Mode,
    private readonly order: "last" | "next",
    private readonly sessionsMax: number,
  ) {}

  client(): Probe {
    const number = this.ended.length;
    let mine: number | null = null;
    return {
      query: async (text) => {
        if (text === "BEGIN" && this.mode === "statement")
          throw new Error("transaction blocks not allowed in statement pooling mode");
        mine ??= await this.take();
        const pid = mine;
        const keeps = text === "BEGIN" || this.mode === "session" || this.held.has(pid);
        if (text === "BEGIN") this.held.add(pid);
        if (!keeps) {
          this.idle.push(pid);
          mine = null;
        }
        return { rows: [{ pid }] };
      },
      end: async () => {
        this.ended.push(number);
      },
    };
  }

  private readonly held = new Set<number>();

  private async take(): Promise<number> {
    const free = this.order === "last" ? this.idle.pop() : this.idle.shift();
    if (free !== undefined) return free;
    if (this.made === this.sessionsMax) return new Promise(() => {});
    this.made += 1;
    return 4_000 + this.made;
  }
}

const PATIENCE_MS = 200;

async function asked(pool: Pool, before: number): Promise<unknown> {
  // Others were there and have gone: their sessions are free.
  for (let n = 0; n < before; n++) await pool.client().query("BEGIN; COMMIT");
  const client = pool.client();
  return assertLasting(client, await backendOf(client), async () => pool.client(), PATIENCE_MS).then(
    () => "lasts",
    (error: { code?: string }) => error.code,
  );
}

for (const order of ["last", "next"] as const) {
  for (const before of [0, 1, 7]) {
    test(`the ${order} session first, ${before} statements before: transactions part with it`, async () => {
      expect(await asked(new Pool("transaction", order, 20), before)).toBe("POSTGRES_POOLED");
    });
  }
  test(`the ${order} session first: a pool by session keeps it`, async () => {
    const pool = new Pool("session", order, 20);
    expect(await asked(pool, 0)).toBe("lasts");
    expect(pool.ended.length).toBe(4);
  });
}

test("a pool of one session", async () => {
  expect(await asked(new Pool("transaction", "last", 1), 0)).toBe("POSTGRES_POOLED");
});

test("a pool by session that has none left is not waited for", async () => {
  const pool = new Pool("session", "last", 2);
  const started = performance.now();
  expect(await asked(pool, 0)).toBe("lasts");
  expect(performance.now() - started).toBeGreaterThanOrEqual(PATIENCE_MS - 5);
  expect(pool.ended.length).toBe(2);
});

test("a pool by statement says so itself", async () => {
  expect(await asked(new Pool("statement", "last", 20), 0)).toBe("POSTGRES_POOLED");
});

let database: TestDatabase;
beforeAll(async () => {
  database = await testDatabase(15);
});
afterAll(async () => {
  await database?.drop();
});

test("without a pooler, a session is known by the number that it was told", async () => {
  const client = await database.client();
  const backend = await backendOf(client);
  expect(isPooled(client, backend)).toBe(false);
  // What a pooler tells is a number of its own.
  expect(isPooled(Object.assign(client, { processID: backend + 1 }), backend)).toBe(true);
  await assertLasting(client, backend, () => database.client());
  const open = () =>
    database.query(
      "SELECT 1 FROM pg_stat_activity WHERE state LIKE 'idle in transaction%' AND datname = current_database()",
    );
  await expect.poll(open).toEqual([]);
});

function configured(): PostgresConfig {
  const { hostname, port, username, password, pathname } = new URL(database.url);
  const server = { host: hostname, port: Number(port), database: pathname.slice(1), user: username };
  return { ...server, password, ssl: false, maxConnections: 1 };
}

test("behind a pooler it continues being asked which session has the lock", async () => {
  const client = await connectPostgres(configured(), { name: "switchback test" });
  const durableCommits = watchLasting(client, 5);
  // Without a pooler, no query asks.
  Object.assign(client, { query: () => Promise.reject(new Error("asked")) });
  await sleep(30);
  Object.assign(client, { processID: 1 });
  const parted = watchLasting(client, 5);
  Object.assign(client, { query: async () => ({ rows: [{ pid: 7 }] }) });
  await expect(parted).rejects.toMatchObject({ code: "POSTGRES_POOLED" });
  await expect(Promise.race([durableCommits, sleep(30, "silent")])).resolves.toBe("silent");
  await client.end();
});

test("a session that passes the fence from its beginning is refused", async () => {
  await database.query(`ALTER DATABASE ${database.name} SET switchback.apply = 'on'`);
  await expect(connectPostgres(configured(), { name: "switchback test" })).rejects.toMatchObject({
    code: "POSTGRES_POOLED",
  });
});
