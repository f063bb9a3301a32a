// A file that has everything goes to PostgreSQL and comes back. It is the same in every value and every object of its
// schema, and after changes in PostgreSQL the same as a twin that was changed in SQLite all along.
import { copyFileSync } from "node:fs";
import { join } from "node:path";
import Database from "better-sqlite3";
import { afterEach, beforeEach, expect, test } from "vitest";
import { Sidecar } from "../support/cli.js";
import { fileDump, plainDump } from "../support/file-dump.js";
import { drained, move, verify } from "../support/flips.js";
import { differences } from "../support/rows.js";
import { type TestDatabase, testDatabase } from "../support/servers.js";
import { type TestFile, testFile } from "../support/sqlite.js";

const SCHEMA = `
  CREATE TABLE person(id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL, nick TEXT COLLATE NOCASE UNIQUE,
    born DATE, seen DATETIME, touched INTEGER NOT NULL DEFAULT 0, active BOOLEAN DEFAULT 1);
  CREATE TABLE setting(k TEXT PRIMARY KEY COLLATE NOCASE NOT NULL, v JSON, raw) WITHOUT ROWID;
  CREATE TABLE reading(id INTEGER PRIMARY KEY, r REAL, d DECIMAL(10, 2), big INTEGER, b BLOB,
    twice INTEGER AS (big % 1000 * 2) STORED, label TEXT AS ('no ' || id) VIRTUAL);
  CREATE TABLE note(text TEXT, n INTEGER);
  CREATE TABLE event(at INTEGER, at_ms TIMESTAMP, iso TIMESTAMP, id INTEGER PRIMARY KEY);
  CREATE TABLE trip(day TEXT, line INTEGER, leader INTEGER REFERENCES person(id) ON DELETE CASCADE, PRIMARY KEY (day, line));
  CREATE TABLE stop(day TEXT, line INTEGER, n INTEGER, place TEXT, PRIMARY KEY (day, line, n),
    FOREIGN KEY (day, line) REFERENCES trip(day, line) ON DELETE CASCADE ON UPDATE CASCADE);
  CREATE TABLE audit(id INTEGER PRIMARY KEY, what TEXT, who INTEGER);
  CREATE UNIQUE INDEX person_active ON person(name) WHERE active = 1;
  CREATE INDEX person_lower ON person(lower(name), seen DESC);
  CREATE VIEW adult AS SELECT id, name FROM person WHERE born < '2000-01-01';
  CREATE TRIGGER adult_in INSTEAD OF INSERT ON adult BEGIN
    INSERT INTO person(name, born) VALUES (NEW.name, '1970-01-01'); END;
  CREATE TRIGGER person_audit AFTER INSERT ON person BEGIN INSERT INTO audit(what, who) VALUES ('made', NEW.id); END;
  CREATE TRIGGER person_touch AFTER UPDATE OF name ON person BEGIN
    UPDATE person SET touched = touched + 1 WHERE id = NEW.id; END;
  CREATE TRIGGER person_second AFTER INSERT ON person BEGIN INSERT INTO audit(what, who) VALUES ('second', NEW.id); END;
  CREATE TRIGGER "odd ""name""" BEFORE DELETE ON note BEGIN
    INSERT INTO audit(what) VALUES ('gone: ' || OLD.text); /* ; END */ END;
  INSERT INTO person(name, nick, born, seen) VALUES ('Ann', 'annie', '1999-12-31', '2024-01-02 03:04:05'),
    ('Bob', 'BOB', '2001-02-03', '2024-01-02 03:04:05'), ('Cid', NULL, NULL, NULL), ('Tip', 'tip', '1950-05-05', '1999-01-01 00:00:00');
  DELETE FROM person WHERE name = 'Tip';
  UPDATE person SET name = 'Ann Lee' WHERE id = 1;
  INSERT INTO setting VALUES ('Theme', '{ "b" : 1,\t"a":[1, 2.50, 1e2] , "b": 2 }', 1), ('lang', '"de"', 1.0),
    ('ZERO', NULL, x'00ff'), ('Empty', '{}', '1'), ('huge', '12345678901234567890', -0.0);
  INSERT INTO reading(id, r, d, big, b) VALUES (1, 0.1, 12.5, 9007199254740993, x''), (2, -0.0, 3, -9223372036854775808, x'00'),
    (3, 1e300, 0.1, 9223372036854775807, NULL), (-4, 1.0, 100, 0, zeroblob(3)), (50, 9e999, NULL, NULL, x'deadbeef');
  INSERT INTO note VALUES ('twice', 1), ('twice', 1), ('it''s' || char(10) || 'two lines', 2), ('', 3), (NULL, NULL), ('漢字 😀 é', 4);
  INSERT INTO event VALUES (1700000000, 1700000000123, '2024-05-06T07:08:09.120Z', 1), (NULL, 0, '2024-05-06T07:08:09.999Z', 2);
  INSERT INTO trip VALUES ('2024-01-01', 1, 1), ('2024-01-01', 2, 2), ('2024-02-02', 1, NULL);
  INSERT INTO stop VALUES ('2024-01-01', 1, 1, 'Here'), ('2024-01-01', 1, 2, 'There'), ('2024-02-02', 1, 1, 'Away');`;

