// Foreign keys and the target's own triggers: there while PostgreSQL has the writes, out of the way while it is a
// copy, by whichever side the tables were made.
import { setTimeout as sleep } from "node:timers/promises";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { Sidecar } from "../support/cli.js";
import { drained, move, verify } from "../support/flips.js";
import { differences } from "../support/rows.js";
import { type TestDatabase, testDatabase } from "../support/servers.js";
import { type TestFile, testFile } from "../support/sqlite.js";

const SCHEMA = `
  CREATE TABLE author(id INTEGER PRIMARY KEY, name TEXT, edits INTEGER NOT NULL DEFAULT 0);
  CREATE TABLE book(id INTEGER PRIMARY KEY, author INTEGER REFERENCES author(id) ON DELETE CASCADE, title TEXT);
  CREATE TABLE page(book INTEGER, n INTEGER, part INTEGER, PRIMARY KEY (book, n, part),
    FOREIGN KEY (book) REFERENCES book(id) ON DELETE CASCADE ON UPDATE CASCADE);
  CREATE TABLE word(id INTEGER PRIMARY KEY, book INTEGER, n INTEGER, part INTEGER,
    FOREIGN KEY (book, n, part) REFERENCES page(book, n, part) ON DELETE SET NULL ON UPDATE CASCADE);
  INSERT INTO author(id, name) VALUES (1, 'Woolf'), (2, 'Borges'), (3, 'Sebald');
  INSERT INTO book VALUES (1, 1, 'Waves'), (2, 2, 'Aleph'), (3, 3, 'Rings');
  INSERT INTO page VALUES (1, 1, 1), (2, 1, 1), (2, 2, 1), (3, 1, 1);
  INSERT INTO word VALUES (1, 1, 1, 1), (2, 2, 1, 1), (3, 99, 99, 99);`;

const KEYS = `SELECT conrelid::regclass::text || ' ' || convalidated AS key FROM pg_constraint
  WHERE contype = 'f' AND connamespace = 'public'::regnamespace ORDER BY 1`;

let file: TestFile;
let database: TestDatabase;
let sidecar: Sidecar;

beforeEach(async () => {
  file = testFile(SCHEMA);
  database = await testDatabase(15);
});
afterEach(async () => {
  await sidecar.remove();
  await database.drop();
  file.remove();
});

const keys = async () => (await database.query(KEYS)).map(({ key }) => key);

async function waitKeys(wanted: readonly string[]): Promise<void> {
  for (let tries = 0; tries < 100; tries++) {
    if (JSON.stringify(await keys()) === JSON.stringify(wanted)) return;
    await sleep(50);
  }
  expect(await keys()).toEqual(wanted);
}

async function expectEqual(store: "sqlite" | "postgres"): Promise<void> {
  await drained(sidecar, store);
  expect(await differences(file.path, database.url)).toEqual([]);
}

test("made tables get their foreign keys at the cutover, and lose them at the revert", async () => {
  sidecar = await Sidecar.streaming({ sqlite: file.path, url: database.url });
  await verify(sidecar);
  expect(await keys()).toEqual([]);
  await move(sidecar, "postgres");
  await waitKeys(["book true", "page true", "word false"]);
  await expect
    .poll(() => sidecar.log(), { timeout: 10_000 })
    .toMatch(/word[^\n]*stays NOT VALID, it has orphans[^\n]*99/);
  await expect(database.query("INSERT INTO book VALUES (9, 77, 'Nobody')")).rejects.toMatchObject({
    code: "23503",
  });
  await database.query("DELETE FROM author WHERE id = 1");
  await database.query("UPDATE book SET id = 20 WHERE id = 2");
  expect(await database.query("SELECT count(*)::int AS n FROM page WHERE book IN (1, 2)")).toEqual([
    { n: 0 },
  ]);
  await expectEqual("postgres");
  await move(sidecar, "sqlite");

  // An application that does not enforce them leaves what PostgreSQL would have deleted.
  file
    .writer()
    .exec(
      "DELETE FROM author WHERE id = 3; DELETE FROM page WHERE book = 20; UPDATE book SET id = 30 WHERE id = 3",
    );
  await expectEqual("sqlite");
  expect(await keys()).toEqual([]);
  await verify(sidecar);
  await move(sidecar, "postgres");
  await waitKeys(["book false", "page false", "word false"]);
  await expect(database.query("INSERT INTO book VALUES (9, 77, 'Nobody')")).rejects.toMatchObject({
    code: "23503",
  });
  await database.query("DELETE FROM book WHERE author = 3; DELETE FROM page WHERE book = 3");
  await database.query("DELETE FROM word");
  await expectEqual("postgres");
  await move(sidecar, "sqlite");
  await expectEqual("sqlite");
  await move(sidecar, "postgres");
  await waitKeys(["book true", "page true", "word true"]);
});

