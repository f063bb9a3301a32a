// Capture's installation: what is there, what is missing, what is more than needed, and that nothing is done to the
// file when nothing has to be.
import type Database from "better-sqlite3";
import { afterEach, beforeEach, expect, test } from "vitest";
import { SourceChanged } from "#switchback/protocol/contract.js";
import { restoreTriggers, suspendTriggers } from "#switchback/sqlite/app-triggers.js";
import { formerTriggers } from "#switchback/sqlite/capture/former-triggers.js";
import {
  installSqliteCapture,
  missingTriggers,
  readCapture,
  removeCapture,
  schemaVersion,
} from "#switchback/sqlite/capture/install.js";
import { openSqlite } from "#switchback/sqlite/connection.js";
import { isFencePrepared, prepareFence } from "#switchback/sqlite/fence.js";
import { readSchema } from "#switchback/sqlite/schema.js";
import { pythonNow, type TestFile, testFile } from "../support/sqlite.js";

let file: TestFile;
let db: Database.Database;

beforeEach(() => {
  file = testFile(`
    CREATE TABLE person(id INTEGER PRIMARY KEY, email TEXT, nick TEXT);
    CREATE UNIQUE INDEX person_email ON person(email);
    CREATE UNIQUE INDEX person_nick ON person(nick);`);
  db = openSqlite(file.path, { readonly: false });
});
afterEach(() => {
  db.close();
  file.remove();
});

const install = () => installSqliteCapture(db, readSchema(db).tables, schemaVersion(db));
const lost = () => missingTriggers(db, readSchema(db).tables, readCapture(db)?.ids ?? new Map());

test("a second installation changes nothing in the file", () => {
  const first = install();
  expect(first.fresh).toEqual(["person"]);
  const before = db.pragma("data_version", { simple: true });
  const again = install();
  expect(again).toEqual({ ...first, fresh: [] });
  expect(schemaVersion(db)).toBe(first.version);
  expect(Number(file.writer().pragma("schema_version", { simple: true }))).toBe(first.version);
  expect(db.pragma("data_version", { simple: true })).toBe(before);
});

test("a trigger that vanished, or was replaced by one that does less, is missed", () => {
  install();
  expect(lost()).toEqual(new Set());
  db.exec("DROP TRIGGER _switchback_1_delete");
  expect(lost()).toEqual(new Set(["person"]));
  db.exec("CREATE TRIGGER _switchback_1_delete AFTER DELETE ON person BEGIN SELECT 1; END");
  expect(lost()).toEqual(new Set(["person"]));
  expect(install().fresh).toEqual(["person"]);
  expect(lost()).toEqual(new Set());
});

test("a new unique index makes capture incomplete; a dropped one leaves it more than complete", () => {
  install();
  db.exec("DROP INDEX person_nick");
  expect(lost()).toEqual(new Set());
  expect(install().fresh).toEqual([]);
  // The column may go now: no trigger names it any more.
  db.exec("ALTER TABLE person DROP COLUMN nick");
  install();
  db.exec("CREATE UNIQUE INDEX person_both ON person(email, id)");
  expect(lost()).toEqual(new Set(["person"]));
});

test("without any unique index no eviction trigger is left", () => {
  install();
  db.exec("DROP INDEX person_nick; DROP INDEX person_email");
  install();
  const names = db
    .prepare("SELECT name FROM sqlite_schema WHERE type = 'trigger' ORDER BY name")
    .pluck()
    .all();
  expect(names).toEqual([
    "_switchback_1_delete",
    "_switchback_1_insert",
    "_switchback_1_rekey",
    "_switchback_1_update",
  ]);
});

test("tables that changed since they were read are not captured as they were", () => {
  const { tables } = readSchema(db);
  const version = schemaVersion(db);
  db.exec("ALTER TABLE person ADD COLUMN age INTEGER");
  expect(() => installSqliteCapture(db, tables, version)).toThrow(SourceChanged);
  expect(readCapture(db)).toBeNull();
});

