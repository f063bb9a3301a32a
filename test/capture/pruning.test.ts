// The change log is pruned while the application rests, and what is left still lets the sidecar, a restart and a
// comparison continue.
import { afterEach, beforeEach, expect, test } from "vitest";
import { Sidecar } from "../support/cli.js";
import { differences } from "../support/rows.js";
import { type TestDatabase, testDatabase } from "../support/servers.js";
import { type TestFile, testFile } from "../support/sqlite.js";

let file: TestFile;
let database: TestDatabase;
let sidecar: Sidecar;

beforeEach(async () => {
  file = testFile("CREATE TABLE hot(id INTEGER PRIMARY KEY, n INTEGER)");
  database = await testDatabase(18);
  sidecar = await Sidecar.streaming({ sqlite: file.path, url: database.url });
});
afterEach(async () => {
  await sidecar.remove();
  await database.drop();
  file.remove();
});

const log = () =>
  file.writer().prepare("SELECT count(*) AS rows, max(seq) AS newest FROM _switchback_log").get() as {
    rows: number;
    newest: number;
  };

test("a long log shrinks at a quiet moment, its numbers continue, and everything stays equal", async () => {
  const writer = file.writer();
  writer.exec(
    "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 130000) INSERT INTO hot SELECT i, 0 FROM n",
  );
  await sidecar.waitDrained();
  expect(log().newest).toBe(130_000);
  await expect.poll(() => log().rows, { timeout: 20_000 }).toBeLessThan(101_000);
  expect(log().newest).toBe(130_000);
  writer.exec("UPDATE hot SET n = n + 1 WHERE id <= 10");
  expect(log().newest).toBe(130_010);
  await sidecar.waitDrained();
  expect(await differences(file.path, database.url)).toEqual([]);
  await sidecar.term();
  writer.exec("DELETE FROM hot WHERE id > 129990");
  sidecar.start();
  await sidecar.waitPhase("streaming");
  await sidecar.waitDrained();
  expect(await differences(file.path, database.url)).toEqual([]);
  expect((await sidecar.cli(["verify"])).code).toBe(0);
});
