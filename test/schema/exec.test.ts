// `switchback exec -- COMMAND`: a migration that our triggers would break passes, beside a sidecar and without one. No
// row that was evicted meanwhile stays in PostgreSQL, whatever is killed when, and nothing moves until it is over.
import { spawn } from "node:child_process";
import { existsSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterEach, beforeEach, expect, test } from "vitest";
import { CLI, cli, type Result, Sidecar } from "../support/cli.js";
import { ask, move } from "../support/flips.js";
import { differences } from "../support/rows.js";
import { type TestDatabase, testDatabase } from "../support/servers.js";
import { type TestFile, testFile } from "../support/sqlite.js";

const SCHEMA = `
  CREATE TABLE account(id INTEGER PRIMARY KEY, name TEXT UNIQUE);
  CREATE TABLE quiet(id INTEGER PRIMARY KEY, name TEXT UNIQUE);
  CREATE TABLE plain(id INTEGER PRIMARY KEY, v TEXT);
  WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 50)
    INSERT INTO account SELECT i, 'account ' || i FROM n;
  INSERT INTO quiet SELECT * FROM account; INSERT INTO plain SELECT * FROM account;`;

/** The application's migration: with a pause in the middle, until the file `go` exists beside the database. */
const MIGRATION = `
import os, sqlite3, sys, time
db = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=20)
go = sys.argv[1] + ".go"
db.execute("PRAGMA legacy_alter_table = ON")
db.execute("ALTER TABLE account RENAME TO account_old")
db.execute("REPLACE INTO account_old(id, name) SELECT 1001, name FROM account_old WHERE id = 1")
open(sys.argv[1] + ".begun", "w").close()
end = time.time() + 60
while not os.path.exists(go) and time.time() < end: time.sleep(0.02)
db.execute("ALTER TABLE account_old RENAME TO account")
db.execute("PRAGMA legacy_alter_table = OFF")
db.execute("ALTER TABLE plain RENAME COLUMN v TO w")
db.execute("REPLACE INTO account(id, name) VALUES (1002, 'account 2')")
sys.exit(int(sys.argv[2]))
`;

let file: TestFile;
let database: TestDatabase;
let sidecar: Sidecar;

beforeEach(async () => {
  file = testFile(SCHEMA);
  database = await testDatabase(18);
  sidecar = await Sidecar.prepare({ sqlite: file.path, url: database.url });
});
afterEach(async () => {
  await sidecar.remove();
  await database.drop();
  file.remove();
});

const executed = (command: readonly string[], options: readonly string[] = []): Promise<Result> =>
  cli(["exec", "--config", sidecar.config, ...options, "--", ...command], { cwd: sidecar.folder });
const migration = (code: number) => ["python3", "-c", MIGRATION, file.path, String(code)];
const letGo = () => writeFileSync(`${file.path}.go`, "");

async function until(what: string, condition: () => boolean | Promise<boolean>): Promise<void> {
  for (const giveUp = Date.now() + 60_000; Date.now() < giveUp; await sleep(25))
    if (await condition()) return;
  throw new Error(`waited for ${what}`);
}

const begun = () => until("the migration to begin", () => existsSync(`${file.path}.begun`));
/** Another one after a TRUNCATE. */
const placeOf = (table: string) =>
  database.query("SELECT relfilenode::text AS place FROM pg_class WHERE relname = $1", [table]);

async function equalSoon(): Promise<void> {
  let found: string[] = ["not compared yet"];
  for (const giveUp = Date.now() + 30_000; found.length > 0 && Date.now() < giveUp; ) {
    await sidecar.waitDrained();
    found = await differences(file.path, database.url);
  }
  expect(found, sidecar.log().slice(-800)).toEqual([]);
}

test("beside a sidecar: the copy stays, a cutover is refused, and afterwards all is equal", async () => {
  sidecar.start();
  await sidecar.waitPhase("streaming");
  const before = await placeOf("quiet");
  const running = executed(migration(7));
  await begun();
  const { problems } = await sidecar.waitFor("the sidecar to say so", (status) =>
    JSON.stringify(status.problems).includes("CAPTURE_OFF"),
  );
  expect(JSON.stringify(problems)).toContain("triggers are off for a migration");
  // Neither the eviction by the migration nor the application's own write arrives before the end.
  file.writer().exec("REPLACE INTO account_old(id, name) VALUES (1003, 'account 3')");
  expect((await ask(sidecar, "postgres", "1s")).code).not.toBe(0);
  const rows = await database.query("SELECT count(*)::int AS n, max(id)::int AS newest FROM account");
  expect(rows).toEqual([{ n: 50, newest: 50 }]);
  const verified = await sidecar.cli(["verify"]);
  expect([verified.code, verified.stderr]).toEqual([4, expect.stringContaining("CAPTURE_OFF")]);
  const second = await executed(["true"]);
  expect([second.code, second.stderr]).toEqual([4, expect.stringContaining("CAPTURE_OFF")]);
  letGo();
  const { code, stderr } = await running;
  expect(code, stderr).toBe(7);
  await equalSoon();
  expect(await placeOf("quiet"), "a table without a write is not copied again").toEqual(before);
  file.writer().exec("REPLACE INTO account(id, name) VALUES (2001, 'account 10')");
  await equalSoon();
  await until("no problem", async () => (await sidecar.status())?.problems.length === 0);
});

test("without a sidecar the command itself makes the copy exact", async () => {
  expect((await sidecar.cli(["backfill"])).code).toBe(0);
  letGo();
  const { code, stdout } = await executed(migration(0), ["--json"]);
  expect([code, JSON.parse(stdout)]).toEqual([0, { code: 0, captured: true }]);
  expect(await differences(file.path, database.url)).toEqual([]);
  expect((await executed(["no-such-program"])).code).toBe(127);
  expect((await sidecar.cli(["exec"])).code).toBe(2);
});

test.each(["a sidecar", "a backfill"])("exec is killed in the middle: %s repairs", async (by) => {
  if (by === "a sidecar") {
    sidecar.start();
    await sidecar.waitPhase("streaming");
  } else expect((await sidecar.cli(["backfill"])).code).toBe(0);
  const args = ["exec", "--config", sidecar.config, "--", ...migration(0)];
  const child = spawn(process.execPath, [CLI, ...args], { stdio: "ignore", detached: true });
  const ended = new Promise((resolve) => child.once("exit", resolve));
  await begun();
  // The migration is killed with it, so that the renamed table stays.
  process.kill(-(child.pid ?? 0), "SIGKILL");
  await ended;
  if (by === "a sidecar") await equalSoon();
  else {
    const recorded = await sidecar.cli(["status", "--json"]);
    expect(recorded.stdout).toContain("CAPTURE_OFF");
    expect((await sidecar.cli(["backfill"])).code).toBe(0);
    expect(await differences(file.path, database.url)).toEqual([]);
  }
  const names = file.writer().prepare("SELECT count(*) FROM _switchback_capture_off").pluck().get();
  expect(names).toBe(0);
});

test("while PostgreSQL has the writes it is refused, and the command does not run", async () => {
  sidecar.start();
  await sidecar.waitPhase("streaming");
  expect((await sidecar.cli(["verify"])).code).toBe(0);
  await move(sidecar, "postgres");
  const mark = join(sidecar.folder, "ran");
  const { code, stderr } = await executed(["touch", mark]);
  expect([code, stderr]).toEqual([4, expect.stringContaining("WRITES_AWAY")]);
  expect(existsSync(mark)).toBe(false);
});
