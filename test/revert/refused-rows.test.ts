// Rows in PostgreSQL that SQLite cannot hold: they stay out of the file, are named, and block the revert until
// the application repairs them.
import { afterEach, beforeEach, expect, test } from "vitest";
import { Sidecar } from "../support/cli.js";
import { ask, move, verify } from "../support/flips.js";
import { differences } from "../support/rows.js";
import { type TestDatabase, testDatabase } from "../support/servers.js";
import { type TestFile, testFile } from "../support/sqlite.js";

const SCHEMA = `
  CREATE TABLE person(id INTEGER PRIMARY KEY, name TEXT, age INTEGER, made DATETIME,
    CHECK (typeof(age) IN ('integer', 'null') AND instr(hex(name), '5858') = 0));
  CREATE UNIQUE INDEX person_name ON person(substr(hex(name), 1, 6));
  CREATE TABLE tag(name TEXT PRIMARY KEY NOT NULL, n INTEGER);
  CREATE UNIQUE INDEX tag_name ON tag(substr(hex(name), 1, 2));
  INSERT INTO person VALUES (1, 'Ann', 30, '2024-01-02 03:04:05'), (2, 'Bob', 40, '2024-01-02 03:04:06');
  INSERT INTO tag VALUES ('one', 1);`;

const FOREIGN = [
  ["person", "INSERT INTO person VALUES (3, 'Anna', 1, NULL)", "DELETE FROM person WHERE id = 3"],
  ["person", "UPDATE person SET name = 'XX' WHERE id = 1", "UPDATE person SET name = 'Ann' WHERE id = 1"],
  [
    "person",
    "UPDATE person SET made = '20000-01-01' WHERE id = 2",
    "UPDATE person SET made = '2024-05-05 05:05:05' WHERE id = 2",
  ],
  [
    "person",
    "UPDATE person SET made = 'infinity' WHERE id = 2",
    "UPDATE person SET made = NULL WHERE id = 2",
  ],
  ["tag", "INSERT INTO tag VALUES ('only', 2)", "UPDATE tag SET name = 'two' WHERE name = 'only'"],
] as const;

let file: TestFile;
let database: TestDatabase;
let sidecar: Sidecar;

beforeEach(async () => {
  file = testFile(SCHEMA);
  database = await testDatabase(18);
  sidecar = await Sidecar.streaming({ sqlite: file.path, url: database.url });
  await verify(sidecar);
  await move(sidecar, "postgres");
});
afterEach(async () => {
  await sidecar.remove();
  await database.drop();
  file.remove();
});

async function waitQuarantined(table: string, count: number): Promise<void> {
  await sidecar.waitFor(
    `${count} rows of ${table} in quarantine`,
    ({ sources }) => sources[0]?.tables.find(({ name }) => name === table)?.quarantined === count,
    5_000,
  );
}

test("each blocks the revert by its table's name, and unblocks it when it is repaired", async () => {
  for (const [table, wrong, mend] of FOREIGN) {
    try {
      await database.query(wrong);
    } catch (error) {
      throw new Error(`PostgreSQL refuses ${wrong}`, { cause: error });
    }
    await waitQuarantined(table, 1);
    const { code, document } = await ask(sidecar, "sqlite");
    expect(document, wrong).toMatchObject({ flipped: false, reason: expect.stringContaining(table) });
    expect(code).toBe(1);
    expect(JSON.stringify((await sidecar.status())?.problems)).toContain("QUARANTINED");
    await database.query(mend);
    await waitQuarantined(table, 0);
  }
  await move(sidecar, "sqlite");
  expect(await differences(file.path, database.url)).toEqual([]);
});

test("what is said of it names the store that has the writes, and the last comparison is shown", async () => {
  await database.query("INSERT INTO tag VALUES ('only', 2)");
  await waitQuarantined("tag", 1);
  const { code, stdout } = await sidecar.cli(["verify"]);
  expect(code).toBe(1);
  expect(stdout).toContain("tag: 2 rows in PostgreSQL, 1 in SQLite: 0 missing");
  expect(stdout).toContain("Correct quarantined rows in PostgreSQL.");
  const json = JSON.parse((await sidecar.cli(["verify", "--json"])).stdout);
  expect(json).toMatchObject({ equal: false, writes: "postgres" });
  await sidecar.waitFor("the comparison", (status) => status.verify?.equal === false, 10_000);
});

test("a quarantined row stays known over a restart, and leaves when it is deleted with others", async () => {
  await database.query("INSERT INTO tag VALUES ('only', 2), ('two', 2)");
  await waitQuarantined("tag", 1);
  expect(file.writer().prepare("SELECT name FROM tag ORDER BY 1").pluck().all()).toEqual(["one", "two"]);
  expect(await sidecar.term()).toBe(0);
  sidecar.start();
  await sidecar.waitPhase("reverse_streaming");
  await waitQuarantined("tag", 1);
  expect((await ask(sidecar, "sqlite")).code).toBe(1);
  // The row that was in its way goes: it comes in by itself once it is touched.
  await database.query("DELETE FROM tag WHERE name = 'one'");
  await database.query("UPDATE tag SET n = 3");
  await waitQuarantined("tag", 0);
  await move(sidecar, "sqlite");
  expect(await differences(file.path, database.url)).toEqual([]);
});
