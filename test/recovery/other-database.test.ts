// A file and a database know each other. Another database's sidecar, a copy of the database, and commands with the
// wrong address are refused, and `--adopt-file` is the way to move a file on purpose.
import Database from "better-sqlite3";
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from "vitest";
import { copyDatabase } from "../support/backups.js";
import { type Result, Sidecar } from "../support/cli.js";
import { drained, move, verify } from "../support/flips.js";
import { differences } from "../support/rows.js";
import { type OwnServer, ownServer, type TestDatabase, testDatabase } from "../support/servers.js";
import { type TestFile, testFile } from "../support/sqlite.js";

const SCHEMA =
  "CREATE TABLE entry(id INTEGER PRIMARY KEY, v TEXT); INSERT INTO entry(v) VALUES ('one'), ('two')";

let server: OwnServer;
let database: TestDatabase;
let elsewhere: TestDatabase;
let file: TestFile;
let sidecar: Sidecar;
let other: Sidecar;

beforeAll(async () => {
  server = await ownServer(18);
});
afterAll(() => server?.remove());
beforeEach(async () => {
  [database, elsewhere] = [await server.database(), await testDatabase(15)];
  file = testFile(SCHEMA);
  sidecar = await Sidecar.streaming({ sqlite: file.path, url: database.url });
  other = await Sidecar.prepare({ sqlite: file.path, url: elsewhere.url });
});
afterEach(async () => {
  await sidecar?.remove();
  await other?.remove();
  await database?.drop();
  await elsewhere?.drop();
  file?.remove();
});

function expectRefused({ code, stderr }: Result, pattern: RegExp): void {
  expect(stderr).toMatch(pattern);
  expect(code).toBe(4);
}
const refusedRun = (...options: string[]) => other.cli(["run", ...options], { timeoutMs: 20_000 });
const untouched = () => elsewhere.query("SELECT 1 FROM pg_namespace WHERE nspname = 'switchback'");
function alter(statements: string): void {
  const db = new Database(file.path);
  db.exec(statements);
  db.close();
}
function readPair(): unknown {
  const db = new Database(file.path, { readonly: true });
  const row = db.prepare("SELECT address FROM _switchback_pair").get();
  db.close();
  return row;
}
const write = (v: string) => file.writer().exec(`INSERT INTO entry(v) VALUES ('${v}')`);

test("while its sidecar runs, a file is refused to another database's, which is told who has it", async () => {
  const holder = new RegExp(
    `SOURCE_TAKEN .*process ${sidecar.pid} on .*copies to .*/${database.name}, since`,
  );
  expectRefused(await refusedRun(), holder);
  expectRefused(await refusedRun("--adopt-file"), holder);
  expect(await untouched()).toEqual([]);
  expect((await sidecar.status())?.phase).toBe("streaming");
});

test("without one, every command that names another database is refused, and nothing changes", async () => {
  await verify(sidecar);
  await move(sidecar, "postgres");
  await move(sidecar, "sqlite");
  await sidecar.kill9();
  const foreign = new RegExp(
    `SOURCE_FOREIGN .*belongs to the database .*/${database.name}, not to .*/${elsewhere.name}`,
  );
  for (const command of ["run", "backfill", "verify", "status", "teardown"])
    expectRefused(await other.cli([command], { timeoutMs: 20_000 }), foreign);
  const check = await other.cli(["check"]);
  expect([check.code, check.stdout]).toEqual([1, expect.stringContaining("blocker source-foreign")]);
  // An installation of an earlier version, which recorded no database, is taken over by the one that knows the file.
  alter("DELETE FROM _switchback_pair");
  expectRefused(await refusedRun(), /SOURCE_FOREIGN .*belongs to another database/);
  expect(await untouched()).toEqual([]);
  write("meanwhile");
  sidecar.start();
  await sidecar.waitPhase("streaming");
  expect((await sidecar.status())?.route).toMatchObject({ writes: "sqlite", epoch: 2 });
  await drained(sidecar, "sqlite");
  expect(await differences(file.path, database.url)).toEqual([]);
  expect(readPair()).toEqual({ address: expect.stringContaining(database.name) });
});

