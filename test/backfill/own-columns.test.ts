// Columns that only PostgreSQL has, in adopted tables: what they hold survives when a table is copied again.
import { afterEach, expect, test } from "vitest";
import { Sidecar } from "../support/cli.js";
import { type TestDatabase, testDatabase } from "../support/servers.js";
import { type TestFile, testFile } from "../support/sqlite.js";

const open: { file: TestFile; database: TestDatabase; sidecar?: Sidecar }[] = [];
afterEach(async () => {
  for (const { file, database, sidecar } of open.splice(0)) {
    await sidecar?.remove();
    await database.drop();
    file.remove();
  }
});

test("they survive a copy that begins again because capture was lost, also beside a row that is refused", async () => {
  const file = testFile(`
    CREATE TABLE person(id INTEGER PRIMARY KEY, mail TEXT UNIQUE, age INTEGER);
    CREATE TABLE word(text TEXT PRIMARY KEY NOT NULL, n INTEGER);
    INSERT INTO person VALUES (1, 'a', 1), (2, 'b', 2), (3, 'c', 3), (4, 'd', 4);
    INSERT INTO word VALUES ('x', 1), ('y', 2)`);
  const database = await testDatabase(15);
  const entry: (typeof open)[number] = { file, database };
  open.push(entry);
  await database.query(`
    CREATE TABLE person(id bigint PRIMARY KEY, mail text UNIQUE, age bigint CHECK (age < 1000),
      token text NOT NULL DEFAULT 'none', "Nth" bigint GENERATED ALWAYS AS IDENTITY UNIQUE);
    CREATE TABLE word(text text PRIMARY KEY, n bigint, color text)`);
  const sidecar = await Sidecar.streaming({
    sqlite: file.path,
    url: database.url,
    source: { target: "adopt" },
  });
  entry.sidecar = sidecar;
  await database.query("SET switchback.apply = 'on'");
  await database.query("UPDATE person SET token = 't' || id");
  await database.query("UPDATE word SET color = text || ' is red'");
  const before = await database.query(`SELECT id::int, token, "Nth"::int AS nth FROM person ORDER BY id`);
  // Both tables lose their triggers together with changes that no one logs.
  const writer = file.writer();
  const triggers = writer
    .prepare("SELECT name FROM sqlite_schema WHERE type = 'trigger' AND name GLOB '_switchback_[0-9]*'")
    .pluck()
    .all() as string[];
  writer.exec(`BEGIN; ${triggers.map((name) => `DROP TRIGGER "${name}"`).join("; ")};
    UPDATE person SET mail = 'x' WHERE id = 1; UPDATE person SET mail = 'a' WHERE id = 2;
    UPDATE person SET mail = 'b' WHERE id = 1; DELETE FROM person WHERE id = 3;
    INSERT INTO person VALUES (5, 'e', 5), (6, 'f', 5000); UPDATE word SET n = n + 1; COMMIT`);
  await sidecar.waitFor("the copy", () => sidecar.log().includes("had vanished"));
  await sidecar.waitDrained();
  const rows = await database.query(`SELECT id::int, mail, token, "Nth"::int AS nth FROM person ORDER BY id`);
  const nth = (id: number) => before.find((row) => row.id === id)?.nth;
  expect(rows.slice(0, 3)).toEqual([
    { id: 1, mail: "b", token: "t1", nth: nth(1) },
    { id: 2, mail: "a", token: "t2", nth: nth(2) },
    { id: 4, mail: "d", token: "t4", nth: nth(4) },
  ]);
  expect(rows.slice(3)).toMatchObject([{ id: 5, mail: "e", token: "none" }]);
  expect(await database.query("SELECT text, n::int, color FROM word ORDER BY 1")).toEqual([
    { text: "x", n: 2, color: "x is red" },
    { text: "y", n: 3, color: "y is red" },
  ]);
  expect(await database.query("SELECT relname FROM pg_class WHERE relname ~ '^kept_'")).toEqual([]);
  writer.exec("DELETE FROM person WHERE id = 6");
  await sidecar.waitDrained();
  expect((await sidecar.cli(["verify"])).code).toBe(0);
});
