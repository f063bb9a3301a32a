// More tables than the fence creates triggers for at a time: a flip closes all of them.
import { afterEach, expect, test } from "vitest";
import { Sidecar } from "../support/cli.js";
import { move, verify } from "../support/flips.js";
import { type TestDatabase, testDatabase } from "../support/servers.js";
import { type TestFile, testFile } from "../support/sqlite.js";

const TABLES = 90;

let file: TestFile;
let database: TestDatabase;
let sidecar: Sidecar | undefined;
afterEach(async () => {
  await sidecar?.remove();
  sidecar = undefined;
  await database.drop();
  file.remove();
});

test("a file of many tables refuses writes to each of them after a cutover, and takes them after a revert", async () => {
  const names = Array.from({ length: TABLES }, (_, n) => `t${n}`);
  file = testFile(names.map((name) => `CREATE TABLE ${name}(id INTEGER PRIMARY KEY, v TEXT);`).join("\n"));
  database = await testDatabase(18);
  sidecar = await Sidecar.streaming({ sqlite: file.path, url: database.url });
  await verify(sidecar);
  await move(sidecar, "postgres");
  const writer = file.writer();
  for (const name of names)
    expect(() => writer.exec(`INSERT INTO ${name} VALUES (1, 'late')`), name).toThrow(
      /writes have moved to PostgreSQL/,
    );
  const fences = writer
    .prepare("SELECT count(*) FROM sqlite_schema WHERE type = 'trigger' AND name GLOB '_switchback_fence*'")
    .pluck();
  expect(Number(fences.get())).toBe(TABLES + 1);
  await move(sidecar, "sqlite");
  for (const name of names) writer.exec(`INSERT INTO ${name} VALUES (1, 'back')`);
  await verify(sidecar);
});