describe("adopted tables", () => {
  const ADOPTED = `
    CREATE TABLE author(id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text, edits bigint NOT NULL DEFAULT 0);
    CREATE TABLE book(id bigint PRIMARY KEY, author bigint CONSTRAINT mine REFERENCES author ON DELETE CASCADE, title text);
    CREATE TABLE page(book bigint REFERENCES book ON DELETE CASCADE ON UPDATE CASCADE, n bigint, part bigint, PRIMARY KEY (book, n, part));
    CREATE TABLE word(id bigint PRIMARY KEY, book bigint, n bigint, part bigint);
    CREATE TABLE journal(line text);
    CREATE FUNCTION edited() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.edits := NEW.edits + 1; RETURN NEW; END $$;
    CREATE FUNCTION noted() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO journal VALUES (TG_NAME || ' ' || TG_OP); RETURN NULL; END $$;
    CREATE TRIGGER author_edited BEFORE UPDATE ON author FOR EACH ROW EXECUTE FUNCTION edited();
    CREATE TRIGGER author_noted AFTER INSERT OR DELETE ON author FOR EACH ROW EXECUTE FUNCTION noted();
    CREATE TRIGGER author_always AFTER INSERT ON author FOR EACH STATEMENT EXECUTE FUNCTION noted();
    CREATE TRIGGER author_off AFTER INSERT ON author FOR EACH ROW EXECUTE FUNCTION noted();
    ALTER TABLE author ENABLE ALWAYS TRIGGER author_always;
    ALTER TABLE author DISABLE TRIGGER author_off`;
  const triggers = async () =>
    (
      await database.query(
        "SELECT tgname || ' ' || tgenabled::text AS t FROM pg_trigger WHERE tgrelid = 'author'::regclass AND tgname LIKE 'author%' ORDER BY 1",
      )
    ).map(({ t }) => t);
  const journal = async () =>
    (await database.query("SELECT line FROM journal ORDER BY line")).map(({ line }) => line);
  const AWAKE = ["author_always A", "author_edited O", "author_noted O", "author_off D"];
  const RESTING = AWAKE.map((trigger) => trigger.replace(/.$/, "D"));

  test("keep the rows of tables that only PostgreSQL has, whose foreign keys rest as well", async () => {
    await database.query(`CREATE TABLE author(id bigint PRIMARY KEY, name text UNIQUE, edits bigint);
      CREATE TABLE book(id bigint PRIMARY KEY, author bigint, title text);
      CREATE TABLE page(book bigint, n bigint, part bigint, PRIMARY KEY (book, n, part));
      CREATE TABLE word(id bigint PRIMARY KEY, book bigint, n bigint, part bigint);
      CREATE TABLE remark(n int, author bigint CONSTRAINT same REFERENCES author ON DELETE CASCADE);
      CREATE TABLE prize(n int, author bigint CONSTRAINT same REFERENCES author)`);
    sidecar = await Sidecar.streaming({
      sqlite: file.path,
      url: database.url,
      source: { target: "adopt" },
    });
    await database.query("INSERT INTO remark VALUES (1, 1), (2, 2); INSERT INTO prize VALUES (1, 1), (2, 2)");
    // Two rows swap a unique value: the copy must take both away for a moment.
    file
      .writer()
      .exec(`BEGIN; UPDATE author SET name = 'x' WHERE id = 1; UPDATE author SET name = 'Woolf' WHERE id = 2;
      UPDATE author SET name = 'Borges' WHERE id = 1; COMMIT`);
    await expectEqual("sqlite");
    await verify(sidecar);
    await move(sidecar, "postgres");
    await waitKeys(["prize true", "remark true"]);
    for (const table of ["remark", "prize"])
      expect(await database.query(`SELECT n FROM ${table} ORDER BY n`)).toEqual([{ n: 1 }, { n: 2 }]);
    await database.query("DELETE FROM prize; DELETE FROM author WHERE id = 1");
    expect(await database.query("SELECT n FROM remark")).toEqual([{ n: 2 }]);
    await expectEqual("postgres");
    await move(sidecar, "sqlite");
    await waitKeys([]);
    expect(await sidecar.term()).toBe(0);
    expect((await sidecar.cli(["teardown"])).code).toBe(0);
    // Validated again, as after a cutover.
    expect(await keys()).toEqual(["prize true", "remark true"]);
  });

  test("have their own foreign keys and triggers back at the cutover, and without them at the revert", async () => {
    await database.query(ADOPTED);
    sidecar = await Sidecar.streaming({
      sqlite: file.path,
      url: database.url,
      source: { target: "adopt" },
    });
    const writer = file.writer();
    writer.exec("UPDATE author SET name = 'Woolf!' WHERE id = 1; INSERT INTO author(name) VALUES ('Ernaux')");
    await expectEqual("sqlite");
    expect(await keys()).toEqual([]);
    expect(await triggers()).toEqual(RESTING);
    expect(await journal()).toEqual([]);
    await verify(sidecar);
    for (const round of [1, 2]) {
      await move(sidecar, "postgres");
      expect(await triggers()).toEqual(AWAKE);
      await waitKeys(["book true", "page true"]);
      await database.query("UPDATE author SET name = name || '?' WHERE id = 2");
      expect(await database.query("SELECT edits::int FROM author WHERE id = 2")).toEqual([{ edits: round }]);
      await database.query("DELETE FROM journal");
      const [made] = await database.query("INSERT INTO author(name) VALUES ('New') RETURNING id::int");
      expect(made).toEqual({ id: 3 + round * 2 });
      expect(await journal()).toEqual(["author_always INSERT", "author_noted INSERT"]);
      await expectEqual("postgres");
      await move(sidecar, "sqlite");
      writer.exec(
        `INSERT INTO author(name) VALUES ('Home'); UPDATE author SET name = 'x${round}' WHERE id = 1`,
      );
      await expectEqual("sqlite");
      expect(await triggers()).toEqual(RESTING);
      expect(await keys()).toEqual([]);
      expect(await journal()).toEqual(["author_always INSERT", "author_noted INSERT"]);
    }
    expect(await sidecar.term()).toBe(0);
    expect((await sidecar.cli(["teardown"])).code).toBe(0);
    expect(await triggers()).toEqual(AWAKE);
    expect((await keys()).map((key) => String(key).split(" ")[0])).toEqual(["book", "page"]);
  });
});
