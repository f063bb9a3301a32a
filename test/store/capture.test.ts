// Capture's installation: what is there, what is missing, what is more than needed, and that nothing is done to the
// file when nothing has to be.
import type Database from "better-sqlite3";
import { afterEach, beforeEach, expect, test } from "vitest";
import {
  installCapture,
  missingTriggers,
  readCapture,
  removeCapture,
  schemaVersion,
} from "#switchback/store/sqlite/capture.js";
import { openSqlite } from "#switchback/store/sqlite/connection.js";
import { readSchema } from "#switchback/store/sqlite/schema.js";
import { SourceChanged } from "#switchback/store/store.js";
import { type TestFile, testFile } from "../support/sqlite.js";

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

const install = () => installCapture(db, readSchema(db).tables, schemaVersion(db));
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
  expect(() => installCapture(db, tables, version)).toThrow(SourceChanged);
  expect(readCapture(db)).toBeNull();
});

test("removal leaves nothing of ours", () => {
  const before = db.prepare("SELECT type, name, sql FROM sqlite_schema ORDER BY name").all();
  install();
  removeCapture(db);
  expect(db.prepare("SELECT type, name, sql FROM sqlite_schema ORDER BY name").all()).toEqual(before);
});
