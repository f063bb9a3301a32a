// "Exact" is said of what was counted. Rows that are in SQLite, and neither in PostgreSQL nor in quarantine, end a
// backfill with an error. They keep a running sidecar from moving the writes until they are there.
import { afterEach, beforeEach, expect, test } from "vitest";
import { Sidecar } from "../support/cli.js";
import { type TestDatabase, testDatabase } from "../support/servers.js";
import { type TestFile, testFile } from "../support/sqlite.js";

const SCHEMA = `
  CREATE TABLE item(id INTEGER PRIMARY KEY, v TEXT);
  CREATE TABLE named(name TEXT PRIMARY KEY, v INTEGER);
  INSERT INTO item VALUES (1, 'one'), (2, 'two'), (3, 'null');
  INSERT INTO named VALUES ('a', 1), ('[null]', 2);`;

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

/** Past the fence, as a superuser who repairs by hand may. */
const behindItsBack = (sql: string) =>
  database.query(`BEGIN; SET LOCAL session_replication_role = replica; ${sql}; COMMIT`);

test("backfill says exact after counting both stores, quarantined rows and NULL keys included", async () => {
  const first = await sidecar.cli(["backfill"]);
  expect(first.stdout + first.stderr).toContain("5 rows copied; exact at position 0");
  // Rows that PostgreSQL cannot hold, one of them without a key, and one whose key only looks like NULL.
  file.writer().exec(`INSERT INTO named VALUES (NULL, 3), (NULL, 4), ('"null" ', 'text'), ('fine', 5);
    DELETE FROM item WHERE id = 2`);
  const second = await sidecar.cli(["backfill"]);
  expect(second.code, second.stdout + second.stderr).toBe(0);
  expect(second.stdout).toContain("exact, but for");

  await behindItsBack("DELETE FROM item WHERE id = 1");
  const third = await sidecar.cli(["backfill"]);
  expect(third.code).toBe(4);
  expect(third.stderr).toMatch(
    /COUNT_MISMATCH.*item: 2 rows in the source at position \d+, but 1 in the copy and 0 in quarantine/,
  );
  const repair = await sidecar.cli(["verify", "--repair", "--table", "item"]);
  expect(repair.code, repair.stdout + repair.stderr).toBe(0);
  expect((await sidecar.cli(["backfill"])).code).toBe(0);
});

test("a running sidecar counts what it has copied, and a disagreement keeps the writes where they are", async () => {
  // Rows vanish as soon as they are copied, before the sidecar counts: what a fault of any kind would look like.
  await sidecar.cli(["backfill"]);
  await behindItsBack(
    "DELETE FROM named; UPDATE switchback.followed SET state = 'finishing' WHERE name = 'named'",
  );
  sidecar.start();
  const status = await sidecar.waitFor("the disagreement", ({ problems }) => problems.length > 0);
  expect(status.problems).toMatchObject([{ code: "COUNT_MISMATCH", table: "named" }]);
  expect(status.phase).toBe("streaming");
  file.writer().exec("INSERT INTO item VALUES (10, 'followed meanwhile')");
  await sidecar.waitDrained();
  await sidecar.cli(["verify", "--repair"]);
  const cutover = await sidecar.cli(["cutover"]);
  expect(cutover.code).toBe(1);
  expect(cutover.stdout + cutover.stderr).toContain("named: 2 rows in the source");
  // The next count finds the rows there.
  await sidecar.waitFor("the stores to agree", ({ problems }) => problems.length === 0, 50_000);
  expect((await sidecar.cli(["cutover"])).code).toBe(0);
}, 90_000);

test("rows without a key are counted one by one in the status, however they come, go and are copied", async () => {
  const application = file.writer();
  application.exec(`CREATE TABLE pair(a TEXT, b INTEGER, v, PRIMARY KEY (a, b));
    WITH RECURSIVE x(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM x WHERE i < 150000)
    INSERT INTO pair SELECT 'k', i, 'v' FROM x`);
  sidecar.start();
  await sidecar.waitPhase("streaming");
  /** What the status says of both tables; null while the records say something else. */
  const quarantined = async () => {
    await sidecar.waitDrained();
    const tables = (await sidecar.status())?.sources[0]?.tables ?? [];
    const held = await database.query(
      "SELECT name, (SELECT count(*)::int FROM switchback.quarantine WHERE table_name = name) AS rows FROM switchback.followed",
    );
    const said = ["named", "pair"].map((name) => tables.find((table) => table.name === name)?.quarantined);
    const recorded = ["named", "pair"].map((name) => held.find((table) => table.name === name)?.rows);
    return JSON.stringify(said) === JSON.stringify(recorded) ? said : null;
  };
  expect(await quarantined()).toEqual([0, 0]);
  application.exec("INSERT INTO named VALUES (NULL, 3), (NULL, 4)");
  expect(await quarantined()).toEqual([2, 0]);
  application.exec("INSERT INTO named VALUES (NULL, 5)");
  application.exec("INSERT INTO pair VALUES (NULL, 0, 'x'), (NULL, 0, 'y'), (NULL, 2, 'z')");
  expect(await quarantined()).toEqual([3, 3]);
  application.exec("DELETE FROM named WHERE v = 3; UPDATE named SET name = 'mended' WHERE v = 4");
  expect(await quarantined()).toEqual([1, 3]);
  // Many changes take another way through the window.
  application.exec("UPDATE pair SET v = 'w' WHERE b < 5000; DELETE FROM pair WHERE v = 'w' AND b = 2");
  expect(await quarantined()).toEqual([1, 2]);
  // The same key in several ranges of a copy.
  application.exec("INSERT INTO pair(rowid, a, b) VALUES (-1, NULL, 0), (170000, NULL, 0)");
  for (const { name } of application
    .prepare("SELECT name FROM sqlite_schema WHERE type = 'trigger'")
    .all() as { name: string }[])
    application.exec(`DROP TRIGGER "${name}"`);
  await expect.poll(quarantined, { timeout: 40_000 }).toEqual([1, 4]);
  application.exec("DELETE FROM named WHERE name IS NULL; DELETE FROM pair WHERE a IS NULL");
  expect(await quarantined()).toEqual([0, 0]);
});
