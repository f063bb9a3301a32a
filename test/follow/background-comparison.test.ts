// The comparison in the background finds, beside a writer, what no trigger and no count of changes could see. It
// names it, and keeps the writes where they are until it is settled.
import { setTimeout as sleep } from "node:timers/promises";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { Sidecar } from "../support/cli.js";
import { ask, move, verify } from "../support/flips.js";
import { type TestDatabase, testDatabase } from "../support/servers.js";
import { type Outside, python, type TestFile, testFile } from "../support/sqlite.js";

const SCHEMA = `
  CREATE TABLE item(id INTEGER PRIMARY KEY, v TEXT, n REAL);
  CREATE TABLE pair(a TEXT, b INTEGER, v TEXT, PRIMARY KEY (a, b)) WITHOUT ROWID;
  CREATE TABLE bad(id INTEGER PRIMARY KEY, n INTEGER);
  CREATE INDEX item_v ON item(v);
  WITH RECURSIVE x(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM x WHERE i < 5000)
  INSERT INTO item SELECT i, 'value ' || i, i / 3.0 FROM x;
  INSERT INTO pair SELECT 'k' || (id % 7), id, v FROM item WHERE id <= 1000;
  INSERT INTO bad VALUES (1, 1), (2, 'no number'), (3, 3);`;

const TOP = { verify: { every: "200ms", share: "50%" }, cutover: { max_lag: "60s" } };

/** Writes to every table until it is told to end. */
const WRITER = `
import sqlite3, sys, time
db = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=30)
n = 0
while True:
    n += 1
    db.execute("BEGIN IMMEDIATE")
    db.execute("UPDATE item SET n = n + 1 WHERE id = ?", (2000 + n % 3000,))
    db.execute("INSERT INTO item(v) VALUES (?)", ("new %d" % n,))
    db.execute("DELETE FROM item WHERE id = ?", (5000 + n - 50,))
    db.execute("UPDATE pair SET v = ? WHERE b = ?", ("w%d" % n, 100 + n % 900))
    db.execute("COMMIT")
    time.sleep(0.004)
`;

let file: TestFile;
let database: TestDatabase;
let sidecar: Sidecar | undefined;
let writer: Outside | undefined;

afterEach(async () => {
  writer?.kill();
  writer = undefined;
  await sidecar?.remove();
  sidecar = undefined;
  await database.drop();
  file.remove();
});

const said = async (): Promise<string[]> =>
  ((await sidecar?.status())?.problems ?? []).map((found) => {
    const { code, message } = found as { code: string; message: string };
    return `${code} ${message}`;
  });

/** Rounds completed so far, told by when the last one began. */
async function roundBegan(): Promise<number> {
  const metrics = (await sidecar?.get("/metrics"))?.text ?? "";
  return Number(
    /^switchback_background_comparison_timestamp_seconds\S* (\S+)$/m.exec(metrics)?.[1] ?? Number.NaN,
  );
}

/** A round that begins from now on is complete. */
async function anotherRound(): Promise<void> {
  const now = Date.now() / 1_000;
  await expect.poll(roundBegan, { timeout: 40_000 }).toBeGreaterThan(now);
}

const recorded = () => database.query("SELECT code, table_name FROM switchback.unknown");

/** What someone does to the copy past its triggers. */
const behindItsBack = (statement: string) =>
  database.query(`SET session_replication_role = replica; ${statement}; RESET session_replication_role`);

