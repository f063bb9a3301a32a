// The same calls in both stores: values there and back, counts and row numbers, errors, transactions.

import { inspect } from "node:util";
import { afterEach, expect, test } from "vitest";
import {
  connect,
  type Handle,
  QueryError,
  type StoreName,
  TransactionError,
} from "#switchback/client/index.js";
import { routeWriter } from "../support/example.js";
import { python } from "../support/sqlite.js";
import { type Flips, flipping } from "./flips.js";

const ends: (() => Promise<unknown> | unknown)[] = [];
afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end();
});

async function in_(store: StoreName): Promise<{ flips: Flips; db: Handle }> {
  const flips = await flipping();
  ends.push(() => flips.remove());
  if (store === "postgres") await flips.cutover();
  const db = connect({ sqlite: flips.file.path, postgres: flips.database.url, route: flips.route });
  ends.push(() => db.close());
  return { flips, db };
}

const BOTH = ["sqlite", "postgres"] as const;

test.each(BOTH)("values come back in one form: %s", async (store) => {
  const { db } = await in_(store);
  const types =
    store === "sqlite"
      ? "n INTEGER, t TEXT, r REAL, b BLOB, f BOOLEAN, d DECIMAL, at TEXT"
      : "n bigint, t text, r double precision, b bytea, f boolean, d numeric, at timestamptz";
  await db.execute(`CREATE TABLE v (id INTEGER PRIMARY KEY, ${types})`);
  const insert = db.prepare("INSERT INTO v VALUES (?, ?, ?, ?, ?, ?, ?, ?)");
  const at = new Date("2024-05-06T07:08:09.010Z");
  await insert.execute([1, 2n ** 60n, "é?$1", 1.5, new Uint8Array([0, 255]), true, 12.25, at]);
  await insert.execute([2, 7, "", -0.5, Buffer.from("x"), false, 3, at]);
  await insert.execute([3, null, undefined, Number.NaN, null, null, null, null]);
  const nothing = { n: null, t: null, r: null, b: null, f: null, d: null, at: null };
  expect(await db.query("SELECT * FROM v ORDER BY id")).toEqual([
    {
      id: 1,
      n: 2n ** 60n,
      t: "é?$1",
      r: 1.5,
      b: Buffer.from([0, 255]),
      f: 1,
      d: 12.25,
      at: at.toISOString(),
    },
    { id: 2, n: 7, t: "", r: -0.5, b: Buffer.from("x"), f: 0, d: 3, at: at.toISOString() },
    { id: 3, ...nothing },
  ]);
  expect(
    await db.queryOne("SELECT count(*) AS n, sum(n) AS s FROM v WHERE id > $1 AND id > $1", [1]),
  ).toEqual({ n: 2, s: 7 });
  // A number beyond the exact ones is what the double holds, not its shortest spelling.
  await insert.execute([4, 2 ** 60, null, 2 ** 60, null, null, null, null]);
  expect(await db.queryOne("SELECT n, r FROM v WHERE id = 4")).toEqual({ n: 2n ** 60n, r: 2 ** 60 });
  expect(await db.queryOne("SELECT 1 AS one FROM v WHERE id = ?", [99])).toBeNull();
});

test.each(BOTH)("changes and lastInsertRowid: %s", async (store) => {
  const { db } = await in_(store);
  const one = await db.execute("INSERT INTO entry (tag) VALUES ('a')");
  expect(one).toEqual({ changes: 1, lastInsertRowid: 1 });
  expect(await db.execute("INSERT INTO entry (tag) VALUES ('b'), ('c');")).toEqual({
    changes: 2,
    lastInsertRowid: 3,
  });
  expect(await db.execute("INSERT INTO entry (id, tag) VALUES (50, 'd')")).toEqual({
    changes: 1,
    lastInsertRowid: 50,
  });
  expect(await db.execute("INSERT INTO entry (tag) VALUES ('d') ON CONFLICT DO NOTHING")).toEqual({
    changes: 0,
  });
  const upsert = "INSERT INTO entry (id, tag) VALUES (60, 'd') ON CONFLICT (tag) DO UPDATE SET account = 1";
  expect(await db.execute(upsert)).toEqual({ changes: 1 });
  expect(await db.execute("UPDATE entry SET account = 2")).toEqual({ changes: 4 });
  expect(await db.query("INSERT INTO entry (id, tag) VALUES (70, 'e') RETURNING id, tag")).toEqual([
    { id: 70, tag: "e" },
  ]);
  expect(await db.transaction((tx) => tx.execute("INSERT INTO entry (id, tag) VALUES (71, 'f')"))).toEqual({
    changes: 1,
    lastInsertRowid: 71,
  });
  expect(await db.execute("DELETE FROM entry")).toEqual({ changes: 6 });
  expect(db.getMetrics()[store]).toMatchObject({ writes: 8, transactions: 1, retries: 0, errors: 0 });
});

