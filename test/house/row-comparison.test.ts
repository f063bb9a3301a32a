// The comparison that the other tests trust: it must find what differs and accept what is the same.
import { afterAll, beforeAll, expect, test } from "vitest";
import { differences } from "../support/rows.js";
import { type TestDatabase, testDatabase } from "../support/servers.js";
import { type TestFile, testFile } from "../support/sqlite.js";

let file: TestFile;
let database: TestDatabase;

beforeAll(async () => {
  file = testFile(`
    CREATE TABLE t(id INTEGER PRIMARY KEY, r REAL, s TEXT, b BLOB, n NUMERIC, v, d TEXT);
    INSERT INTO t VALUES (1, 0.1, 'é' || char(9), x'00ff', 2.5, 1.0, '2024-05-06 07:08:09.5'),
                         (2, 0.0, '', x'', 9007199254740993, 'one', '2024-05-06T09:08:09+02:00'), (3, NULL, NULL, NULL, NULL, NULL, NULL);
    CREATE TABLE _switchback_log(seq INTEGER PRIMARY KEY);`);
  database = await testDatabase(15);
  await database.query(
    "CREATE TABLE t(id bigint, r double precision, s text, b bytea, n numeric, v jsonb, d timestamptz)",
  );
});
afterAll(async () => {
  file.remove();
  await database.drop();
});

async function fill(change = ""): Promise<string[]> {
  await database.query(`TRUNCATE t`);
  await database.query(`INSERT INTO t VALUES (1, 0.1, E'é\\t', '\\x00ff', 2.50, '1.0', '2024-05-06 07:08:09.5Z'),
    (2, 0, '', '\\x', 9007199254740993, '"one"', '2024-05-06 07:08:09Z'), (3, NULL, NULL, NULL, NULL, NULL, NULL)`);
  if (change) await database.query(change);
  return differences(file.path, database.url);
}

test("equal rows are equal, whatever the types print", async () => {
  expect(await fill()).toEqual([]);
});

test.each([
  "DELETE FROM t WHERE id = 3",
  "INSERT INTO t SELECT * FROM t WHERE id = 3",
  "UPDATE t SET r = '-0' WHERE id = 2",
  "UPDATE t SET r = 0.1::real WHERE id = 1",
  "UPDATE t SET s = NULL WHERE id = 2",
  "UPDATE t SET b = '\\x00fe' WHERE id = 1",
  "UPDATE t SET n = 2.6 WHERE id = 1",
  "UPDATE t SET v = '1' WHERE id = 1",
  "UPDATE t SET d = d + interval '1 microsecond' WHERE id = 1",
])("finds: %s", async (change) => {
  expect(await fill(change)).toHaveLength(1);
});
