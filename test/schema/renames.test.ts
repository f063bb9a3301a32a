// Tables that the application renames beside the sidecar or without it: the copy gets the new name, keeps its rows, and
// has the shape that a fresh start would make. Exchanged names are copied again. Nothing else stops.
import { afterEach, beforeEach, expect, test } from "vitest";
import { Sidecar } from "../support/cli.js";
import { differences } from "../support/rows.js";
import { type TestDatabase, testDatabase } from "../support/servers.js";
import { freshShape, shapeLines } from "../support/shapes.js";
import { type TestFile, testFile } from "../support/sqlite.js";

const SCHEMA = `
  CREATE TABLE task(id INTEGER PRIMARY KEY AUTOINCREMENT, title TEXT UNIQUE, task TEXT CHECK (task <> 'no'));
  CREATE INDEX by_task ON task(task);
  CREATE TABLE step(id INTEGER PRIMARY KEY, task_id INTEGER REFERENCES task(id), v TEXT);
  CREATE TABLE other(id INTEGER PRIMARY KEY, task_id INTEGER, v TEXT);
  CREATE TABLE loose(v TEXT);
  WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 40)
    INSERT INTO task SELECT i, 'task ' || i, 'x' FROM n;
  INSERT INTO step SELECT id, id, 'step' FROM task; INSERT INTO other SELECT id, id, 'other' FROM task;`;

let file: TestFile;
let database: TestDatabase;
let sidecar: Sidecar;

beforeEach(async () => {
  file = testFile(SCHEMA);
  database = await testDatabase(18);
  sidecar = await Sidecar.streaming({ sqlite: file.path, url: database.url });
});
afterEach(async () => {
  await sidecar.remove();
  await database.drop();
  file.remove();
});

/** Rows, shapes and no problem but those named. */
async function equalSoon(problems: readonly string[] = []): Promise<void> {
  let found: string[] = ["not compared yet"];
  for (const giveUp = Date.now() + 30_000; found.length > 0 && Date.now() < giveUp; ) {
    await sidecar.waitDrained();
    found = await differences(file.path, database.url);
  }
  expect(found, sidecar.log().slice(-800)).toEqual([]);
  const status = await sidecar.waitPhase("streaming");
  expect(status.problems.map((one) => (one as { code: string }).code)).toEqual(problems);
}

const places = async (...names: string[]) =>
  (
    await database.query(
      "SELECT relfilenode::text AS place FROM pg_class WHERE relname = ANY ($1) ORDER BY array_position($1, relname::text)",
      [names],
    )
  ).map(({ place }) => place);

test("a renamed table keeps its rows in PostgreSQL, and so does a chain of names", async () => {
  await database.query("CREATE VIEW report AS SELECT count(*) FROM task");
  const [task, step] = await places("task", "step");
  file
    .writer()
    .exec("BEGIN; ALTER TABLE task RENAME TO job; INSERT INTO job(title) VALUES ('later'); COMMIT");
  await equalSoon();
  expect(await places("job", "step")).toEqual([task, step]);
  expect(await shapeLines(database.url)).toEqual(await freshShape(file.path, 18));
  expect((await database.query("SELECT count FROM report")).map(({ count }) => String(count))).toEqual([
    "41",
  ]);
  const [other] = await places("other");
  file
    .writer()
    .exec(
      "ALTER TABLE job RENAME TO \"Job of\"; ALTER TABLE other RENAME TO job; REPLACE INTO job VALUES (1, 2, 'moved')",
    );
  await equalSoon();
  expect(await places("job", "Job of")).toEqual([other, task]);
  expect(await shapeLines(database.url)).toEqual(await freshShape(file.path, 18));
  // Renamed while no sidecar runs, with another change of the table.
  expect(await sidecar.term()).toBe(0);
  file
    .writer()
    .exec(
      "ALTER TABLE job RENAME TO last; ALTER TABLE last ADD COLUMN w DEFAULT 3; DELETE FROM last WHERE id = 9",
    );
  sidecar.start();
  await equalSoon();
  expect(await shapeLines(database.url)).toEqual(await freshShape(file.path, 18));
  const verified = await sidecar.cli(["verify"]);
  expect(verified.code, verified.stdout).toBe(0);
});

test("exchanged names are copied again", async () => {
  file
    .writer()
    .exec(
      "BEGIN; ALTER TABLE step RENAME TO held; ALTER TABLE other RENAME TO step; ALTER TABLE held RENAME TO other; COMMIT",
    );
  file.writer().exec("UPDATE step SET v = 'after' WHERE id = 3; DELETE FROM other WHERE id = 4");
  await equalSoon();
  expect(await shapeLines(database.url)).toEqual(await freshShape(file.path, 18));
});

test("a new name that PostgreSQL has for something else: the other tables continue", async () => {
  await database.query("CREATE INDEX job_pkey ON step(v)");
  file.writer().exec("ALTER TABLE task RENAME TO job");
  file.writer().exec("UPDATE step SET v = 'after' WHERE id = 3");
  const codes = (problems: readonly unknown[]) =>
    problems.map((one) => (one as { code: string }).code).sort();
  const wanted = ["TABLE_DROPPED", "TARGET_MISMATCH"];
  await sidecar.waitFor("both problems", ({ phase, problems }) => {
    return phase === "streaming" && JSON.stringify(codes(problems)) === JSON.stringify(wanted);
  });
  await sidecar.waitDrained();
  expect(await differences(file.path, database.url, { tables: ["step", "other", "loose"] })).toEqual([]);
  // Neither a restart nor a change of the file is needed to end them.
  await database.query("DROP TABLE task");
  await sidecar.waitFor(
    "the dropped copy to be noticed",
    ({ problems }) => codes(problems).join() === "TARGET_MISMATCH",
  );
  await database.query("DROP INDEX job_pkey");
  await sidecar.waitFor(
    "the table to be copied",
    ({ phase, problems }) => phase === "streaming" && problems.length === 0,
  );
  await equalSoon();
});