test("removal leaves nothing of ours", () => {
  const before = db.prepare("SELECT type, name, sql FROM sqlite_schema ORDER BY name").all();
  install();
  removeCapture(db);
  expect(db.prepare("SELECT type, name, sql FROM sqlite_schema ORDER BY name").all()).toEqual(before);
});

/** Runs statements in Python's SQLite, each for itself; what each ended with. */
function apart(...statements: readonly string[]): string[] {
  const script = `
import json, sqlite3, sys
db = sqlite3.connect(sys.argv[1], isolation_level=None)
for text in json.loads(sys.argv[2]):
    try: print(db.execute(text).rowcount)
    except sqlite3.Error as error: print(error)
`;
  return pythonNow(script.trim(), [file.path, JSON.stringify(statements)])
    .trimEnd()
    .split("\n");
}

const logged = () =>
  new Set(db.prepare("SELECT k1 FROM _switchback_log WHERE t > 0").pluck().all() as unknown[]);

test.each([
  [
    "a default in the place of NULL",
    "CREATE TABLE t(a INTEGER PRIMARY KEY, u TEXT NOT NULL DEFAULT 'x' UNIQUE, c)",
    "INSERT INTO t VALUES (1, 'x', 'first'), (5, 'y', 'five')",
    "INSERT OR REPLACE INTO t VALUES (2, NULL, 'second')",
  ],
  [
    "the same by an update",
    "CREATE TABLE t(a INTEGER PRIMARY KEY, u TEXT NOT NULL ON CONFLICT REPLACE DEFAULT x UNIQUE ON CONFLICT REPLACE)",
    "INSERT INTO t VALUES (1, 'x'), (5, 'y')",
    "UPDATE t SET u = NULL WHERE a = 5",
  ],
  [
    "a generated column of it",
    "CREATE TABLE t(a INTEGER PRIMARY KEY, u TEXT NOT NULL DEFAULT 'x', g TEXT AS (u || '!') UNIQUE)",
    "INSERT INTO t VALUES (1, 'x'), (5, 'y')",
    "REPLACE INTO t(a, u) VALUES (3, NULL)",
  ],
  [
    "a generated column of an automatic id",
    "CREATE TABLE t(a INTEGER PRIMARY KEY, g INT AS (a % 10) STORED UNIQUE, c)",
    "INSERT INTO t(a, c) VALUES (1, 'x'), (10, 'y')",
    "INSERT OR REPLACE INTO t(c) VALUES ('z')",
  ],
  [
    "an index on an automatic id",
    "CREATE TABLE t(a INTEGER PRIMARY KEY AUTOINCREMENT, c); CREATE UNIQUE INDEX ti ON t(a % 10)",
    "INSERT INTO t(a, c) VALUES (1, 'x'), (10, 'y'); DELETE FROM t WHERE a = 10",
    "INSERT OR REPLACE INTO t(c) VALUES ('z')",
  ],
  [
    "an index that folds no case",
    "CREATE TABLE t(a INTEGER PRIMARY KEY, u TEXT COLLATE NOCASE, c); CREATE UNIQUE INDEX ti ON t(u COLLATE BINARY)",
    "INSERT INTO t VALUES (1, 'BOB', 'x'), (2, 'bob', 'y')",
    "UPDATE OR REPLACE t SET u = 'BOB' WHERE a = 2",
  ],
  [
    "an expression of a default",
    "CREATE TABLE t(a INTEGER PRIMARY KEY, u TEXT NOT NULL DEFAULT 'x'); CREATE UNIQUE INDEX ti ON t(printf('%s', u))",
    "INSERT INTO t VALUES (1, 'x'), (5, 'y')",
    "INSERT OR REPLACE INTO t VALUES (2, NULL)",
  ],
])("a row evicted through %s is logged", (_, schema, rows, statement) => {
  db.exec(`DROP TABLE person; ${schema}; ${rows};`);
  install();
  expect(apart(statement)).toEqual(["1"]);
  expect(db.prepare("SELECT count(*) FROM t WHERE a = 1").pluck().get()).toBe(0n);
  expect(logged()).toContain(1n);
});

