// Numbers that the stores give out by themselves. After every flip they continue above those given before, also where
// the newest row is gone, and never meet a row that is there.
import { afterEach, beforeEach, expect, test } from "vitest";
import { Sidecar } from "../support/cli.js";
import { drained, move, type Store, verify } from "../support/flips.js";
import { differences } from "../support/rows.js";
import { type TestDatabase, testDatabase } from "../support/servers.js";
import { type TestFile, testFile } from "../support/sqlite.js";

let file: TestFile;
let database: TestDatabase;
let sidecar: Sidecar;

beforeEach(async () => {
  file = testFile(`
    CREATE TABLE counted(id INTEGER PRIMARY KEY AUTOINCREMENT, v TEXT);
    CREATE TABLE emptied(id INTEGER PRIMARY KEY AUTOINCREMENT, v TEXT);
    CREATE TABLE plain(id INTEGER PRIMARY KEY, v TEXT);
    CREATE TABLE keyless(v TEXT);
    INSERT INTO counted(v) VALUES ('1'), ('2'), ('3'), ('4'); DELETE FROM counted WHERE id > 2;
    INSERT INTO emptied(id, v) VALUES (99, 'gone'); DELETE FROM emptied;
    INSERT INTO plain(v) VALUES ('1'), ('2'), ('3'); DELETE FROM plain WHERE id = 3;
    INSERT INTO keyless VALUES ('1'), ('2');`);
  database = await testDatabase(18);
  sidecar = await Sidecar.streaming({ sqlite: file.path, url: database.url });
  await verify(sidecar);
});
afterEach(async () => {
  await sidecar.remove();
  await database.drop();
  file.remove();
});

const TABLES = ["counted", "emptied", "plain", "keyless"] as const;
type Numbers = Record<(typeof TABLES)[number], number>;

/** Inserts a row without a number into every table; the numbers given. */
async function insert(store: Store): Promise<Numbers> {
  const writer = store === "sqlite" ? file.writer() : null;
  const given: Partial<Numbers> = {};
  for (const table of TABLES) {
    const text = `INSERT INTO ${table}(v) VALUES ('${store}') RETURNING`;
    if (writer) {
      given[table] = (
        writer.prepare(`${text} ${table === "keyless" ? "rowid" : "id"} AS id`).get() as { id: number }
      ).id;
    } else {
      const column = table === "keyless" ? "_switchback_rowid" : "id";
      given[table] = (await database.query(`${text} ${column}::int AS id`))[0]?.id as number;
    }
  }
  return given as Numbers;
}

async function flip(to: Store): Promise<void> {
  await move(sidecar, to);
  expect(await differences(file.path, database.url)).toEqual([]);
}

test("numbers continue after every flip", async () => {
  expect(await insert("sqlite")).toEqual({ counted: 5, emptied: 100, plain: 3, keyless: 3 });
  await flip("postgres");
  expect(await insert("postgres")).toEqual({ counted: 6, emptied: 101, plain: 4, keyless: 4 });
  await flip("sqlite");
  expect(await insert("sqlite")).toEqual({ counted: 7, emptied: 102, plain: 5, keyless: 5 });
  await flip("postgres");
  expect(await insert("postgres")).toEqual({ counted: 8, emptied: 103, plain: 6, keyless: 6 });
  await drained(sidecar, "postgres");
  expect(await differences(file.path, database.url)).toEqual([]);
});

test("a number whose row is gone is not given again by either store", async () => {
  await flip("postgres");
  expect(await insert("postgres")).toEqual({ counted: 5, emptied: 100, plain: 3, keyless: 3 });
  // One is used up by a transaction that comes to nothing.
  const client = await database.client();
  await client.query(
    "BEGIN; INSERT INTO counted(v) VALUES ('never'); INSERT INTO emptied(v) VALUES ('never'); ROLLBACK",
  );
  await database.query("DELETE FROM counted WHERE id >= 2");
  await database.query("TRUNCATE emptied");
  await database.query("DELETE FROM plain WHERE id = 3");
  await database.query("DELETE FROM keyless WHERE _switchback_rowid = 3");
  await flip("sqlite");
  // Without AUTOINCREMENT SQLite gives the freed number again, as it always did.
  expect(await insert("sqlite")).toEqual({ counted: 7, emptied: 102, plain: 3, keyless: 3 });
  file.writer().exec("DELETE FROM counted; DELETE FROM emptied; DELETE FROM plain; DELETE FROM keyless");
  await drained(sidecar, "sqlite");
  await flip("postgres");
  // PostgreSQL's own sequences count on, whatever SQLite forgot.
  expect(await insert("postgres")).toEqual({ counted: 8, emptied: 103, plain: 4, keyless: 4 });
});

test("numbers that the application chose are counted too", async () => {
  await flip("postgres");
  await database.query("INSERT INTO counted VALUES (1000, 'mine'), (-5, 'below')");
  await database.query("INSERT INTO plain VALUES (2000, 'mine')");
  await database.query("INSERT INTO keyless(v, _switchback_rowid) VALUES ('mine', 3000)");
  await database.query("DELETE FROM counted WHERE id = 1000");
  // Rows that came and went before SQLite could have heard of them.
  await database.query("INSERT INTO counted VALUES (1500, 'brief'); DELETE FROM counted WHERE id = 1500");
  await database.query(
    "INSERT INTO emptied SELECT n, 'brief' FROM generate_series(3001, 7000) AS n; TRUNCATE emptied",
  );
  await flip("sqlite");
  expect(await insert("sqlite")).toEqual({ counted: 1501, emptied: 7001, plain: 2001, keyless: 3001 });
  await flip("postgres");
  expect(await insert("postgres")).toEqual({ counted: 1502, emptied: 7002, plain: 2002, keyless: 3002 });
});
