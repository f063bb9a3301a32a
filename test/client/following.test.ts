// The handle while writes move: nothing lost, nothing doubled, no one left waiting, and nothing read from a copy.
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { afterEach, expect, test } from "vitest";
import {
  ClientError,
  ConnectionError,
  type ConnectOptions,
  connect,
  type Handle,
} from "#switchback/client/index.js";
import { type Flips, flipping } from "./flips.js";

const ends: (() => Promise<void> | void)[] = [];
afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end();
});

async function stage(accounts = 4): Promise<Flips> {
  const flips = await flipping(accounts);
  ends.push(() => flips.remove());
  return flips;
}

function handle(flips: Flips, options: ConnectOptions = {}): Handle {
  const db = connect({
    sqlite: flips.file.path,
    postgres: flips.database.url,
    route: flips.route,
    ...options,
  });
  ends.push(() => db.close());
  return db;
}

interface Done {
  readonly tags: string[];
  readonly errors: unknown[];
}

/** One client: entries by `execute` and `query`, money moved by `transaction`, until told to stop. */
async function client(db: Handle, name: string, going: () => boolean, done: Done): Promise<void> {
  for (let n = 0; going(); n += 1) {
    const tag = `${name}-${n}`;
    const from = 1 + (n % 4);
    const to = 1 + ((n * 7 + name.length) % 4);
    try {
      if (n % 3 === 0) await db.execute("INSERT INTO entry (tag, account) VALUES (?, ?)", [tag, from]);
      else if (n % 3 === 1)
        await db.query("INSERT INTO entry (tag, account) VALUES ($1, $2) RETURNING id", [tag, from]);
      else {
        await db.transaction(async (tx) => {
          const before = await tx.queryOne<{ balance: number }>("SELECT balance FROM account WHERE id = ?", [
            from,
          ]);
          await tx.execute("UPDATE account SET balance = ? WHERE id = ?", [(before?.balance ?? 0) - 1, from]);
          await tx.execute("UPDATE account SET balance = balance + 1 WHERE id = ?", [to]);
          await tx.execute("INSERT INTO entry (tag, account) VALUES (?, ?)", [tag, to]);
        });
      }
      done.tags.push(tag);
      // What this client was told is done must be there for it to read, wherever that is now.
      const found = await db.queryOne("SELECT tag FROM entry WHERE tag = ?", [tag]);
      if (found === null) throw new Error(`${tag} was acknowledged and is not there`);
    } catch (error) {
      done.errors.push(error);
    }
  }
}

test("ten flips under eight clients lose nothing and double nothing", async () => {
  const flips = await stage();
  // Two processes' worth of handles: one connection to SQLite each.
  const handles = [handle(flips), handle(flips)];
  const done: Done = { tags: [], errors: [] };
  let going = true;
  const clients = Array.from({ length: 8 }, (_, i) =>
    client(handles[i % 2] as Handle, `c${i}`, () => going, done),
  );
  for (let flip = 0; flip < 10; flip += 1) {
    await sleep(150);
    await (flip % 2 === 0 ? flips.cutover() : flips.revert());
  }
  await sleep(150);
  going = false;
  await Promise.all(clients);
  expect(done.errors).toEqual([]);
  const [db] = handles as [Handle];
  const stored = (await db.query<{ tag: string }>("SELECT tag FROM entry")).map(({ tag }) => tag);
  expect(stored.toSorted()).toEqual(done.tags.toSorted());
  expect(done.tags.length).toBeGreaterThan(200);
  expect(await db.queryOne("SELECT sum(balance) AS total FROM account")).toEqual({ total: 4000 });
  const metrics = handles.map((one) => one.getMetrics());
  expect(metrics.every(({ moves }) => moves === 10)).toBe(true);
  expect(metrics.every(({ sqlite, postgres }) => sqlite.writes > 0 && postgres.writes > 0)).toBe(true);
  expect(metrics.every(({ waits }) => waits.count > 0 && waits.longestMs < 5_000)).toBe(true);
}, 120_000);

