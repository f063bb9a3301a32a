// Rows in quarantine that PostgreSQL would accept now: they leave by themselves, at a start and after a comparison,
// without a write of the application's. What is still refused stays, is named once, and keeps its time.
import { afterEach, beforeEach, expect, test } from "vitest";
import { Sidecar } from "../support/cli.js";
import { verify } from "../support/flips.js";
import { differences } from "../support/rows.js";
import { type TestDatabase, testDatabase } from "../support/servers.js";
import { type TestFile, testFile } from "../support/sqlite.js";

const ROWS = 5_000;
const UNFENCED = "SET session_replication_role = replica";

let file: TestFile;
let database: TestDatabase;
let sidecar: Sidecar;

beforeEach(async () => {
  file = testFile(`CREATE TABLE item(id INTEGER PRIMARY KEY, v TEXT);
    CREATE TABLE pair(name TEXT, size REAL, v TEXT, PRIMARY KEY (name, size)) WITHOUT ROWID;
    WITH RECURSIVE i(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM i WHERE i < ${ROWS})
    INSERT INTO item SELECT i, 'item ' || i FROM i;
    INSERT INTO pair VALUES ('a "quoted", name', 2.0, 'x'), ('ü', 0.1, 'y'), ('plain', 1e30, 'z');`);
  database = await testDatabase(15);
  sidecar = await Sidecar.prepare({ sqlite: file.path, url: database.url });
});
afterEach(async () => {
  await sidecar.remove();
  await database.drop();
  file.remove();
});

const kept = () =>
  database.query(
    "SELECT table_name AS t, key, reason, since::text AS since FROM switchback.quarantine ORDER BY key",
  );
const keys = async () => (await kept()).map(({ key }) => key);

/** As an earlier version recorded refusals by mistake: the rows are named, and not in their tables. */
async function falsely(items: number): Promise<void> {
  await database.query(`${UNFENCED}; DELETE FROM item WHERE id <= ${items}; DELETE FROM pair; RESET session_replication_role;
    INSERT INTO switchback.quarantine (source, table_name, key, reason)
    SELECT 'app', 'item', '[' || i || ']', 'refused by mistake' FROM generate_series(1, ${items}) AS i;
    INSERT INTO switchback.quarantine (source, table_name, key, reason) VALUES
      ('app', 'item', '[${ROWS}]', 'refused by mistake, and there'), ('app', 'pair', '["a \\"quoted\\", name",2.0]', 'refused by mistake'),
      ('app', 'pair', '["ü",0.1]', 'refused by mistake'), ('app', 'pair', '["plain",1e+30]', 'refused by mistake')`);
}

test("false quarantines of an earlier version are gone after a start, in batches, and the stores are equal", async () => {
  expect((await sidecar.cli(["backfill"])).code).toBe(0);
  await falsely(ROWS - 1);
  sidecar.start();
  await expect.poll(keys, { timeout: 20_000 }).toEqual([]);
  await expect.poll(async () => (await sidecar.status())?.problems, { timeout: 10_000 }).toEqual([]);
  expect(await differences(file.path, database.url)).toEqual([]);
  await verify(sidecar);
  expect(sidecar.log()).toContain(`${(ROWS + 3).toLocaleString("en")} rows left quarantine`);
});

test("verify --repair clears them where no sidecar runs", async () => {
  expect((await sidecar.cli(["backfill"])).code).toBe(0);
  await falsely(10);
  const alone = await sidecar.cli(["verify", "--repair"]);
  expect(alone.code, alone.stdout + alone.stderr).toBe(0);
  expect(await keys()).toEqual([]);
  expect(await differences(file.path, database.url)).toEqual([]);
});

test("a dropped CHECK lets its row in after the next comparison, and at a restart; the others stay, named once", async () => {
  await database.query("CREATE TABLE item(id bigint PRIMARY KEY, v text)");
  await database.query(
    "CREATE TABLE pair(name text, size double precision, v text, PRIMARY KEY (name, size))",
  );
  for (const word of ["one", "two", "three"])
    await database.query(`ALTER TABLE item ADD CONSTRAINT no_${word} CHECK (v <> '${word}')`);
  await sidecar.remove();
  sidecar = await Sidecar.streaming({ sqlite: file.path, url: database.url, source: { target: "adopt" } });
  file.writer().exec("UPDATE item SET v = 'one' WHERE id = 1; UPDATE item SET v = 'two' WHERE id = 2");
  file.writer().exec("UPDATE item SET v = 'three' WHERE id = 3");
  await expect.poll(keys, { timeout: 10_000 }).toEqual(["[1]", "[2]", "[3]"]);
  const before = await kept();

  await database.query("ALTER TABLE item DROP CONSTRAINT no_one");
  expect((await sidecar.cli(["verify"])).code).toBe(1);
  await expect.poll(keys, { timeout: 10_000 }).toEqual(["[2]", "[3]"]);
  expect(await kept()).toEqual(before.slice(1));
  expect(sidecar.log().match(/"key":"\[2\]"|key=\[2\]|\[2\]/g)).toHaveLength(1);
  const [two] = ((await sidecar.status())?.problems ?? []) as { code: string; message: string }[];
  expect(two).toMatchObject({ code: "QUARANTINED", message: expect.stringContaining("2 rows of item") });

  await database.query("ALTER TABLE item DROP CONSTRAINT no_two");
  expect(await sidecar.term()).toBe(0);
  sidecar.start();
  await expect.poll(keys, { timeout: 20_000 }).toEqual(["[3]"]);
  expect(await kept()).toEqual(before.slice(2));

  await database.query("ALTER TABLE item DROP CONSTRAINT no_three");
  const repaired = await sidecar.cli(["verify", "--repair"]);
  expect(repaired.code, repaired.stdout + repaired.stderr).toBe(0);
  expect(await differences(file.path, database.url)).toEqual([]);
});
