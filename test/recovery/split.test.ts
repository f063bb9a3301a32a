// Stores that do not belong together: backups put back on either side, another pair's, and a second sidecar. Each is
// refused with its name, and no store is opened that may lack writes.
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import pg from "pg";
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from "vitest";
import { copyDatabase, copyFile, restoreDatabase, restoreFile } from "../support/backups.js";
import { type Result, Sidecar } from "../support/cli.js";
import { type OwnServer, ownServer, type TestDatabase } from "../support/servers.js";
import { pythonNow, type TestFile, testFile } from "../support/sqlite.js";

const SCHEMA = "CREATE TABLE entry(id INTEGER PRIMARY KEY, v TEXT); INSERT INTO entry(v) VALUES ('one')";
const WRITER = `
import sqlite3, sys
db = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=5)
try:
    db.execute("INSERT INTO entry(v) VALUES ('new')")
    print("taken")
except sqlite3.Error as error:
    print(error)
`.trim();

let server: OwnServer;
let database: TestDatabase;
let file: TestFile;
let sidecar: Sidecar;

beforeAll(async () => {
  server = await ownServer(18);
});
afterAll(async () => {
  await server?.remove();
});
beforeEach(async () => {
  database = await server.database();
  file = testFile(SCHEMA);
  sidecar = await Sidecar.streaming({ sqlite: file.path, url: database.url });
});
afterEach(async () => {
  await sidecar?.remove();
  await database?.drop();
  file?.remove();
});

const flagged = (to: string) => writeFileSync(join(sidecar.folder, "flag"), `${to}\n`);
const writeSqlite = () => pythonNow(WRITER, [file.path]).trim();
const writePostgres = () =>
  database.query("INSERT INTO entry(v) VALUES ('new')").then(
    () => "taken",
    (error: Error) => error.message,
  );

async function cutover(): Promise<void> {
  expect((await sidecar.cli(["verify"])).code).toBe(0);
  const { code, stdout, stderr } = await sidecar.cli(["cutover"]);
  expect(code, stdout + stderr).toBe(0);
  await sidecar.waitPhase("reverse_streaming");
}

async function revert(): Promise<void> {
  const { code, stdout, stderr } = await sidecar.cli(["revert"]);
  expect(code, stdout + stderr).toBe(0);
  await sidecar.waitPhase("streaming");
}

async function drained(): Promise<void> {
  await sleep(300);
  await sidecar.waitFor("the drained reverse link", ({ sources }) =>
    sources.every(({ lag }) => lag.changes === 0),
  );
}

async function refusedStart(): Promise<Result> {
  const result = await sidecar.cli(["run"], { timeoutMs: 20_000 });
  expect(result.code, result.stderr).toBe(4);
  return result;
}

test("a backup from before the cutover, while PostgreSQL has the writes: refused and closed", async () => {
  const copy = copyFile(file);
  await cutover();
  expect(await writePostgres()).toBe("taken");
  await sidecar.kill9();
  restoreFile(file, copy);
  expect((await refusedStart()).stderr).toMatch(/SPLIT/);
  expect(writeSqlite()).toContain("switchback: writes have moved to PostgreSQL (epoch 1)");
  expect(await writePostgres()).toBe("taken");
});

test("a backup from the time away: refused, and it takes no writes", async () => {
  await cutover();
  const copy = copyFile(file);
  expect(await writePostgres()).toBe("taken");
  await drained();
  await sidecar.kill9();
  restoreFile(file, copy);
  expect((await refusedStart()).stderr).toMatch(/SPLIT/);
  expect(writeSqlite()).toContain("switchback: writes have moved to PostgreSQL");
  expect(await writePostgres()).toBe("taken");
});

test("a backup from the time away, after a revert: never opened as if it were the newest", async () => {
  await cutover();
  const copy = copyFile(file);
  expect(await writePostgres()).toBe("taken");
  await revert();
  expect(writeSqlite()).toBe("taken");
  await sidecar.waitDrained();
  await sidecar.kill9();
  restoreFile(file, copy);
  expect((await refusedStart()).stderr).toMatch(/SPLIT/);
  expect(writeSqlite()).toContain("switchback: writes have moved to PostgreSQL");
  expect(await writePostgres()).toContain("switchback: writes go to SQLite");
});

async function lookedAt(): Promise<string> {
  const client = new pg.Client({ connectionString: database.url });
  await client.connect();
  try {
    await client.query("INSERT INTO entry(v) VALUES ('new')");
    return "taken";
  } catch (error) {
    return (error as Error).message;
  } finally {
    await client.end();
  }
}

