// A backup of the SQLite file put back under a running sidecar while PostgreSQL has the writes. SQLite takes none of
// them for longer than a moment, the reason is the right one, and the copy that belongs there continues once it is
// back.
import { copyFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { Sidecar } from "../support/cli.js";
import { ask, drained, flagOf, move, verify } from "../support/flips.js";
import { differences } from "../support/rows.js";
import { type TestDatabase, testDatabase } from "../support/servers.js";
import { pythonNow, type TestFile, testFile } from "../support/sqlite.js";

const SCHEMA = "CREATE TABLE entry(id INTEGER PRIMARY KEY, v TEXT); INSERT INTO entry(v) VALUES ('one')";
const WRITE = `
import sqlite3, sys
db = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=5)
try:
    db.execute("INSERT INTO entry(v) VALUES ('stray')")
    print("taken")
except sqlite3.Error as error:
    print(error)
`.trim();
const BACKUP = `
import sqlite3, sys
source, target = sqlite3.connect(sys.argv[1], timeout=5), sqlite3.connect(sys.argv[2], timeout=5)
source.backup(target)
`.trim();
const MOVED = "switchback: writes have moved to PostgreSQL";
/** Two looks a second; the rest is the patience that a busy machine needs. */
const SOON_MS = 6_000;

let database: TestDatabase;
let file: TestFile;
let sidecar: Sidecar;

const place = (name: string) => join(file.folder, name);
/** As \`.backup\` and \`.restore\` of the sqlite3 shell do it: one transaction of another connection. */
const backup = (from: string, to: string) => pythonNow(BACKUP, [from, to]);
const writeSqlite = () => pythonNow(WRITE, [file.path]).trim();
const writePostgres = (v: string) => database.query("INSERT INTO entry(v) VALUES ($1)", [v]);

beforeAll(async () => {
  database = await testDatabase(18);
  file = testFile(SCHEMA);
  backup(file.path, place("bare.db"));
  sidecar = await Sidecar.streaming({ sqlite: file.path, url: database.url });
  backup(file.path, place("before.db"));
  await verify(sidecar);
  await move(sidecar, "postgres");
  await writePostgres("first");
  await drained(sidecar, "postgres");
  backup(file.path, place("meanwhile.db"));
});
afterAll(async () => {
  await sidecar?.remove();
  await database?.drop();
  file?.remove();
});
beforeEach(async () => {
  await writePostgres("next");
  await drained(sidecar, "postgres");
  backup(file.path, place("now.db"));
});

async function expectClosedSoon(): Promise<void> {
  for (const until = Date.now() + SOON_MS; Date.now() < until; await sleep(50))
    if (writeSqlite().includes(MOVED)) return;
  expect(writeSqlite()).toContain(MOVED);
}

async function expectHalted(code: string, message: RegExp): Promise<void> {
  const { problems } = await sidecar.waitPhase("halted");
  expect(problems[0]).toMatchObject({
    code: expect.stringMatching(new RegExp(`^(${code})$`)),
    message: expect.stringMatching(message),
  });
  expect(writeSqlite()).toContain(MOVED);
  await writePostgres("still open");
}

/** What the messages tell: the file that belongs there is put back, and the sidecar started again. */
async function putBack(restore = () => void backup(place("now.db"), file.path)): Promise<void> {
  await sidecar.term();
  restore();
  expect(writeSqlite()).toContain(MOVED);
  sidecar.start();
  await sidecar.waitPhase("reverse_streaming");
  await drained(sidecar, "postgres");
  expect(await differences(file.path, database.url)).toEqual([]);
}

test("restored through SQLite while PostgreSQL is idle: closed immediately, and named", async () => {
  backup(place("before.db"), file.path);
  await expectClosedSoon();
  await expectHalted(
    "SPLIT",
    /a backup was put back, or the fence was removed\. It was open, and is closed now/,
  );
  // A halted sidecar looks on.
  backup(place("before.db"), file.path);
  await expectClosedSoon();
  await putBack();
});

test("the same with a write in PostgreSQL at that moment: not another sidecar's doing", async () => {
  backup(place("before.db"), file.path);
  await writePostgres("at that moment");
  await expectClosedSoon();
  await expectHalted("SPLIT", /a backup was put back/);
  await putBack();
});

test("a backup from before switchback came has no fence at all: its tables are closed all the same", async () => {
  backup(place("bare.db"), file.path);
  await expectClosedSoon();
  await expectHalted("SPLIT", /It was open, and is closed now/);
  await putBack();
});

test("a backup from the time away is closed, but never opens as the newest, nor takes what follows", async () => {
  backup(place("meanwhile.db"), file.path);
  const { code, document } = await ask(sidecar, "sqlite");
  expect([code, document.flipped]).toEqual([1, false]);
  await expectHalted("SPLIT", /holds \d+ of PostgreSQL's changes, but \d+ were carried to it/);
  writeFileSync(flagOf(sidecar), "postgres\n");
  await putBack();
});

test("a fence that someone removed is closed again; the file continues once nothing was written to it", async () => {
  file.writer().exec("DELETE FROM _switchback_fenced");
  await expectHalted("SPLIT", /the fence was removed/);
  await putBack(() => {});
});

test("moved over the path: what stands there is closed; the original continues once it is back", async () => {
  const wal = (end: string) => [`${file.path}${end}`, place(`original.db${end}`)] as const;
  copyFileSync(place("before.db"), place("moved.db"));
  for (const end of ["", "-wal", "-shm"]) renameSync(...wal(end));
  renameSync(place("moved.db"), file.path);
  await expectClosedSoon();
  // The look at the file's place and the look at its fence are both due: either may come first.
  await expectHalted("SQLITE_REPLACED|SPLIT", /another file was moved there|a backup was put back/);
  await putBack(() => {
    for (const end of ["", "-wal", "-shm"]) rmSync(file.path + end, { force: true });
    backup(place("original.db"), file.path);
  });
});

test("copied over the path, the fence stays closed", async () => {
  copyFileSync(place("before.db"), file.path);
  await sleep(1_500);
  expect(writeSqlite()).not.toBe("taken");
  await sidecar.kill9();
  for (const end of ["", "-wal", "-shm"]) rmSync(file.path + end, { force: true });
  await putBack();
});

test("a file that is lost for good: teardown --keep postgres gives up the revert", async () => {
  backup(place("before.db"), file.path);
  await expectHalted("SPLIT", /a backup was put back/);
  await sidecar.term();
  const { code, stderr } = await sidecar.cli(["teardown", "--keep", "postgres"]);
  expect([code, stderr]).toEqual([0, expect.any(String)]);
  await writePostgres("stays");
});