test.each(BOTH)("errors have types, constraints and causes: %s", async (store) => {
  const { db } = await in_(store);
  const refused = async (sql: string, params: never[] = []) =>
    db.execute(sql, params).catch((e: unknown) => e);
  await db.execute("INSERT INTO entry (tag) VALUES ('a')");
  expect(await refused("INSERT INTO entry (tag) VALUES ('a')")).toMatchObject({
    name: "QueryError",
    constraint: "unique",
    store,
  });
  expect(await refused("INSERT INTO entry (tag) VALUES (NULL)")).toMatchObject({ constraint: "not null" });
  expect(await refused("INSERT INTO entry (tag, account) VALUES ('b', 99)")).toMatchObject({
    constraint: "foreign key",
  });
  expect(await refused("UPDATE account SET balance = -2000000")).toMatchObject({ constraint: "check" });
  const syntax = (await refused("SELEKT 1")) as QueryError;
  expect(syntax).toBeInstanceOf(QueryError);
  expect(syntax.cause).toBeInstanceOf(Error);
  expect(syntax.sqlState).toBe(store === "postgres" ? "42601" : undefined);
  expect(await refused("DELETE FROM entry; DELETE FROM account")).toBeInstanceOf(QueryError);
  expect(await refused("BEGIN")).toMatchObject({ code: "STATEMENT" });
  expect(await refused("SELECT ?")).toMatchObject({ code: "VALUE" });
  expect(await refused("SELECT ?", [{} as never])).toMatchObject({ code: "VALUE" });
  expect(await db.queryOne("SELECT count(*) AS n FROM account")).toEqual({ n: 4 });
});

test.each(BOTH)("transactions: %s", async (store) => {
  const { db } = await in_(store);
  const own = new Error("no");
  const thrown = db.transaction(async (tx) => {
    await tx.execute("INSERT INTO entry (tag) VALUES ('a')");
    // No one else sees it yet.
    throw own;
  });
  expect(await thrown.catch((e: unknown) => e)).toBe(own);
  expect(db.getMetrics()[store].errors).toBe(0);
  const swallowed = db.transaction(async (tx) => {
    await tx.execute("INSERT INTO entry (tag) VALUES ('b')");
    await tx.execute("INSERT INTO entry (tag) VALUES ('b')").catch(() => {});
  });
  expect(await swallowed.catch((e: unknown) => e)).toMatchObject({ constraint: "unique" });
  expect(await db.query("SELECT * FROM entry")).toEqual([]);
  await db.transaction(async (tx) => {
    await tx.execute("INSERT INTO entry (tag) VALUES ('c')");
    await tx.execute("SAVEPOINT s");
    await tx.execute("INSERT INTO entry (tag) VALUES ('c')").catch(() => {});
    await tx.execute("ROLLBACK TO s");
    await tx.execute("INSERT INTO entry (tag) VALUES ('d')");
  });
  expect(await db.queryOne("SELECT count(*) AS n FROM entry")).toEqual({ n: 2 });
  const nested = db.transaction(() => db.execute("DELETE FROM entry"));
  expect(await nested.catch((e: unknown) => e)).toMatchObject({ name: "TransactionError", code: "NESTED" });
  let kept: { query(sql: string): Promise<unknown> } | undefined;
  await db.transaction(async (tx) => {
    kept = tx;
  });
  expect(await kept?.query("SELECT 1").catch((e: unknown) => e)).toBeInstanceOf(TransactionError);
  // Reading, then writing what was read: as serial as SQLite in both.
  await Promise.all(
    Array.from({ length: 8 }, () =>
      db.transaction(async (tx) => {
        const row = await tx.queryOne<{ balance: number }>("SELECT balance FROM account WHERE id = 1");
        await tx.execute("UPDATE account SET balance = ? WHERE id = 1", [(row?.balance ?? 0) + 1]);
      }),
    ),
  );
  expect(await db.queryOne("SELECT balance FROM account WHERE id = 1")).toEqual({ balance: 1008 });
});

test("a query does not see an open transaction, PostgreSQL need not be there, and another's lock is waited for", async () => {
  const { flips } = await in_("sqlite");
  const db = connect({
    sqlite: flips.file.path,
    postgres: "postgres://u:secret@127.0.0.1:1/x",
    route: flips.route,
  });
  ends.push(() => db.close());
  await db.initialize();
  let look: () => void = () => {};
  const looked = new Promise<void>((resolve) => {
    look = resolve;
  });
  const open = db.transaction(async (tx) => {
    await tx.execute("INSERT INTO entry (tag) VALUES ('open')");
    await looked;
  });
  const seen = await db.queryOne("SELECT count(*) AS n FROM entry");
  look();
  await open;
  expect(seen).toEqual({ n: 0 });
  const holder = python(
    "import sqlite3,sys,time\nc=sqlite3.connect(sys.argv[1],isolation_level=None)\nc.execute('BEGIN IMMEDIATE')\nprint('held')\ntime.sleep(0.3)\nc.execute('COMMIT')",
    [flips.file.path],
  );
  await holder.line();
  await db.execute("INSERT INTO entry (tag) VALUES ('after')");
  await holder.finish();
  const health = await db.healthCheck();
  expect(health).toMatchObject({ ok: true, sqlite: { ok: true }, postgres: { ok: false } });
  expect(JSON.stringify(health)).not.toContain("secret");
});