test("a route file that no one writes any more is made up for by the stores' own records", async () => {
  const flips = await stage();
  const db = handle(flips);
  flips.publish("sqlite", 0);
  await db.execute("INSERT INTO entry (tag) VALUES ('a')");
  await flips.cutover({ publish: false });
  await db.execute("INSERT INTO entry (tag) VALUES ('b')");
  expect(await flips.database.query("SELECT tag FROM entry ORDER BY tag")).toEqual([
    { tag: "a" },
    { tag: "b" },
  ]);
  // The file still says epoch 0, which must not lead back.
  expect(await db.query("SELECT tag FROM entry ORDER BY tag")).toEqual([{ tag: "a" }, { tag: "b" }]);
  expect((await db.healthCheck()).route).toEqual({ writes: "postgres", epoch: 1 });
  await flips.revert({ publish: false });
  expect(await db.queryOne("SELECT count(*) AS n FROM entry")).toEqual({ n: 2 });
  await db.execute("INSERT INTO entry (tag) VALUES ('c')");
  expect((await db.healthCheck()).route).toEqual({ writes: "sqlite", epoch: 2 });
});

test("a reader alone is led to the store that has the writes, before the route file says so", async () => {
  const flips = await stage();
  const db = handle(flips);
  await db.initialize();
  await flips.cutover({ publish: false });
  await flips.database.query("INSERT INTO entry (tag) VALUES ('there')");
  expect(await db.query("SELECT tag FROM entry")).toEqual([{ tag: "there" }]);
  expect(await db.transaction((tx) => tx.query("SELECT tag FROM entry"))).toEqual([{ tag: "there" }]);
  await flips.revert({ publish: false });
  flips.file.writer().exec("INSERT INTO entry (tag) VALUES ('home')");
  expect(await db.transaction((tx) => tx.queryOne("SELECT count(*) AS n FROM entry"))).toEqual({ n: 2 });
  expect(await db.queryOne("SELECT count(*) AS n FROM entry")).toEqual({ n: 2 });
});

test("a reader is not held back by a cutover whose sidecar died between the decision and its record", async () => {
  const flips = await stage();
  const db = handle(flips);
  await db.initialize();
  flips.publish("paused", 0);
  await flips.cutover({ publish: false, left: false });
  await flips.database.query("INSERT INTO entry (tag) VALUES ('there')");
  expect(await db.query("SELECT tag FROM entry")).toEqual([{ tag: "there" }]);
});

test("a record that is locked for a moment is waited for, not taken for none", async () => {
  const flips = await flipping(4, undefined, "delete");
  ends.push(() => flips.remove());
  const db = handle(flips);
  await db.initialize();
  await flips.cutover();
  await db.execute("INSERT INTO entry (tag) VALUES ('away')");
  const slow = db.query("SELECT tag, pg_sleep(0.3)::text FROM entry");
  await sleep(100);
  await flips.revert({ publish: false });
  const outside = flips.file.writer();
  outside.exec("INSERT INTO entry (tag) VALUES ('home'); BEGIN EXCLUSIVE");
  setTimeout(() => outside.exec("ROLLBACK"), 500);
  // Asked again it goes to SQLite, which has no such function: what PostgreSQL said was thrown away.
  await expect(slow).rejects.toMatchObject({ store: "sqlite" });
});

test("a transaction that only reads gives its connection back when SQLite's record stays locked", async () => {
  const flips = await flipping(4, undefined, "delete");
  ends.push(() => flips.remove());
  await flips.cutover();
  const db = handle(flips, { waitMs: 200, connectMs: 1_000, connectionsMax: 1 });
  await db.initialize();
  const outside = flips.file.writer();
  outside.exec("BEGIN EXCLUSIVE");
  const began = performance.now();
  const refused = await db.transaction((tx) => tx.query("SELECT 1 AS one")).catch((e: unknown) => e);
  expect(refused).toMatchObject({ name: "TransactionError", code: "SQLITE_BUSY" });
  expect(performance.now() - began).toBeLessThan(1_000);
  outside.exec("ROLLBACK");
  expect(await db.transaction((tx) => tx.query("SELECT 1 AS one"))).toEqual([{ one: 1 }]);
});

test("a transaction that locked rows and wrote none is repeated when the writes have left meanwhile", async () => {
  const flips = await stage();
  await flips.cutover();
  const db = handle(flips);
  await db.initialize();
  let left = false;
  const locking = db.transaction(async (tx) => {
    const rows = await tx.query("SELECT balance FROM account WHERE id = 1 FOR UPDATE");
    if (!left) await flips.revert({ publish: false });
    left = true;
    return rows;
  });
  // Repeated in SQLite, which does not know these words.
  await expect(locking).rejects.toMatchObject({ name: "QueryError", store: "sqlite" });
});

