// Another session's lock in PostgreSQL blocks a flip. The flip is given up within its timeout, the store that had the
// writes takes them again, and once the lock is gone a flip succeeds.
import { afterEach, beforeEach, expect, test } from "vitest";
import { Sidecar } from "../support/cli.js";
import { askBriefly, drained, expectRoute, move, verify } from "../support/flips.js";
import { differences } from "../support/rows.js";
import { type TestDatabase, testDatabase } from "../support/servers.js";
import { type TestFile, testFile } from "../support/sqlite.js";

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

for (const [what, lock] of [
  ["a table locked for everybody", "LOCK TABLE child IN ACCESS EXCLUSIVE MODE"],
  ["a row locked by a transaction", "SELECT 1 FROM switchback.source FOR UPDATE"],
  ["a table locked for writers", "LOCK TABLE parent IN SHARE MODE"],
] as const) {
  test(`a cutover meets ${what}`, async () => {
    const locker = await database.client();
    await locker.query(`BEGIN; ${lock}`);
    const { code, document } = await askBriefly(sidecar, "postgres");
    expect([code, document.flipped]).toEqual([1, false]);
    const writer = file.writer();
    writer.exec("UPDATE parent SET v = 'written after the retreat'; INSERT INTO child VALUES (2, 1)");
    await locker.query("ROLLBACK");
    await drained(sidecar, "sqlite");
    await expectRoute(sidecar, file.path, database, "sqlite", 0);
    expect(await differences(file.path, database.url)).toEqual([]);
    await move(sidecar, "postgres");
    await database.query("UPDATE parent SET v = 'away'");
    await drained(sidecar, "postgres");
    expect(await differences(file.path, database.url)).toEqual([]);
  });
}

test("a revert meets a transaction that does not end", async () => {
  await move(sidecar, "postgres");
  const writer = await database.client();
  await writer.query("BEGIN; UPDATE parent SET v = 'in flight'");
  const { code, document } = await askBriefly(sidecar, "sqlite");
  expect([code, document.flipped]).toEqual([1, false]);
  await expectRoute(sidecar, file.path, database, "postgres", 1);
  await database.query("INSERT INTO child VALUES (2, 1)");
  await writer.query("COMMIT");
  await drained(sidecar, "postgres");
  expect(await differences(file.path, database.url)).toEqual([]);
  await move(sidecar, "sqlite");
  expect(file.writer().prepare("SELECT v FROM parent").pluck().get()).toBe("in flight");
});
