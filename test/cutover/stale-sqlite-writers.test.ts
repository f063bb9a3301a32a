// Writers that ignore the route while PostgreSQL has the writes. SQLite refuses every kind of statement, from every
// connection, in the contract's words. Readers keep no flip waiting, in either direction.
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, expect, test } from "vitest";
import { Sidecar } from "../support/cli.js";
import { drained, expectRoute, move, verify } from "../support/flips.js";
import { differences } from "../support/rows.js";
import { type TestDatabase, testDatabase } from "../support/servers.js";
import { type Outside, python, type TestFile, testFile } from "../support/sqlite.js";

/** Runs each line of its input, a JSON list of a connection's name and a statement, and answers in one line. */
const STALE = `
import json, sqlite3, sys
connections = {}
for line in sys.stdin:
    name, statement = json.loads(line)
    if name not in connections:
        connections[name] = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=2)
    try:
        print(json.dumps({"rows": connections[name].execute(statement).fetchall()}), flush=True)
    except sqlite3.Error as error:
        print(json.dumps({"error": str(error), "kind": type(error).__name__}), flush=True)
`;

interface Said {
  readonly rows?: readonly unknown[][];
  readonly error?: string;
  readonly kind?: string;
}

let file: TestFile;
let database: TestDatabase;
let sidecar: Sidecar;
let outside: Outside;

async function run(connection: string, statement: string): Promise<Said> {
  outside.process.stdin?.write(`${JSON.stringify([connection, statement])}\n`);
  return JSON.parse(await outside.line()) as Said;
}

beforeAll(async () => {
  file = testFile(`
    CREATE TABLE person(id INTEGER PRIMARY KEY AUTOINCREMENT, email TEXT UNIQUE, n INTEGER NOT NULL DEFAULT 0);
    CREATE TABLE tag(name TEXT PRIMARY KEY COLLATE NOCASE, n INTEGER) WITHOUT ROWID;
    CREATE TABLE line(text TEXT);
    CREATE TABLE pet(id INTEGER PRIMARY KEY, owner INTEGER REFERENCES person(id) ON DELETE CASCADE);
    CREATE VIEW people AS SELECT email FROM person;
    CREATE TRIGGER people_in INSTEAD OF INSERT ON people BEGIN INSERT INTO person(email) VALUES (NEW.email); END;
    CREATE TABLE elsewhere(note TEXT);
    INSERT INTO person(email) VALUES ('a@x'), ('b@x'), ('c@x');
    INSERT INTO pet VALUES (1, 1), (2, 2);
    INSERT INTO tag VALUES ('One', 1);
    INSERT INTO line VALUES ('first');`);
  database = await testDatabase(15);
  sidecar = await Sidecar.streaming({
    sqlite: file.path,
    url: database.url,
    source: { exclude: ["elsewhere"] },
  });
  outside = python(STALE, [file.path]);
  await verify(sidecar);
});
afterAll(async () => {
  outside?.kill();
  await sidecar?.remove();
  await database?.drop();
  file?.remove();
});

const STATEMENTS = [
  "INSERT INTO person(email) VALUES ('late@x')",
  "INSERT OR IGNORE INTO person(email) VALUES ('late@x')",
  "INSERT OR REPLACE INTO person(id, email) VALUES (1, 'late@x')",
  "INSERT OR FAIL INTO person(email) VALUES ('late@x')",
  "INSERT OR ROLLBACK INTO person(email) VALUES ('late@x')",
  "REPLACE INTO tag VALUES ('ONE', 2)",
  "INSERT INTO tag VALUES ('one', 2) ON CONFLICT(name) DO UPDATE SET n = excluded.n",
  "INSERT INTO person(email) SELECT 'late' || id FROM pet",
  "INSERT INTO line VALUES ('late')",
  "INSERT INTO people VALUES ('late@x')",
  "UPDATE person SET n = n + 1",
  "UPDATE OR IGNORE person SET n = n + 1 WHERE id = 1",
  "UPDATE OR REPLACE person SET email = 'b@x' WHERE id = 1",
  "UPDATE person SET n = n WHERE id = 1",
  "UPDATE tag SET name = 'one'",
  "UPDATE line SET rowid = 7",
  "DELETE FROM person WHERE id = 3",
  "DELETE FROM tag",
  "DELETE FROM line",
  "WITH late AS (SELECT 1) DELETE FROM pet WHERE id IN (SELECT * FROM late)",
  "INSERT INTO person(email) VALUES ('late@x') RETURNING id",
];