test("--adopt-file moves a file there and back; no epoch goes down, and both ways are free afterwards", async () => {
  await verify(sidecar);
  await move(sidecar, "postgres");
  expectRefused(await refusedRun("--adopt-file"), /SOURCE_TAKEN/);
  await sidecar.kill9();
  expectRefused(await refusedRun("--adopt-file"), /WRITES_AWAY .*app\.db has moved its writes/);
  sidecar.start();
  await sidecar.waitPhase("reverse_streaming");
  await database.query("INSERT INTO entry(v) VALUES ('away')");
  await move(sidecar, "sqlite");
  expect(await sidecar.term()).toBe(0);
  const there = await other.cli(["backfill", "--adopt-file"]);
  expect([there.code, there.stderr]).toEqual([0, expect.stringContaining("belongs to")]);
  expect(await differences(file.path, elsewhere.url)).toEqual([]);
  expect(await elsewhere.query("SELECT writes, epoch::int FROM switchback.route")).toEqual([
    { writes: "sqlite", epoch: 2 },
  ]);
  other.start();
  await other.waitPhase("streaming");
  await verify(other);
  await move(other, "postgres");
  await elsewhere.query("INSERT INTO entry(v) VALUES ('elsewhere')");
  await move(other, "sqlite");
  expect(await other.term()).toBe(0);
  expectRefused(await sidecar.cli(["run"], { timeoutMs: 20_000 }), /SOURCE_FOREIGN/);
  const back = await sidecar.cli(["backfill", "--adopt-file"]);
  expect(back.code, back.stderr).toBe(0);
  expect(await differences(file.path, database.url)).toEqual([]);
  sidecar.start();
  await sidecar.waitPhase("streaming");
  await verify(sidecar);
  await move(sidecar, "postgres");
  await database.query("INSERT INTO entry(v) VALUES ('again')");
  expect((await move(sidecar, "sqlite")).epoch).toBe(6);
  expect(await differences(file.path, database.url)).toEqual([]);
}, 60_000);

test("both records say SQLite under different epochs: SPLIT names the command that continues, and it does", async () => {
  await verify(sidecar);
  await move(sidecar, "postgres");
  await move(sidecar, "sqlite");
  await sidecar.term();
  // What an earlier version left after a run against another database.
  alter("UPDATE _switchback_route SET epoch = 0; DELETE FROM _switchback_pair");
  const split = await sidecar.cli(["run"], { timeoutMs: 20_000 });
  expectRefused(split, /SPLIT .*`switchback run --adopt-file` continues from the SQLite file as it is/);
  write("since");
  expect((await sidecar.cli(["backfill", "--adopt-file"])).code).toBe(0);
  sidecar.start();
  await sidecar.waitPhase("streaming");
  await drained(sidecar, "sqlite");
  expect((await sidecar.status())?.route.epoch).toBe(2);
  await verify(sidecar);
  await move(sidecar, "postgres");
  await move(sidecar, "sqlite");
  expect(await differences(file.path, database.url)).toEqual([]);
});

test("a copy of the database is not the database, unless it takes its place", async () => {
  await sidecar.term();
  const copy = await copyDatabase(server, database);
  const second = await Sidecar.prepare({ sqlite: file.path, url: server.url(copy) });
  try {
    const run = await second.cli(["run"], { timeoutMs: 20_000 });
    expectRefused(run, new RegExp(`SOURCE_FOREIGN .*/${database.name}; .*/${copy} is a copy of that`));
    await database.drop();
    write("later");
    second.start();
    await second.waitPhase("streaming");
    await drained(second, "sqlite");
    expect(await differences(file.path, server.url(copy))).toEqual([]);
  } finally {
    await second.remove();
  }
});