test("an index's expression fails no statement that SQLite would have ignored", () => {
  db.exec(`CREATE TABLE t(a INTEGER PRIMARY KEY, j TEXT NOT NULL); CREATE UNIQUE INDEX ti ON t(json_extract(j, '$.x'));
    CREATE TABLE p(a INTEGER PRIMARY KEY, j TEXT); CREATE UNIQUE INDEX pi ON p(j ->> '$.x') WHERE json_valid(j);
    INSERT INTO t VALUES (1, '{"x": 1}'); INSERT INTO p VALUES (1, '{"x": 1}');`);
  install();
  expect(
    apart(
      "INSERT OR IGNORE INTO t VALUES (1, 'bad')",
      "INSERT INTO t VALUES (1, 'bad') ON CONFLICT DO NOTHING",
      "INSERT INTO t VALUES (2, 'bad')",
      "INSERT INTO p VALUES (2, 'bad')",
      `REPLACE INTO t VALUES (3, '{"x": 1}')`,
    ),
  ).toEqual(["0", "0", "malformed JSON", "1", "1"]);
  expect(logged()).toContain(1n);
});

const SILENCING = ["SELECT RAISE(IGNORE)", "SELECT RAISE(FAIL, 'refused')"];

test.each(SILENCING)("what an AFTER trigger made later does (%s) hides no update and no deletion", (act) => {
  db.exec("INSERT INTO person(id) VALUES (1), (2), (3)");
  install();
  db.exec(`CREATE TRIGGER late_update AFTER UPDATE ON person BEGIN ${act}; END;
    CREATE TRIGGER late_delete AFTER DELETE ON person BEGIN ${act}; END;`);
  const ends = act.includes("FAIL") ? "refused" : "1";
  expect(
    apart(
      "UPDATE person SET nick = 'x' WHERE id = 1",
      "UPDATE person SET id = 20 WHERE id = 2",
      "DELETE FROM person WHERE id = 3",
      `CREATE TEMP TRIGGER passing AFTER UPDATE ON main.person BEGIN ${act}; END`,
      "UPDATE person SET nick = 'y' WHERE id = 20",
    ),
  ).toEqual([ends, ends, ends, "-1", ends]);
  expect(db.prepare("SELECT id, nick FROM person ORDER BY id").raw().all()).toEqual([
    [1n, "x"],
    [20n, "y"],
  ]);
  expect(logged()).toEqual(new Set([1n, 2n, 20n, 3n]));
});

test("our insert trigger goes back above one that the application makes later, and keeps its place after a rest", () => {
  install();
  db.exec("CREATE TRIGGER quiet AFTER INSERT ON person BEGIN SELECT 1; END");
  expect(install().fresh).toEqual([]);
  db.exec(
    "CREATE TRIGGER loud AFTER INSERT ON person WHEN NEW.nick GLOB 'n*' BEGIN SELECT RAISE(IGNORE); END",
  );
  // Rows that came in between were not seen.
  expect(install().fresh).toEqual(["person"]);
  expect(install().fresh).toEqual([]);
  apart("INSERT INTO person(id, nick) VALUES (7, 'n')");
  expect(logged()).toContain(7n);
  suspendTriggers(db, ["person"]);
  restoreTriggers(db);
  expect(install().fresh).toEqual([]);
  apart("INSERT INTO person(id, nick) VALUES (8, 'n8'), (9, 'm')");
  expect(logged()).toContain(8n);
});