test("two readers that find out at the same time both get what is new", async () => {
  const flips = await stage();
  const db = handle(flips);
  await db.initialize();
  await flips.cutover({ publish: false, left: false });
  await flips.database.query("INSERT INTO entry (tag) VALUES ('there')");
  const looks = Array.from({ length: 5 }, () => db.query("SELECT tag FROM entry"));
  expect(await Promise.all(looks)).toEqual(Array.from({ length: 5 }, () => [{ tag: "there" }]));
});

test("calls that wait when the handle is closed end, and open nothing again", async () => {
  const flips = await stage();
  const db = handle(flips);
  await db.initialize();
  flips.publish("paused", 0);
  await sleep(20);
  const waiting = db.execute("INSERT INTO entry (tag) VALUES ('x')").catch((e: unknown) => e);
  await sleep(20);
  await db.close();
  flips.publish("sqlite", 0);
  expect(await waiting).toMatchObject({ name: "ConnectionError", code: "CLOSED" });
  expect(flips.file.writer().prepare("SELECT count(*) FROM entry").pluck().get()).toBe(0);
});

test("while paused reads continue and writes wait; a flip that is given up lets them continue where they were", async () => {
  const flips = await stage();
  const db = handle(flips);
  await db.initialize();
  flips.publish("paused", 0);
  flips.closeSqlite();
  let written = false;
  const write = db.execute("INSERT INTO entry (tag) VALUES ('late')").then(() => {
    written = true;
  });
  await sleep(100);
  expect(await db.queryOne("SELECT count(*) AS n FROM account")).toEqual({ n: 4 });
  expect(written).toBe(false);
  expect(db.getMetrics().waits.now).toBe(1);
  expect((await db.healthCheck()).ok).toBe(true);
  flips.openSqlite();
  flips.publish("sqlite", 0);
  await write;
  expect(db.getMetrics()).toMatchObject({ moves: 0, waits: { now: 0, count: 1 } });
  expect(db.getMetrics().waits.longestMs).toBeGreaterThan(50);
});

test("a fence met without any warning is waited out, in the same store too", async () => {
  const flips = await stage();
  const db = handle(flips);
  await db.initialize();
  // The trigger alone: neither file nor record says anything.
  const outside = flips.file.writer();
  outside.exec("INSERT INTO _switchback_fenced VALUES (1)");
  let runs = 0;
  const moved = db.transaction(async (tx) => {
    runs += 1;
    await tx.execute("UPDATE account SET balance = balance - 5 WHERE id = 1");
    // Not even a caller who swallows the fence can lose the write.
    await tx.execute("UPDATE account SET balance = balance + 5 WHERE id = 2").catch(() => {});
  });
  await sleep(60);
  outside.exec("DELETE FROM _switchback_fenced");
  await moved;
  expect(runs).toBeGreaterThan(1);
  expect(db.getMetrics().sqlite.fences).toBe(runs - 1);
  expect(await db.query("SELECT balance FROM account ORDER BY id LIMIT 2")).toEqual([
    { balance: 995 },
    { balance: 1005 },
  ]);
});

test("waiting has an end that says what was waited for", async () => {
  const flips = await stage();
  const db = handle(flips, { waitMs: 150 });
  await db.initialize();
  flips.publish("paused", 0);
  await sleep(20);
  const error = await db.execute("INSERT INTO entry (tag) VALUES ('x')").catch((e: unknown) => e);
  expect(error).toBeInstanceOf(ConnectionError);
  expect(error).toMatchObject({ code: "ROUTE_TIMEOUT" });
  expect((error as Error).message).toMatch(/waited 150 ms for the route .*route.json .*paused \(epoch 0\)/);
  flips.publish("sqlite", 0);
  await sleep(20);
  flips.file.writer().exec("INSERT INTO _switchback_fenced VALUES (1)");
  const fenced = await db.execute("INSERT INTO entry (tag) VALUES ('x')").catch((e: unknown) => e);
  expect(fenced).toMatchObject({ name: "ConnectionError", code: "ROUTE_TIMEOUT", store: "sqlite" });
  expect((fenced as Error).message).toContain("lead away from sqlite, which refuses writes (epoch 1)");
  expect(db.getMetrics().waits.timeouts).toBe(2);
});