describe.each(["wal", "delete"] as const)("journal_mode = %s", (journal) => {
  beforeEach(async () => {
    file = testFile(SCHEMA, journal);
    database = await testDatabase(18);
    sidecar = await Sidecar.streaming({
      sqlite: file.path,
      url: database.url,
      source: { exclude: ["bad"] },
      top: TOP,
    });
    writer = python(WRITER, [file.path]);
  });

  test("rows changed, lost or added in PostgreSQL are found beside a writer, named, and keep the writes where they are", async () => {
    await anotherRound();
    expect(await said()).toEqual([]);
    await behindItsBack("UPDATE item SET v = 'other' WHERE id = 17");
    await expect
      .poll(said, { timeout: 20_000 })
      .toContainEqual(
        expect.stringMatching(
          /^ROWS_DIFFER at position \d+ 1 row of item is not the same in PostgreSQL: different \[17\]$/,
        ),
      );
    expect((await ask(sidecar as Sidecar, "postgres", "1s")).document.reason).toMatch(/1 row of item/);
    // A restart must not forget it.
    await expect.poll(recorded, { timeout: 20_000 }).toEqual([{ code: "ROWS_DIFFER", table_name: "item" }]);
    await behindItsBack("DELETE FROM pair WHERE b = 5");
    await expect
      .poll(said, { timeout: 20_000 })
      .toContainEqual(expect.stringMatching(/^ROWS_DIFFER .*1 row of pair .*: missing \["k5",5\]$/));
    const repaired = await sidecar?.cli(["verify", "--repair"]);
    expect(repaired?.stderr, repaired?.stdout).toBe("");
    await expect.poll(said, { timeout: 20_000 }).toEqual([]);
    await behindItsBack("INSERT INTO item(id, v) VALUES (-5, 'nobody wrote this')");
    await expect
      .poll(said, { timeout: 20_000 })
      .toContainEqual(expect.stringMatching(/^COUNT_MISMATCH .*item/));
  });

  test("an index that is dropped in PostgreSQL is found, and what comes right by itself is withdrawn", async () => {
    await behindItsBack("UPDATE item SET v = 'other' WHERE id = 18");
    await expect
      .poll(said, { timeout: 20_000 })
      .toContainEqual(expect.stringMatching(/^ROWS_DIFFER .*\[18\]/));
    file.writer().exec("UPDATE item SET v = 'mine' WHERE id = 18");
    await expect.poll(said, { timeout: 20_000 }).toEqual([]);
    expect(await recorded()).toEqual([]);
    await database.query("DROP INDEX item_v");
    await expect
      .poll(said, { timeout: 40_000 })
      .toContainEqual(expect.stringMatching(/^SHAPE_DIFFERS .*item_v/));
  });
});

test("quarantined rows are not called missing, and a table of many columns is compared too", async () => {
  const columns = Array.from({ length: 400 }, (_, i) => `c${i} INTEGER`).join(", ");
  file = testFile(
    `${SCHEMA} CREATE TABLE wide(id INTEGER PRIMARY KEY, ${columns}); INSERT INTO wide(id, c399) VALUES (1, 1), (2, 2);`,
  );
  database = await testDatabase(15);
  sidecar = await Sidecar.streaming({
    sqlite: file.path,
    url: database.url,
    top: TOP,
  });
  await anotherRound();
  await anotherRound();
  expect(await said()).toEqual([expect.stringMatching(/^QUARANTINED 1 row of bad/)]);
  await behindItsBack("UPDATE wide SET c399 = 3 WHERE id = 2");
  await expect
    .poll(said, { timeout: 20_000 })
    .toContainEqual(expect.stringMatching(/^ROWS_DIFFER .*wide.*\[2\]/));
});

test("a flip does not wait for it, and it continues after the way there and back", async () => {
  file = testFile(SCHEMA);
  database = await testDatabase(18);
  sidecar = await Sidecar.streaming({
    sqlite: file.path,
    url: database.url,
    source: { exclude: ["bad"] },
    top: TOP,
  });
  await anotherRound();
  await verify(sidecar);
  expect((await move(sidecar, "postgres")).pauseMs).toBeLessThan(2_000);
  await verify(sidecar);
  await move(sidecar, "sqlite");
  await anotherRound();
  expect(await said()).toEqual([]);
});

test("tables that change and come while it compares are copied and compared in their turn", async () => {
  file = testFile(SCHEMA);
  database = await testDatabase(18);
  sidecar = await Sidecar.streaming({
    sqlite: file.path,
    url: database.url,
    source: { exclude: ["bad"] },
    top: TOP,
  });
  const application = file.writer();
  const run = (sql: string) => application.exec(sql);
  for (let n = 0; n < 8; n++) {
    run(`ALTER TABLE item ADD COLUMN more${n} TEXT DEFAULT 'd${n}'`);
    run(
      `CREATE TABLE late${n}(id INTEGER PRIMARY KEY, v TEXT); INSERT INTO late${n} SELECT id, v FROM item WHERE id <= 500`,
    );
    await sleep(150 + 50 * n);
  }
  await sidecar.waitPhase("streaming");
  await sidecar.waitDrained();
  await anotherRound();
  expect(await said()).toEqual([]);
  expect(sidecar.log()).not.toMatch(/BUG|more copies at once/);
  await behindItsBack("UPDATE late7 SET v = 'other' WHERE id = 3");
  await expect
    .poll(said, { timeout: 20_000 })
    .toContainEqual(expect.stringMatching(/^ROWS_DIFFER .*late7.*\[3\]/));
});
