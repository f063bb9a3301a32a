// Keys that SQLite calls equal are one key in PostgreSQL too, in columns of any type: after 0 became -0.0 or 1 became
// 1.0, one row is there, and it has the exact value. The writer is Python's sqlite3.
import { afterEach, expect, test } from "vitest";
import { type Copying, prepareCopy } from "../support/copying.js";
import { type TestDatabase, testDatabase } from "../support/servers.js";
import { pythonNow, type TestFile, testFile } from "../support/sqlite.js";

const open: { file: TestFile; database: TestDatabase; copying: Copying }[] = [];
afterEach(async () => {
  for (const { file, database, copying } of open.splice(0)) {
    await copying.close();
    await database.drop();
    file.remove();
  }
});

const TABLES = `CREATE TABLE s(k PRIMARY KEY, v);
  CREATE TABLE w(a, b, v, PRIMARY KEY (a, b)) WITHOUT ROWID;
  CREATE TABLE n(k INTEGER PRIMARY KEY);`;
const TARGETS = `CREATE TABLE s(k jsonb PRIMARY KEY, v jsonb CHECK (v <> '"bad"'));
  CREATE TABLE w(a jsonb, b jsonb, v jsonb, PRIMARY KEY (a, b));
  CREATE TABLE n(k bigint PRIMARY KEY);`;

async function begin(rows: string) {
  const file = testFile(`${TABLES} ${rows}`);
  const database = await testDatabase(18);
  const options = { file: file.path, url: database.url, workers: 1, rowsPerRange: 2, target: TARGETS };
  const copying = await prepareCopy(options);
  open.push({ file, database, copying });
  const { link, source, target } = copying;
  await link.copy(source, target, new AbortController().signal);
  const texts = async (table: string, columns: readonly string[]) => {
    const list = columns.map((name) => `${name}::text`).join(", ");
    const found = await database.query(`SELECT ${list} FROM ${table} AS t ORDER BY t.v, 1`);
    return found.map((row) => Object.values(row).join(" "));
  };
  return {
    file,
    /** Each statement in its own window. */
    async windows(...statements: readonly string[]) {
      for (const text of statements) {
        writing(file, [text]);
        await link.drain(new AbortController().signal);
      }
    },
    /** All statements in one window. */
    async window(...statements: readonly string[]) {
      writing(file, statements);
      await link.drain(new AbortController().signal);
    },
    s: () => texts("s", ["k", "v"]),
    w: () => texts("w", ["a", "b", "v"]),
    refused: async () =>
      (await database.query("SELECT key FROM switchback.quarantine ORDER BY key")).map(({ key }) => key),
  };
}

function writing(file: TestFile, statements: readonly string[]): void {
  const script = `
import json, sqlite3, sys
db = sqlite3.connect(sys.argv[1])
for text in json.loads(sys.argv[2]): db.execute(text)
db.commit()
`;
  pythonNow(script.trim(), [file.path, JSON.stringify(statements)]);
}

const NEGATIVE = '{"$real": "-0.0"}';

test("a key that is replaced or changed by an equal one stays one row, and has the exact value", async () => {
  const at = await begin("INSERT INTO s VALUES (0, 1), (1, 2), ('0', 3), (x'30', 4)");
  const others = ['"0" 3', '{"$blob": "MA=="} 4'];
  await at.windows("REPLACE INTO s VALUES (-0.0, 1)");
  expect(await at.s()).toEqual([`${NEGATIVE} 1`, "1 2", ...others]);
  await at.windows("REPLACE INTO s VALUES (0.0, 1)", "UPDATE s SET k = 1.0 WHERE k = 1");
  expect(await at.s()).toEqual(["0.0 1", "1.0 2", ...others]);
  await at.windows("UPDATE s SET k = -0.0 WHERE k = 0", "REPLACE INTO s VALUES (1, 2)");
  expect(await at.s()).toEqual([`${NEGATIVE} 1`, "1 2", ...others]);
  await at.window(
    "REPLACE INTO s VALUES (0, 9)",
    "REPLACE INTO s VALUES (-0.0, 8)",
    "REPLACE INTO s VALUES (0, 1)",
  );
  expect(await at.s()).toEqual(["0 1", "1 2", ...others]);
  await at.windows("UPDATE s SET k = -0.0 WHERE k = 0", "DELETE FROM s WHERE k = 0");
  expect(await at.s()).toEqual(["1 2", ...others]);
});

test("every zero of a key of several columns is followed, and its neighbours stay", async () => {
  const at = await begin("INSERT INTO w VALUES (0, 0, 1), (0, 1, 2), (1, -0.0, 3)");
  expect(await at.w()).toEqual(["0 0 1", "0 1 2", `1 ${NEGATIVE} 3`]);
  await at.windows("REPLACE INTO w VALUES (-0.0, -0.0, 1)", "UPDATE w SET b = 0.0 WHERE a = 1");
  expect(await at.w()).toEqual([`${NEGATIVE} ${NEGATIVE} 1`, "0 1 2", "1 0.0 3"]);
  await at.windows("UPDATE w SET a = 0 WHERE a = 0 AND b = 0", "UPDATE w SET b = -0.0 WHERE b = 0");
  expect(await at.w()).toEqual([`0 ${NEGATIVE} 1`, "0 1 2", `1 ${NEGATIVE} 3`]);
  await at.windows("DELETE FROM w WHERE b = 0");
  expect(await at.w()).toEqual(["0 1 2"]);
});

const MANY = "WITH RECURSIVE n(i) AS (SELECT 10 UNION ALL SELECT i + 1 FROM n WHERE i < 3000)";

test("a window that is read in bulk follows them too", async () => {
  const at = await begin("INSERT INTO s VALUES (-0.0, 1), (1, 2)");
  const one = async (text: string) => {
    await at.window(`INSERT INTO s ${MANY} SELECT i, i FROM n`, text);
    const found = await at.s();
    await at.window("DELETE FROM s WHERE k >= 10");
    expect(found).toHaveLength(2993);
    expect(await at.s()).toEqual(found.slice(0, 2));
    return found.slice(0, 2);
  };
  expect(await one("UPDATE s SET k = 0 WHERE k = 0")).toEqual(["0 1", "1 2"]);
  expect(await one("REPLACE INTO s VALUES (-0.0, 1)")).toEqual([`${NEGATIVE} 1`, "1 2"]);
  await at.window(
    `INSERT INTO s ${MANY} SELECT i, i FROM n`,
    "UPDATE s SET k = 0 WHERE k = 0",
    "DELETE FROM s",
  );
  expect(await at.s()).toEqual([]);
});

test("a row leaves quarantine in whatever spelling of its key it is repaired", async () => {
  const at = await begin("INSERT INTO s VALUES (0, 'bad'), (1, 'bad'), (2.0, 'bad')");
  expect(await at.refused()).toEqual(["[0]", "[1]", "[2.0]"]);
  await at.windows("REPLACE INTO s VALUES (-0.0, 1)", "REPLACE INTO s VALUES (1.0, 2)");
  expect(await at.refused()).toEqual(["[2.0]"]);
  await at.windows("REPLACE INTO s VALUES (2, 3)", "REPLACE INTO s VALUES (-0.0, 'bad')");
  expect(await at.refused()).toEqual(["[-0.0]"]);
  expect(await at.s()).toEqual(["1.0 2", "2 3"]);
  await at.windows("REPLACE INTO s VALUES (0, 1)");
  expect(await at.refused()).toEqual([]);
  expect(await at.s()).toEqual(["0 1", "1.0 2", "2 3"]);
});
