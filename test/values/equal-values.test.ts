// One value spelled in two ways is one value: what PostgreSQL keeps as 19.90 is 19.9 in SQLite, and every comparison
// says so, in both directions and after every flip. What SQLite tells apart, 1 and 1.0, stays a difference.
import { afterEach, beforeEach, expect, test } from "vitest";
import { Sidecar } from "../support/cli.js";
import { drained, move, verify } from "../support/flips.js";
import { type TestDatabase, testDatabase } from "../support/servers.js";
import { type TestFile, testFile } from "../support/sqlite.js";

let file: TestFile;
let database: TestDatabase;
let sidecar: Sidecar;

beforeEach(async () => {
  file = testFile(`
    CREATE TABLE account(id INTEGER PRIMARY KEY, balance DECIMAL(10,2), free NUMERIC, doc JSON);
    INSERT INTO account VALUES (1, 10.0, 0.5, '{"a": 1.0}'), (2, 2.5, 1, '7');
    CREATE TABLE price(amount NUMERIC PRIMARY KEY, label TEXT); INSERT INTO price VALUES (1.5, 'x');
    CREATE TABLE mixed(k PRIMARY KEY, v); INSERT INTO mixed VALUES (1, 1), (2, 1.5), ('three', 'text');`);
  database = await testDatabase(15);
  sidecar = await Sidecar.streaming({ sqlite: file.path, url: database.url });
  await verify(sidecar);
  await move(sidecar, "postgres");
});
afterEach(async () => {
  await sidecar.remove();
  await database.drop();
  file.remove();
});

const problems = async () =>
  ((await sidecar.status())?.problems ?? []).map((p) => (p as { code: string }).code);

test("numbers that keep their zeros in PostgreSQL are equal, now and after further flips", async () => {
  await database.query(`UPDATE account SET balance = balance + 5.00, free = 3.140;
    INSERT INTO account VALUES (3, 19.90, 1.0, '{"b": 2.50}');
    INSERT INTO price VALUES (7.50, 'y'), (8.00, 'z');
    INSERT INTO mixed VALUES ('4.50', '2.50'), ('5', '3.0')`);
  await drained(sidecar, "postgres");
  await verify(sidecar);
  const account = "SELECT balance FROM account ORDER BY id";
  expect(file.writer().prepare(account).pluck().all()).toEqual([15, 7.5, 19.9]);
  // Nothing changed, but what happened meanwhile is unknown: one comparison settles it.
  await database.query("ALTER TABLE account DISABLE TRIGGER ALL; ALTER TABLE account ENABLE TRIGGER ALL");
  await database.query("ALTER TABLE price DISABLE TRIGGER ALL; ALTER TABLE price ENABLE TRIGGER ALL");
  await expect.poll(problems, { timeout: 15_000 }).toContain("COPY_UNKNOWN");
  expect((await sidecar.cli(["verify", "--repair"])).code).toBe(0);
  await move(sidecar, "sqlite");
  await verify(sidecar);
  file.writer().exec("UPDATE account SET balance = balance + 1 WHERE id = 1; UPDATE price SET label = 'w'");
  await sidecar.waitDrained();
  await verify(sidecar);
  await move(sidecar, "postgres");
  await verify(sidecar);
});

test("a storage class that changed unseen is a difference, found and repaired", async () => {
  await database.query(`ALTER TABLE mixed DISABLE TRIGGER ALL;
    UPDATE mixed SET v = '1.0' WHERE v = '1'; UPDATE mixed SET v = '1.50' WHERE v = '1.5';
    ALTER TABLE mixed ENABLE TRIGGER ALL`);
  const { code, stdout } = await sidecar.cli(["verify", "--json"]);
  expect(code).toBe(1);
  expect(JSON.parse(stdout).tables.find((t: { name: string }) => t.name === "mixed")).toMatchObject({
    different: 1,
  });
  expect((await sidecar.cli(["verify", "--repair"])).code).toBe(0);
  expect(file.writer().prepare("SELECT typeof(v) FROM mixed WHERE k = 1").pluck().get()).toBe("real");
  await expect.poll(problems, { timeout: 15_000 }).toEqual([]);
  await move(sidecar, "sqlite");
});