test("every statement is refused, from connections opened before and after, and changes nothing", async () => {
  expect(await run("before", "SELECT count(*) FROM person")).toEqual({ rows: [[3]] });
  await run("deferred", "BEGIN");
  await run("reader", "BEGIN");
  expect(await run("reader", "SELECT count(*) FROM person")).toEqual({ rows: [[3]] });
  await run("enforcing", "PRAGMA foreign_keys = ON");
  await run("recursive", "PRAGMA recursive_triggers = ON");
  await run("trusting", "PRAGMA trusted_schema = OFF");
  // Neither the open reader nor the transaction that has not read yet keeps the flip waiting.
  await move(sidecar, "postgres");
  await expectRoute(sidecar, file.path, database, "postgres", 1);
  for (const connection of ["before", "deferred", "enforcing", "recursive", "trusting", "after"]) {
    for (const statement of STATEMENTS) {
      const said = await run(connection, statement);
      expect(said, `${connection}: ${statement}`).toEqual({
        error: "switchback: writes have moved to PostgreSQL (epoch 1)",
        kind: "IntegrityError",
      });
      if (connection === "deferred" && statement.includes("OR ROLLBACK")) await run("deferred", "BEGIN");
    }
    // A refused statement does not end the transaction around it, which keeps SQLite's write lock.
    if (connection === "deferred") await run("deferred", "ROLLBACK");
  }
  expect(await run("after", "DELETE FROM person WHERE id = 77")).toEqual({ rows: [] });
  // What is not followed is not switchback's business.
  expect(await run("after", "INSERT INTO elsewhere VALUES ('mine')")).toEqual({ rows: [] });
  const late = await run("reader", "INSERT INTO line VALUES ('late')");
  expect(late.error).toMatch(/locked|switchback/);
  expect(await differences(file.path, database.url, { tables: ["person", "tag", "line", "pet"] })).toEqual(
    [],
  );
});

test("the open SQLite reader holds up neither streaming home nor the revert", async () => {
  await database.query("INSERT INTO person(email) VALUES ('from postgres')");
  await drained(sidecar, "postgres");
  expect(await run("reader", "SELECT count(*) FROM person")).toEqual({ rows: [[3]] });
  await move(sidecar, "sqlite");
  await expectRoute(sidecar, file.path, database, "sqlite", 2);
  expect(await run("after", "SELECT email FROM person WHERE id = 4")).toEqual({ rows: [["from postgres"]] });
  expect(await run("after", "INSERT INTO person(email) VALUES ('home again') RETURNING id")).toEqual({
    rows: [[5]],
  });
  await drained(sidecar, "sqlite");
  expect(await differences(file.path, database.url, { tables: ["person", "tag", "line", "pet"] })).toEqual(
    [],
  );
  // Its view is from long ago: SQLite itself lets it write no more.
  const late = await run("reader", "INSERT INTO line VALUES ('late')");
  expect(late.error).toMatch(/locked/);
  await run("reader", "ROLLBACK");
});

test("a write under way when the cutover is asked for is waited for, and survives", async () => {
  await run("slow", "BEGIN IMMEDIATE");
  await run("slow", "INSERT INTO line VALUES ('in flight')");
  const moving = move(sidecar, "postgres");
  await sleep(1_000);
  expect(await run("slow", "COMMIT")).toEqual({ rows: [] });
  await moving;
  expect(await database.query("SELECT count(*)::int AS n FROM line WHERE text = 'in flight'")).toEqual([
    { n: 1 },
  ]);
});