let file: TestFile;
let database: TestDatabase;
let sidecar: Sidecar;

beforeEach(async () => {
  file = testFile(SCHEMA);
  database = await testDatabase(18);
  sidecar = await Sidecar.prepare({ sqlite: file.path, url: database.url });
});
afterEach(async () => {
  await sidecar.remove();
  await database.drop();
  file.remove();
});

async function moveToPostgres(): Promise<void> {
  sidecar.start();
  await sidecar.waitPhase("streaming");
  await verify(sidecar);
  await move(sidecar, "postgres");
}

/** A copy of the file, taken while no one writes. */
function twinOf(path: string): string {
  const twin = join(file.folder, "twin.db");
  const db = new Database(path);
  db.pragma("wal_checkpoint(TRUNCATE)");
  db.close();
  copyFileSync(path, twin);
  return twin;
}

test("there and back, twice: the file is what it was, object by object and value by value", async () => {
  const before = fileDump(file.path);
  const plain = plainDump(file.path);
  await moveToPostgres();
  expect(fileDump(file.path).filter((line) => line.startsWith("schema trigger"))).toEqual(
    before.filter((line) => line.startsWith("schema trigger adult_in")),
  );
  await move(sidecar, "sqlite");
  expect(fileDump(file.path)).toEqual(before);
  expect(plainDump(file.path)).toEqual(plain);
  await move(sidecar, "postgres");
  await move(sidecar, "sqlite");
  expect(fileDump(file.path)).toEqual(before);
  expect(await sidecar.term()).toBe(0);
  expect((await sidecar.cli(["teardown"])).code).toBe(0);
  expect(fileDump(file.path)).toEqual(before);
  expect(plainDump(file.path)).toEqual(plain);
});

/** Changes that mean the same in both; what SQLite's triggers do beside them, PostgreSQL is told. */
const BOTH = [
  "UPDATE person SET born = '1990-01-01', seen = '2024-07-08 09:10:11' WHERE id = 2",
  "UPDATE person SET nick = 'Ann' WHERE id = 1",
  "UPDATE setting SET raw = raw WHERE k = 'Theme'",
  "UPDATE setting SET k = 'LANG' WHERE k = 'lang'",
  "DELETE FROM setting WHERE k = 'Empty'",
  "UPDATE reading SET r = 0.30000000000000004, big = 9007199254740995 WHERE id = 1",
  "UPDATE reading SET d = 7.25, r = NULL WHERE id = 3",
  "INSERT INTO reading(id, r, d, big, b) VALUES (7, 1.5, 2, 3, NULL)",
  "DELETE FROM reading WHERE id = -4",
  "INSERT INTO event VALUES (5, NULL, NULL, 9)",
  "UPDATE trip SET day = '2024-03-03' WHERE day = '2024-02-02'",
  "DELETE FROM trip WHERE day = '2024-01-01' AND line = 1",
  "INSERT INTO stop VALUES ('2024-03-03', 1, 2, 'New')",
  "UPDATE note SET n = n + 1 WHERE text = 'twice'",
];

test("changes made in PostgreSQL leave the file as changes made in SQLite would have left it", async () => {
  const twin = new Database(twinOf(file.path));
  twin.pragma("foreign_keys = ON");
  await moveToPostgres();
  const triggersRest = await database.client();
  for (const statement of BOTH) {
    twin.exec(statement);
    await triggersRest.query(statement);
  }
  // The application's triggers are SQLite's: in PostgreSQL it does their work itself.
  twin.exec(
    "INSERT INTO person(name, born) VALUES ('Dot', '1980-08-08'); UPDATE person SET name = 'Cid X' WHERE id = 3",
  );
  const [made] = (
    await triggersRest.query(
      "INSERT INTO person(name, born, active) VALUES ('Dot', '1980-08-08', true) RETURNING id::int",
    )
  ).rows as { id: number }[];
  const id = made?.id ?? 0;
  await triggersRest.query("UPDATE person SET name = 'Cid X', touched = touched + 1 WHERE id = 3");
  expect(id).toBe(5);
  const [a, b] = twin.prepare("SELECT what FROM audit WHERE who = 5 ORDER BY id").pluck().all() as string[];
  await triggersRest.query("INSERT INTO audit(what, who) VALUES ($1, $3), ($2, $3)", [a, b, id]);
  await drained(sidecar, "postgres");
  expect(await differences(file.path, database.url)).toEqual([]);
  await move(sidecar, "sqlite");
  const rows = (path: string) => fileDump(path).filter((line) => !line.startsWith("sequence"));
  expect(rows(file.path)).toEqual(rows(twin.name));

  // The triggers work again, in the same order.
  const writer = file.writer();
  for (const db of [twin, writer]) {
    db.exec(
      "INSERT INTO person(name) VALUES ('Eve'); INSERT INTO adult(name) VALUES ('Old'); UPDATE person SET name = name || '!' WHERE id = 2; DELETE FROM note WHERE n = 3",
    );
  }
  expect(rows(file.path)).toEqual(rows(twin.name));
  await drained(sidecar, "sqlite");
  expect(await differences(file.path, database.url)).toEqual([]);
  twin.close();
});
