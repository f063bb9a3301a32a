// A lock in SQLite that does not go away: no flip closes the other store for its sake, and none is held up by it once
// the writes have moved.
import { setTimeout as sleep } from "node:timers/promises";
import { afterEach, beforeEach, expect, test } from "vitest";
import { Sidecar } from "../support/cli.js";
import { ask, askBriefly, drained, expectRoute, move, verify } from "../support/flips.js";
import { differences } from "../support/rows.js";
import { type TestDatabase, testDatabase } from "../support/servers.js";
import { python, type TestFile, testFile } from "../support/sqlite.js";

let file: TestFile;
let database: TestDatabase;
let sidecar: Sidecar;

beforeEach(async () => {
  file = testFile(`
    CREATE TABLE parent(id INTEGER PRIMARY KEY, v TEXT);
    CREATE TABLE child(id INTEGER PRIMARY KEY, parent INTEGER REFERENCES parent(id));
    INSERT INTO parent VALUES (1, 'a'); INSERT INTO child VALUES (1, 1);`);
  database = await testDatabase(15);
  sidecar = await Sidecar.streaming({ sqlite: file.path, url: database.url });
  await verify(sidecar);
});
afterEach(async () => {
  await sidecar.remove();
  await database.drop();
  file.remove();
});

test("a cutover and a revert meet a SQLite transaction that does not end", async () => {
  const holder = file.writer();
  holder.exec("BEGIN IMMEDIATE; INSERT INTO parent VALUES (2, 'held')");
  const { code, document } = await askBriefly(sidecar, "postgres");
  expect([code, document.flipped]).toEqual([1, false]);
  await expectRoute(sidecar, file.path, database, "sqlite", 0);
  holder.exec("COMMIT");
  await drained(sidecar, "sqlite");
  await move(sidecar, "postgres");
  expect(await database.query("SELECT v FROM parent WHERE id = 2")).toEqual([{ v: "held" }]);

  await database.query("UPDATE parent SET v = 'away' WHERE id = 1");
  await drained(sidecar, "postgres");

  // A refused write leaves a transaction that holds SQLite's lock: PostgreSQL is not let go while no one could
  // write to SQLite.
  holder.exec("BEGIN");
  expect(() => holder.exec("UPDATE parent SET v = 'late'")).toThrow(/writes have moved/);
  const asking = askBriefly(sidecar, "sqlite");
  await sleep(1_000);
  await database.query("UPDATE parent SET v = v || '.' WHERE id = 1");
  const back = await asking;
  expect([back.code, back.document.flipped]).toEqual([1, false]);
  await expectRoute(sidecar, file.path, database, "postgres", 1);
  holder.exec("ROLLBACK");
  await drained(sidecar, "postgres");
  await move(sidecar, "sqlite");
  holder.exec("INSERT INTO parent VALUES (3, 'home')");
  await drained(sidecar, "sqlite");
  expect(await differences(file.path, database.url)).toEqual([]);
});

/** Writes without a rest, until it is refused; then it keeps the lock until its input ends. */
const STUBBORN = `
import sqlite3, sys
db = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=5)
print("ready", flush=True)
while True:
    db.execute("BEGIN IMMEDIATE")
    try:
        db.execute("UPDATE parent SET v = v WHERE id = 1")
    except sqlite3.Error as error:
        print(error, flush=True)
        break
    db.execute("COMMIT")
sys.stdin.read()
db.execute("ROLLBACK")
`;

test("a refused writer that keeps SQLite's lock holds up neither the cutover's answer nor PostgreSQL", async () => {
  const stubborn = python(STUBBORN, [file.path]);
  try {
    expect(await stubborn.line()).toBe("ready");
    const { code, document } = await ask(sidecar, "postgres", "5s");
    expect([code, document]).toEqual([
      0,
      { flipped: true, epoch: 1, pauseMs: expect.any(Number), sources: ["app"] },
    ]);
    expect(await stubborn.line()).toContain("writes have moved");
    await database.query("INSERT INTO child VALUES (2, 1)");
    await sleep(500);
    expect((await sidecar.get("/healthz")).status).toBe(200);
    await database.query("INSERT INTO child VALUES (3, 1)");
    await stubborn.finish();
    await drained(sidecar, "postgres");
    await expectRoute(sidecar, file.path, database, "postgres", 1);
    expect(await differences(file.path, database.url)).toEqual([]);
  } finally {
    stubborn.kill();
  }
});

/** Holds the whole file most of the time: with a rollback journal no one can even read meanwhile. */
const HOGGING = `
import sqlite3, sys, time
db = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=5)
db.execute("PRAGMA journal_mode = DELETE")
print("hogging", flush=True)
for n in range(8):
    db.execute("BEGIN EXCLUSIVE")
    db.execute("INSERT INTO parent(v) VALUES ('held')")
    time.sleep(0.7)
    db.execute("COMMIT")
    time.sleep(0.05)
print("done", flush=True)
`;

test("a sidecar that starts beside an application that hogs the file gets its turn", async () => {
  await sidecar.term();
  const application = python(HOGGING, [file.path]);
  await application.line();
  sidecar.start();
  expect(await application.line()).toBe("done");
  expect(sidecar.running, sidecar.log()).toBe(true);
  await sidecar.waitPhase("streaming");
  await sidecar.waitDrained();
  expect(await differences(file.path, database.url)).toEqual([]);
});
