// A full-text index that the application's triggers keep: it cannot follow into PostgreSQL, and after a revert it
// knows nothing of what was written there. That is said, and a rebuild repairs it.
import { afterEach, expect, test } from "vitest";
import { Sidecar } from "../support/cli.js";
import { move, verify } from "../support/flips.js";
import { type TestDatabase, testDatabase } from "../support/servers.js";
import { type TestFile, testFile } from "../support/sqlite.js";

const SCHEMA = `
  CREATE TABLE notes(id INTEGER PRIMARY KEY, body TEXT);
  CREATE VIRTUAL TABLE notes_fts USING fts5(body, content='notes', content_rowid='id');
  CREATE TRIGGER notes_ai AFTER INSERT ON notes BEGIN
    INSERT INTO notes_fts(rowid, body) VALUES (new.id, new.body);
  END;
  INSERT INTO notes VALUES (1, 'at home');`;

let file: TestFile;
let database: TestDatabase;
let sidecar: Sidecar;
afterEach(async () => {
  await sidecar.remove();
  await database.drop();
  file.remove();
});

const found = (word: string) =>
  file.writer().prepare("SELECT rowid FROM notes_fts WHERE notes_fts MATCH ?").pluck().all(word);

test("the log names virtual tables when the writes are back, and only then", async () => {
  file = testFile(SCHEMA);
  database = await testDatabase(18);
  sidecar = await Sidecar.streaming({ sqlite: file.path, url: database.url });
  await verify(sidecar);
  await move(sidecar, "postgres");
  await database.query("INSERT INTO notes (body) VALUES ('abroad')");
  const said =
    /"tables":\["notes_fts"\],"msg":"virtual tables saw nothing of what was written in PostgreSQL/g;
  expect(sidecar.log()).not.toMatch(said);
  await move(sidecar, "sqlite");
  await sidecar.waitPhase("streaming");
  await expect.poll(() => sidecar.log().match(said)?.length, { timeout: 10_000 }).toBe(1);
  file.writer().exec("INSERT INTO notes (body) VALUES ('at home again')");
  expect([found("abroad"), found("home")]).toEqual([[], [1, 3]]);
  file.writer().exec("INSERT INTO notes_fts(notes_fts) VALUES ('rebuild')");
  expect([found("abroad"), found("home")]).toEqual([[2], [1, 3]]);
});
