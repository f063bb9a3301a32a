// The application changes its schema, or the whole file, while the sidecar runs: each is followed or named, never
// missed. What a change may lose is the point of each test, so every one ends with a comparison of the rows.
import { copyFileSync, renameSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { Sidecar } from "../support/cli.js";
import { differences } from "../support/rows.js";
import { type TestDatabase, testDatabase } from "../support/servers.js";
import { pythonNow, type TestFile, testFile } from "../support/sqlite.js";

const SCHEMA = `
  CREATE TABLE task(id INTEGER PRIMARY KEY, title TEXT UNIQUE, done INTEGER);
  CREATE TABLE note(body TEXT);
  WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 400)
    INSERT INTO task SELECT i, 'task ' || i, i % 2 FROM n;
  WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 50) INSERT INTO note SELECT 'note ' || i FROM n;`;

let file: TestFile;
let database: TestDatabase;
let sidecar: Sidecar;

beforeEach(async () => {
  file = testFile(SCHEMA);
  database = await testDatabase(18);
  sidecar = await Sidecar.streaming({ sqlite: file.path, url: database.url });
});
afterEach(async () => {
  await sidecar.remove();
  await database.drop();
  file.remove();
});

/** What another process with another SQLite does. */
function outside(sql: string): void {
  pythonNow(
    "import sqlite3, sys\ndb = sqlite3.connect(sys.argv[1], timeout=10)\ndb.executescript(sys.argv[2])\n",
    [file.path, sql],
  );
}

/** Waits until the stores are equal: a change of shape is copied again, which the lag does not tell. */
async function equalSoon(): Promise<void> {
  let found: string[] = ["not compared yet"];
  for (const giveUp = Date.now() + 15_000; found.length > 0 && Date.now() < giveUp; ) {
    await sidecar.waitDrained();
    found = await differences(file.path, database.url);
  }
  expect(found, sidecar.log().slice(-800)).toEqual([]);
}

test("ADD COLUMN with a default changes every row without any event", async () => {
  outside("ALTER TABLE task ADD COLUMN priority INTEGER NOT NULL DEFAULT 3");
  await equalSoon();
  outside("UPDATE task SET priority = 9 WHERE id < 10");
  await equalSoon();
});

test("the rebuild that ORMs do: create new, copy, drop, rename", async () => {
  outside(`PRAGMA foreign_keys = OFF; BEGIN;
    CREATE TABLE task_new(id INTEGER PRIMARY KEY, title TEXT UNIQUE, done INTEGER, owner TEXT DEFAULT 'me');
    INSERT INTO task_new(id, title, done) SELECT id, title, done FROM task WHERE id <> 13;
    DROP TABLE task; ALTER TABLE task_new RENAME TO task; COMMIT;`);
  outside(
    "UPDATE task SET done = 5 WHERE id = 20; DELETE FROM task WHERE id = 21; REPLACE INTO task(id, title) VALUES (900, 'task 22')",
  );
  await equalSoon();
  outside("UPDATE task SET owner = 'you' WHERE id = 23");
  await equalSoon();
});

test("a rebuild to the very same shape loses the triggers and nothing else", async () => {
  outside(`BEGIN; CREATE TABLE copy AS SELECT * FROM task; DROP TABLE task;
    CREATE TABLE task(id INTEGER PRIMARY KEY, title TEXT UNIQUE, done INTEGER);
    INSERT INTO task SELECT id, title, done + 1 FROM copy; DROP TABLE copy; COMMIT;`);
  outside("DELETE FROM task WHERE id = 31");
  await equalSoon();
});

test("a new table is captured", async () => {
  outside("CREATE TABLE tag(id INTEGER PRIMARY KEY, label TEXT); INSERT INTO tag VALUES (1, 'a'), (2, 'b')");
  await equalSoon();
  outside("UPDATE tag SET label = 'c' WHERE id = 2; INSERT INTO tag VALUES (3, 'd')");
  await equalSoon();
});

test("a new index changes nothing", async () => {
  outside("CREATE UNIQUE INDEX task_done ON task(title, done)");
  outside("UPDATE task SET done = 7 WHERE id = 40");
  await equalSoon();
});

test("VACUUM may renumber the rows of a table without a key", async () => {
  outside("DELETE FROM note WHERE rowid % 3 = 0");
  await equalSoon();
  outside("VACUUM");
  outside("INSERT INTO note VALUES ('after'); UPDATE note SET body = body || '!' WHERE rowid < 5");
  await equalSoon();
});

/** Which of them depends on what the other file holds and on when it was put there. */
const REFUSALS = /SQLITE_(REPLACED|REWOUND)|LOG_TAMPERED|TARGET_FOREIGN/;

/** The sidecar must stop following and say so, whether it stays up halted or exits 4; never continue as if nothing was. */
async function refusesToFollow(): Promise<void> {
  for (const giveUp = Date.now() + 15_000; sidecar.running && Date.now() < giveUp; ) {
    const status = await sidecar.status();
    if (status?.phase === "halted") {
      expect(JSON.stringify(status.problems)).toMatch(REFUSALS);
      return;
    }
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  expect(sidecar.running, "it went on as if nothing had happened").toBe(false);
  expect(sidecar.log()).toMatch(REFUSALS);
}

function otherFile(): string {
  const path = join(file.folder, "other.db");
  pythonNow("import sqlite3, sys\ndb = sqlite3.connect(sys.argv[1])\ndb.executescript(sys.argv[2])\n", [
    path,
    SCHEMA.replaceAll("'task '", "'another '"),
  ]);
  return path;
}

test("another file renamed over the database is noticed", async () => {
  const other = otherFile();
  renameSync(other, file.path);
  await refusesToFollow();
});

test("an older copy of the same database put back over it is noticed at the application's next write", async () => {
  const backup = join(file.folder, "backup.db");
  outside("PRAGMA wal_checkpoint(TRUNCATE)");
  copyFileSync(file.path, backup);
  outside("UPDATE task SET done = 100 WHERE id < 50");
  outside("PRAGMA wal_checkpoint(TRUNCATE)");
  await sidecar.waitDrained();
  copyFileSync(backup, file.path);
  outside("UPDATE task SET done = 3 WHERE id = 60");
  await refusesToFollow();
});

test("a swap while the sidecar is down is noticed when it starts", async () => {
  expect(await sidecar.term()).toBe(0);
  renameSync(otherFile(), file.path);
  sidecar.start();
  await refusesToFollow();
});