test("the example in Python waits while SQLite is closed, and goes through a flip and back", async () => {
  const { flips } = await in_("sqlite");
  const paths = [flips.file.path, flips.database.url, flips.route] as const;
  const example = routeWriter(paths, { driver: "stand-in", into: "entry (tag)" });
  ends.push(() => example.kill());
  expect(await example.say("one")).toBe("sqlite one");
  flips.closeSqlite();
  const waiting = example.say("two");
  await new Promise((resolve) => setTimeout(resolve, 100));
  flips.openSqlite();
  expect(await waiting).toBe("sqlite two");
  await flips.cutover();
  expect(await example.say("three")).toBe("postgres three");
  // The file is late: PostgreSQL's fence says so.
  await flips.revert({ publish: false });
  const late = example.say("four");
  await new Promise((resolve) => setTimeout(resolve, 100));
  flips.publish("sqlite", flips.epoch);
  expect(await late).toBe("sqlite four");
  await example.finish();
  expect(flips.file.writer().prepare("SELECT tag FROM entry ORDER BY id").pluck().all()).toEqual([
    "one",
    "two",
    "three",
    "four",
  ]);
});

test.each(["wal", "delete"] as const)(
  "a lock is waited for as long as waitMs says, not longer: %s",
  async (journal) => {
    const flips = await flipping(4, undefined, journal);
    ends.push(() => flips.remove());
    const paths = { sqlite: flips.file.path, route: flips.route };
    const hasty = connect({ ...paths, waitMs: 150 });
    const patient = connect(paths);
    ends.push(() => Promise.all([hasty.close(), patient.close()]));
    await hasty.initialize();
    const outside = flips.file.writer();
    outside.exec("BEGIN EXCLUSIVE");
    const began = performance.now();
    expect(await hasty.execute("DELETE FROM entry").catch((e: unknown) => e)).toMatchObject({
      name: "TransactionError",
      code: "SQLITE_BUSY",
      message: expect.stringContaining("waited 150 ms for a lock"),
    });
    expect(performance.now() - began).toBeLessThan(1_500);
    // In rollback-journal mode a statement that is not prepared yet meets the lock before it runs.
    const read = patient.queryOne("SELECT count(*) AS n FROM account");
    const write = patient.execute("DELETE FROM entry");
    // Longer than the pauses between attempts that conflict.
    await new Promise((resolve) => setTimeout(resolve, 2_500));
    outside.exec("ROLLBACK");
    expect(await read).toEqual({ n: 4 });
    expect(await write).toEqual({ changes: 0 });
  },
);

test.each(BOTH)("close ends what would never end: %s", async (store) => {
  const { flips, db: looking } = await in_(store);
  const paths = { sqlite: flips.file.path, postgres: flips.database.url, route: flips.route };
  const db = connect({ ...paths, waitMs: 300, connectionsMax: 1 });
  ends.push(() => db.close());
  const inside = db.transaction(() => db.close());
  expect(await inside.catch((e: unknown) => e)).toMatchObject({ name: "TransactionError", code: "NESTED" });
  let goOn: () => void = () => {};
  const never = db
    .transaction(async (tx) => {
      await tx.execute("INSERT INTO entry (tag) VALUES ('open')");
      await new Promise<void>((resolve) => {
        goOn = resolve;
      });
      await tx.execute("INSERT INTO entry (tag) VALUES ('late')");
    })
    .catch((e: unknown) => e);
  await new Promise((resolve) => setTimeout(resolve, 100));
  const queued = db.execute("INSERT INTO entry (tag) VALUES ('queued')").catch((e: unknown) => e);
  const began = performance.now();
  await Promise.all([db.close(), db.close()]);
  expect(await queued).toBeInstanceOf(Error);
  expect(performance.now() - began).toBeLessThan(1_500);
  // Its lock is gone too.
  await looking.execute("INSERT INTO entry (tag) VALUES ('other')");
  goOn();
  expect(await never).toMatchObject({ name: "ConnectionError", code: "CLOSED" });
  expect(await looking.query("SELECT tag FROM entry")).toEqual([{ tag: "other" }]);
});

test("no password is shown by what a handle is printed as, nor taken in the route's address", async () => {
  const { db } = await in_("postgres");
  await db.initialize();
  const [shown, secret] = [inspect(db, { depth: 9, maxArrayLength: 9 }), "test-password"];
  expect(shown).toContain("127.0.0.1");
  expect(shown).not.toContain(secret);
  expect(() => connect({ sqlite: "x", route: "http://u:secret@127.0.0.1:9464/route" })).toThrow(
    /^route: expected an address without user and password, received "http:\/\/u:\*\*\*@127/,
  );
});