test("a fence leads back to an older epoch when the other store says that it takes the writes", async () => {
  const flips = await stage();
  flips.publish("postgres", 7);
  const db = handle(flips);
  // Everything was installed again: epochs began again at 0, and the file was not written since.
  await db.execute("INSERT INTO entry (tag) VALUES ('again')");
  expect(flips.file.writer().prepare("SELECT tag FROM entry").all()).toEqual([{ tag: "again" }]);
  expect((await db.healthCheck()).route?.writes).toBe("sqlite");
});

test("a reader follows a cutover whose epoch is older than what it knew, after everything was installed again", async () => {
  const flips = await stage();
  const db = handle(flips);
  flips.publish("sqlite", 4);
  await db.initialize();
  // Epochs begin again.
  await flips.cutover();
  await flips.database.query("INSERT INTO entry (tag) VALUES ('there')");
  await sleep(20);
  expect(await db.query("SELECT tag FROM entry")).toEqual([{ tag: "there" }]);
});

test.each(["cutover", "revert"])(
  "a handle made in the pause of a %s reads where the writes were last",
  async (flip) => {
    const flips = await stage();
    if (flip === "revert") {
      await flips.cutover();
      await flips.database.query("UPDATE switchback.route SET writes = 'paused'");
    } else flips.closeSqlite();
    flips.publish("paused", flips.epoch);
    // No one answers at the other one's address: the sidecar died in the pause.
    for (const route of [flips.route, "http://127.0.0.1:1/route"]) {
      const db = handle(flips, { route, waitMs: 5_000 });
      await db.initialize();
      expect(await db.queryOne("SELECT count(*) AS n FROM account")).toEqual({ n: 4 });
      const { sqlite, postgres } = db.getMetrics();
      expect([sqlite.queries, postgres.queries]).toEqual(flip === "revert" ? [0, 2] : [2, 0]);
    }
  },
);

test("the route over HTTP, and without the sidecar", async () => {
  const flips = await stage();
  let route = { writes: "sqlite", epoch: 0 };
  const server = createServer((_request, response) => response.end(JSON.stringify(route)));
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/route`;
  const db = handle(flips, { route: url });
  await db.execute("INSERT INTO entry (tag) VALUES ('a')");
  await flips.cutover({ publish: false });
  route = { writes: "postgres", epoch: 1 };
  await db.execute("INSERT INTO entry (tag) VALUES ('b')");
  expect(await flips.database.query("SELECT count(*)::int AS n FROM entry")).toEqual([{ n: 2 }]);
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
  // The sidecar is down: the present handle continues, and a new one asks the stores.
  await db.execute("INSERT INTO entry (tag) VALUES ('c')");
  const fresh = handle(flips, { route: url });
  await fresh.execute("INSERT INTO entry (tag) VALUES ('d')");
  const health = await fresh.healthCheck();
  expect(health).toMatchObject({ ok: true, route: { writes: "postgres", epoch: 1 } });
  expect(health.routeProblem).toContain("it cannot be asked");
  expect(await flips.database.query("SELECT count(*)::int AS n FROM entry")).toEqual([{ n: 4 }]);
});

test("a sidecar that no longer answers over HTTP holds up one call, not every one", async () => {
  const flips = await stage();
  let frozen = false;
  const server = createServer((_request, response) => {
    if (!frozen) response.end(JSON.stringify({ writes: "sqlite", epoch: 0 }));
  });
  ends.push(() => void server.close());
  ends.push(() => server.closeAllConnections());
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const db = handle(flips, { route: `http://127.0.0.1:${(server.address() as AddressInfo).port}/route` });
  await db.initialize();
  frozen = true;
  const began = performance.now();
  for (let n = 0; n < 6; n++) {
    await sleep(120);
    await db.execute("INSERT INTO entry (tag) VALUES (?)", [`t${n}`]);
  }
  // One of them waited a second for the answer.
  expect(performance.now() - began).toBeLessThan(2_500);
  frozen = false;
  await sleep(1_200);
  await db.query("SELECT 1 AS one");
  await sleep(200);
  expect((await db.healthCheck()).routeProblem).toBeUndefined();
});

test("what the route file holds may be nonsense; the handle stays where it was and says so", async () => {
  const flips = await stage();
  const db = handle(flips);
  await db.initialize();
  flips.publish("mysql", 3);
  await sleep(20);
  await db.execute("INSERT INTO entry (tag) VALUES ('a')");
  expect((await db.healthCheck()).routeProblem).toContain("no route");
  await expect(handle(flips, { waitMs: 50 }).query("SELECT nothing FROM nowhere")).rejects.toBeInstanceOf(
    ClientError,
  );
});