test("triggers of an earlier version are replaced, and nothing has to be copied again", () => {
  install();
  const [table] = readSchema(db).tables;
  if (!table) throw new Error("no table");
  const former = formerTriggers(table, 1);
  for (const { name } of former) db.exec(`DROP TRIGGER ${name}`);
  for (const { sql } of former) db.exec(sql);
  expect(lost()).toEqual(new Set());
  expect(install().fresh).toEqual([]);
  expect(
    db.prepare("SELECT sql FROM sqlite_schema WHERE name = '_switchback_1_delete'").pluck().get(),
  ).toMatch(/BEFORE DELETE/);
  for (const { name } of former) db.exec(`DROP TRIGGER ${name}`);
  for (const { sql, name } of former) if (!name.endsWith("_rekey")) db.exec(sql);
  expect(install().fresh).toEqual(["person"]);
});

test("a closed gate refuses what other triggers would have let through", () => {
  db.exec("CREATE TABLE plain(v); INSERT INTO plain VALUES ('old'); INSERT INTO person(id) VALUES (1)");
  install();
  prepareFence(db, 3);
  expect(isFencePrepared(db, 3)).toBe(true);
  expect(isFencePrepared(db, 4)).toBe(false);
  expect(apart("INSERT INTO plain VALUES ('open')", "INSERT INTO person(nick) VALUES ('n')")).toEqual([
    "1",
    "1",
  ]);
  db.exec("INSERT INTO _switchback_fenced VALUES (1)");
  const position = () => db.prepare("SELECT max(seq) FROM _switchback_log").pluck().get();
  const before = position();
  const temp = ["INSERT", "UPDATE", "DELETE"].flatMap((event) =>
    ["person", "plain"].map(
      (table) =>
        `CREATE TEMP TRIGGER ${table}_${event} AFTER ${event} ON main.${table} BEGIN SELECT RAISE(IGNORE); END`,
    ),
  );
  const refused = "switchback: writes have moved to PostgreSQL (epoch 3)";
  const writes = [
    "INSERT INTO person(nick) VALUES ('m')",
    "INSERT OR IGNORE INTO person(id) VALUES (1)",
    "REPLACE INTO person(id) VALUES (1)",
    "UPDATE person SET nick = 'o'",
    "DELETE FROM person",
    "INSERT INTO plain VALUES ('new')",
    "UPDATE plain SET v = 'new'",
    "DELETE FROM plain",
  ];
  expect(apart(...temp, ...writes)).toEqual([...temp.map(() => "-1"), ...writes.map(() => refused)]);
  expect(db.prepare("SELECT v FROM plain").pluck().all()).toEqual(["old", "open"]);
  expect(position()).toBe(before);
});

test("no conflict clause hides the fence; a statement that meets no row gets no error", () => {
  db.exec("INSERT INTO person(id, nick) VALUES (1, 'a'), (2, 'b')");
  install();
  prepareFence(db, 3);
  db.exec("INSERT INTO _switchback_fenced VALUES (1)");
  const refused = [
    ...["", "OR IGNORE", "OR REPLACE", "OR FAIL", "OR ROLLBACK"].flatMap((form) => [
      `INSERT ${form} INTO person(id, nick) VALUES (1, 'a')`,
      `INSERT ${form} INTO person(id, nick) VALUES (9, 'z')`,
    ]),
    "INSERT INTO person(id) VALUES (1) ON CONFLICT DO NOTHING",
    "INSERT INTO person(id) VALUES (1) ON CONFLICT(id) DO UPDATE SET nick = 'c'",
    "UPDATE OR IGNORE person SET nick = 'b' WHERE id = 1",
    "UPDATE OR IGNORE person SET nick = 'c'",
    "DELETE FROM person",
  ];
  const words = "switchback: writes have moved to PostgreSQL (epoch 3)";
  expect(apart(...refused)).toEqual(refused.map(() => words));
  const idle = [
    "UPDATE person SET nick = 'c' WHERE id = 9",
    "DELETE FROM person WHERE id = 9",
    "INSERT INTO person(id) SELECT 9 WHERE 0",
  ];
  expect(apart(...idle)).toEqual(["0", "0", "0"]);
  expect(db.prepare("SELECT id, nick FROM person").raw().all()).toEqual([
    [1n, "a"],
    [2n, "b"],
  ]);
});