test("PostgreSQL restored to before the cutover, while SQLite is closed: refused, both stay closed", async () => {
  await sidecar.term();
  const copy = await copyDatabase(server, database);
  sidecar.start();
  await sidecar.waitPhase("streaming");
  await cutover();
  await sidecar.kill9();
  await restoreDatabase(server, database, copy);
  expect((await refusedStart()).stderr).toContain("SPLIT");
  expect(writeSqlite()).toContain("switchback: writes have moved to PostgreSQL");
  expect(await lookedAt()).toContain("switchback: writes go to SQLite");
});

test("PostgreSQL restored to an earlier moment of the time away: refused", async () => {
  await cutover();
  await sidecar.term();
  const copy = await copyDatabase(server, database);
  sidecar.start();
  await sidecar.waitPhase("reverse_streaming");
  expect(await lookedAt()).toBe("taken");
  await drained();
  await sidecar.kill9();
  await restoreDatabase(server, database, copy);
  expect((await refusedStart()).stderr).toContain("SPLIT");
  expect(writeSqlite()).toContain("switchback: writes have moved to PostgreSQL");
});

test("a second sidecar, and one with another's file, change nothing of the first", async () => {
  await cutover();
  const second = await Sidecar.prepare({ sqlite: file.path, url: database.url });
  const other = testFile(SCHEMA);
  try {
    const taken = await second.cli(["run"], { timeoutMs: 20_000 });
    expect(taken.code, taken.stderr).toBe(4);
    expect(taken.stderr).toContain("TARGET_TAKEN");
    await sidecar.term();
    // Another file under the same name in this database, and this file in another database.
    const stranger = await Sidecar.prepare({ sqlite: other.path, url: database.url });
    const foreign = await stranger.cli(["run"], { timeoutMs: 20_000 });
    expect(foreign.code, foreign.stderr).toBe(4);
    expect(foreign.stderr).toMatch(/TARGET_FOREIGN|WRITES_AWAY|SPLIT/);
    await stranger.remove();
    const elsewhere = await server.database();
    const moved = await Sidecar.prepare({ sqlite: file.path, url: elsewhere.url });
    const split = await moved.cli(["run"], { timeoutMs: 20_000 });
    expect(split.code, split.stderr).toBe(4);
    expect(split.stderr).toContain("SOURCE_FOREIGN");
    await moved.remove();
    sidecar.start();
    await sidecar.waitPhase("reverse_streaming");
    expect(await writePostgres()).toBe("taken");
    expect(writeSqlite()).toContain("switchback: writes have moved to PostgreSQL");
    flagged("sqlite");
    await sidecar.waitPhase("streaming");
    expect(writeSqlite()).toBe("taken");
  } finally {
    await second.remove();
    other.remove();
  }
});

test("a source that the configuration leaves out keeps the others from moving", async () => {
  const second = testFile(SCHEMA.replaceAll("entry", "note"));
  await sidecar.kill9();
  const sources = [
    { name: "app", sqlite: file.path },
    { name: "more", sqlite: second.path, schema: "more" },
  ];
  const both = await Sidecar.prepare({ sqlite: file.path, url: database.url, top: { sources } });
  try {
    both.start();
    await both.waitPhase("streaming");
    await both.term();
    sidecar.start();
    await sidecar.waitPhase("streaming");
    expect((await sidecar.cli(["verify"])).code).toBe(0);
    const { code, stdout } = await sidecar.cli(["cutover", "--timeout", "3s"]);
    expect(code).toBe(1);
    expect(stdout).toContain("source more is in this database but not in the configuration");
    expect(writeSqlite()).toBe("taken");
  } finally {
    await both.remove();
    second.remove();
  }
});

test("PostgreSQL from before the last flips with its copies dropped: --adopt-file makes them again, as it says", async () => {
  await sidecar.term();
  const copy = await copyDatabase(server, database);
  sidecar.start();
  await sidecar.waitPhase("streaming");
  await cutover();
  await revert();
  await sidecar.kill9();
  await restoreDatabase(server, database, copy);
  expect((await refusedStart()).stderr).toContain("switchback run --adopt-file");
  const operator = new pg.Client({ connectionString: database.url });
  await operator.connect();
  await operator.query("DROP TABLE entry CASCADE");
  const { code, stderr } = await sidecar.cli(["backfill", "--adopt-file"]);
  expect(code, stderr).toBe(0);
  const { rows } = await operator.query("SELECT v FROM entry");
  await operator.end();
  expect(rows).toEqual([{ v: "one" }]);
  sidecar.start();
  await sidecar.waitPhase("streaming");
  await cutover();
});
