// Writers that ignore the route while SQLite has the writes. PostgreSQL refuses every kind of statement, also in
// transactions that began before the revert. What was under way then survives, and readers keep neither a flip nor
// the copy waiting.
import { setTimeout as sleep } from "node:timers/promises";
import type pg from "pg";
import { afterAll, beforeAll, expect, test } from "vitest";
import { Sidecar } from "../support/cli.js";
import { drained, expectRoute, move, verify } from "../support/flips.js";
import { differences } from "../support/rows.js";
import { type TestDatabase, testDatabase } from "../support/servers.js";
import { type TestFile, testFile } from "../support/sqlite.js";

let file: TestFile;
let database: TestDatabase;
let sidecar: Sidecar;

beforeAll(async () => {
  file = testFile(`
    CREATE TABLE person(id INTEGER PRIMARY KEY AUTOINCREMENT, email TEXT UNIQUE, n INTEGER NOT NULL DEFAULT 0);
    CREATE TABLE pet(id INTEGER PRIMARY KEY, owner INTEGER REFERENCES person(id) ON DELETE CASCADE);
    CREATE TABLE line(text TEXT);
    INSERT INTO person(email) VALUES ('a@x'), ('b@x'), ('c@x');
    INSERT INTO pet VALUES (1, 1), (2, 2);
    INSERT INTO line VALUES ('first');`);
  database = await testDatabase(15);
  sidecar = await Sidecar.streaming({ sqlite: file.path, url: database.url });
  await verify(sidecar);
});
afterAll(async () => {
  await sidecar?.remove();
  await database?.drop();
  file?.remove();
});

const STATEMENTS = [
  "INSERT INTO person(email) VALUES ('late@x')",
  "INSERT INTO person(id, email) VALUES (1, 'late@x') ON CONFLICT (id) DO UPDATE SET email = excluded.email",
  "INSERT INTO person(email) VALUES ('a@x') ON CONFLICT DO NOTHING",
  "INSERT INTO person(email) SELECT 'late' || id FROM pet",
  "UPDATE person SET n = n + 1",
  "UPDATE person SET n = n WHERE id = 77",
  "DELETE FROM line",
  "DELETE FROM person WHERE id = 1",
  "TRUNCATE line",
  "TRUNCATE person CASCADE",
  "MERGE INTO person p USING (VALUES (1)) v(id) ON p.id = v.id WHEN MATCHED THEN UPDATE SET n = 7",
  "WITH gone AS (DELETE FROM line RETURNING text) SELECT * FROM gone",
  "WITH made AS (INSERT INTO pet VALUES (9, 1) RETURNING id) SELECT * FROM made",
  "COPY line FROM PROGRAM 'echo late'",
  "DO $$ BEGIN EXECUTE 'UPDATE person SET n = 9'; END $$",
];

async function expectRefused(client: pg.Client, statement: string, epoch: number): Promise<void> {
  await expect(client.query(statement), statement).rejects.toMatchObject({
    code: "25006",
    message: `switchback: writes go to SQLite (epoch ${epoch})`,
  });
}

async function expectEqual(): Promise<void> {
  await drained(sidecar, "sqlite");
  expect(await differences(file.path, database.url)).toEqual([]);
}

test("before the first cutover every statement is refused, and so in every isolation level", async () => {
  const client = await database.client();
  for (const statement of STATEMENTS) await expectRefused(client, statement, 0);
  for (const level of ["REPEATABLE READ", "SERIALIZABLE"]) {
    await client.query(`BEGIN ISOLATION LEVEL ${level}`);
    await expectRefused(client, "UPDATE person SET n = 1", 0);
    await client.query("ROLLBACK");
  }
  await expectEqual();
});

test("readers of PostgreSQL do not stop the cutover, on a table with foreign keys neither", async () => {
  const reader = await database.client();
  await reader.query("BEGIN ISOLATION LEVEL REPEATABLE READ");
  expect((await reader.query("SELECT * FROM pet JOIN person ON owner = person.id")).rowCount).toBe(2);
  await move(sidecar, "postgres");
  await expectRoute(sidecar, file.path, database, "postgres", 1);
  await database.query("INSERT INTO pet VALUES (3, 3)");
  expect((await reader.query("SELECT * FROM pet")).rowCount).toBe(2);
  await reader.query("ROLLBACK");
  await reader.end();
});

test("a write under way at the revert is waited for and survives; transactions begun before it write no more", async () => {
  const [repeatable, serializable, idle, prepared, flight] = await Promise.all(
    Array.from({ length: 5 }, () => database.client()),
  );
  if (!repeatable || !serializable || !idle || !prepared || !flight) throw new Error("five clients");
  await repeatable.query("BEGIN ISOLATION LEVEL REPEATABLE READ");
  await repeatable.query("SELECT 1 FROM line");
  await serializable.query("BEGIN ISOLATION LEVEL SERIALIZABLE");
  await serializable.query("SELECT 1 FROM line");
  await idle.query("BEGIN");
  const named = (n: number) =>
    prepared.query({ name: "count", text: "UPDATE person SET n = n + $1 WHERE id = 2", values: [n] });
  for (let n = 0; n < 7; n++) await named(1);
  await flight.query("BEGIN");
  await flight.query("INSERT INTO person(email) VALUES ('in flight')");
  await flight.query("INSERT INTO line VALUES ('in flight')");
  const moving = move(sidecar, "sqlite");
  await sleep(1_000);
  await flight.query("COMMIT");
  await moving;
  await expectRoute(sidecar, file.path, database, "sqlite", 2);
  expect(file.writer().prepare("SELECT id FROM person WHERE email = 'in flight'").pluck().get()).toBe(4);
  expect(file.writer().prepare("SELECT count(*) FROM line").pluck().get()).toBe(2);
  for (const client of [repeatable, serializable, idle]) {
    await client.query("SAVEPOINT s");
    await expectRefused(client, "INSERT INTO line VALUES ('late')", 2);
    await client.query("ROLLBACK TO s");
    await expectRefused(client, "UPDATE person SET n = 100", 2);
    await client.query("ROLLBACK");
  }
  await expect(named(1)).rejects.toMatchObject({ code: "25006" });
  for (const statement of STATEMENTS) await expectRefused(flight, statement, 2);
  await expectEqual();
});

test("readers that stay open hold up neither the revert nor, without foreign keys, the copy afterwards", async () => {
  await verify(sidecar);
  await move(sidecar, "postgres");
  const [plain, keyed] = [await database.client(), await database.client()];
  for (const client of [plain, keyed]) await client.query("BEGIN ISOLATION LEVEL REPEATABLE READ");
  expect((await plain.query("SELECT * FROM line")).rowCount).toBe(2);
  await move(sidecar, "sqlite");
  await verify(sidecar);
  await move(sidecar, "postgres");
  expect((await keyed.query("SELECT * FROM pet JOIN person ON owner = person.id")).rowCount).toBe(3);
  const { code, stdout } = await sidecar.cli(["revert", "--json"]);
  expect(code, stdout).toBe(0);
  await expectRoute(sidecar, file.path, database, "sqlite", 6);
  // SQLite takes the writes immediately; the copy continues when the foreign keys are out of the way.
  file.writer().exec("INSERT INTO pet VALUES (4, 4); DELETE FROM person WHERE id = 1");
  await sleep(500);
  expect((await keyed.query("SELECT * FROM pet JOIN person ON owner = person.id")).rowCount).toBe(3);
  await keyed.query("COMMIT");
  await expectEqual();
  expect((await plain.query("SELECT * FROM line")).rowCount).toBe(2);
});
