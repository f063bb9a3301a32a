// One database with every awkward name, default, index, key and constraint that SQLite allows and PostgreSQL takes
// otherwise, from the first look to the proof of equality.
import { afterAll, beforeAll, expect, test } from "vitest";
import { Sidecar } from "../support/cli.js";
import { differences } from "../support/rows.js";
import { type TestDatabase, testDatabase } from "../support/servers.js";
import { type TestFile, testFile } from "../support/sqlite.js";

const LONG = "a_name_that_is_longer_than_postgresql_holds_because_it_goes_on_and_on";
const PLACE = LONG.slice(0, 40);

const SCHEMA = `
  CREATE TABLE "Mixed Case"("Id" INTEGER PRIMARY KEY AUTOINCREMENT, "Has ""Quotes""" TEXT, "select" TEXT, "Ünï côde" REAL);
  CREATE TABLE "user"("order" INTEGER PRIMARY KEY, "from" TEXT, "user" TEXT DEFAULT "open", "table" NUMERIC DEFAULT false,
    "check" BOOLEAN DEFAULT 0, "null" TEXT DEFAULT 'null', made DATETIME DEFAULT CURRENT_TIMESTAMP,
    later TEXT DEFAULT (datetime('now')), day DATE DEFAULT CURRENT_DATE, hexed BLOB DEFAULT x'00ff', n INTEGER DEFAULT -5,
    flagged BOOLEAN NOT NULL DEFAULT true, price DECIMAL(10,2) DEFAULT 1.50);
  CREATE TABLE ${LONG}_table_one(${LONG}_key INTEGER PRIMARY KEY, ${LONG}_column_one TEXT, ${LONG}_column_two TEXT);
  CREATE TABLE ${LONG}_table_two(id INTEGER PRIMARY KEY, v TEXT);
  CREATE INDEX ${LONG}_index_one ON ${LONG}_table_one(${LONG}_column_one);
  CREATE INDEX ${LONG}_index_two ON ${LONG}_table_two(v);
  CREATE TABLE book(id INTEGER PRIMARY KEY, title TEXT, tag TEXT COLLATE NOCASE, price REAL CHECK (price >= 0),
    area INTEGER AS (price * 2) STORED, loud TEXT AS (upper(title)) VIRTUAL,
    CHECK (length(title) < 500), CHECK (title NOT GLOB '*[0-9][0-9][0-9][0-9][0-9]*'), CHECK (julianday(title) IS NULL), UNIQUE(title, tag));
  CREATE TABLE book_pkey(id INTEGER PRIMARY KEY, v TEXT);
  CREATE TABLE "Book_Title_idx"(id INTEGER PRIMARY KEY, v TEXT);
  CREATE UNIQUE INDEX book_partial ON book(tag) WHERE price > 10;
  CREATE INDEX book_down ON book(price DESC, title COLLATE NOCASE);
  CREATE INDEX book_lower ON book(lower(title));
  CREATE INDEX book_when ON book(strftime('%Y', title));
  CREATE TABLE place(country TEXT, city TEXT, PRIMARY KEY(country, city)) WITHOUT ROWID;
  CREATE TABLE visit(id INTEGER PRIMARY KEY, country TEXT, city TEXT, book INTEGER REFERENCES book,
    FOREIGN KEY(country, city) REFERENCES place(country, city) ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED);
  CREATE TABLE exact(id INTEGER PRIMARY KEY, i INT NOT NULL, r REAL, t TEXT, b BLOB, a ANY) STRICT;
  CREATE TABLE keyless("a b", c INTEGER);
  CREATE TABLE odd(n MEDIUMINT UNSIGNED, v VARCHAR(20), d DOUBLE PRECISION, e, PRIMARY KEY(v));
  CREATE TABLE never_filled(id INTEGER PRIMARY KEY AUTOINCREMENT, v TEXT);
  CREATE VIEW cheap AS SELECT * FROM book WHERE price < 5;
  CREATE TRIGGER book_log AFTER INSERT ON book BEGIN INSERT INTO keyless VALUES ('book', NEW.id); END;
  CREATE VIRTUAL TABLE search USING fts5(words);

  INSERT INTO "Mixed Case" VALUES (1, 'say "hi"', 'a', 0.1), (2, '', NULL, 1e300);
  INSERT INTO "user"("order", "from") VALUES (1, 'here'), (2, NULL);
  INSERT INTO ${LONG}_table_one VALUES (1, 'one', 'two'); INSERT INTO ${LONG}_table_two VALUES (1, 'v');
  INSERT INTO book(id, title, tag, price) VALUES (1, 'Orlando', 'a', 12), (2, 'ORLANDO', 'A', 3), (3, 'Ficciones', NULL, NULL);
  INSERT INTO book_pkey VALUES (1, 'v'); INSERT INTO "Book_Title_idx" VALUES (1, 'v');
  INSERT INTO place VALUES ('ar', 'ba'), ('uk', 'ldn');
  INSERT INTO visit VALUES (1, 'ar', 'ba', 3), (2, 'xx', 'orphan', 99), (3, NULL, 'half', NULL);
  INSERT INTO exact VALUES (1, 9223372036854775807, 0.1, 'é', x'00', 1), (2, -9223372036854775808, -1e-300, '', x'', 'any');
  INSERT INTO odd VALUES (1, 'one', 0.5, 1), (2, 'two', 2, 'text'), (3, 'three', NULL, x'01');
  INSERT INTO search VALUES ('full text');
  DELETE FROM sqlite_sequence WHERE name = 'never_filled'; INSERT INTO sqlite_sequence VALUES ('never_filled', 41);`;

let file: TestFile;
let database: TestDatabase;
let sidecar: Sidecar;

beforeAll(async () => {
  file = testFile(SCHEMA);
  database = await testDatabase(15);
  sidecar = await Sidecar.prepare({ sqlite: file.path, url: database.url });
});
afterAll(async () => {
  await sidecar.remove();
  await database.drop();
  file.remove();
});

test("check finds no blocker and names everything without a counterpart", async () => {
  const { code, stdout, stderr } = await sidecar.cli(["check", "--json"]);
  expect(code, stdout + stderr).toBe(0);
  JSON.parse(stdout);
  for (const name of ["cheap", "book_log", "search", "julianday", "book_when", "orphan"])
    expect(stdout, name).toContain(name);
});

test("plan --sql runs in PostgreSQL as printed, on both ends of the versions", async () => {
  const { code, stdout, stderr } = await sidecar.cli(["plan", "--sql"]);
  expect(code, stderr).toBe(0);
  for (const version of [15, 18] as const) {
    const scratch = await testDatabase(version);
    await scratch.query(stdout);
    const [made] = await scratch.query(
      "SELECT count(*)::int AS n FROM pg_tables WHERE schemaname = 'public'",
    );
    expect(made?.n).toBe(13);
    await scratch.drop();
  }
});

async function compared(): Promise<string[]> {
  const long = await database.query(
    `SELECT relname, obj_description(oid) FROM pg_class WHERE relkind = 'r' AND relname LIKE '${PLACE}%'`,
  );
  expect(long).toHaveLength(2);
  const columns = await database.query(
    `SELECT attrelid::regclass::text AS "table" FROM pg_attribute WHERE attrelid::regclass::text LIKE '${PLACE}%' AND attname = 'v'`,
  );
  const two = String(columns[0]?.table);
  const one = String(long.map((row) => row.relname).find((name) => name !== two));
  return differences(file.path, database.url, {
    names: { [`${LONG}_table_one`]: one, [`${LONG}_table_two`]: two },
  });
}

test("backfill copies every table exactly, and verify agrees", async () => {
  const { code, stderr } = await sidecar.cli(["backfill"]);
  expect(code, stderr).toBe(0);
  expect(await compared()).toEqual([]);
  const verified = await sidecar.cli(["verify", "--json"]);
  expect(verified.code, verified.stdout + verified.stderr).toBe(0);
  expect(JSON.parse(verified.stdout).tables).toHaveLength(13);
});

test("changes to every table are followed", async () => {
  sidecar.start();
  await sidecar.waitPhase("streaming");
  file.writer().exec(`
    UPDATE "Mixed Case" SET "Has ""Quotes""" = '"' || "Has ""Quotes""";
    INSERT INTO "user"("order") VALUES (7);
    REPLACE INTO ${LONG}_table_one VALUES (1, 'changed', NULL), (2, 'new', 'new');
    UPDATE ${LONG}_table_two SET v = 'w';
    UPDATE OR REPLACE book SET tag = 'a', price = 20 WHERE id = 3;
    INSERT INTO book(title, price) VALUES ('Dune', 1);
    DELETE FROM place WHERE country = 'uk';
    UPDATE visit SET city = 'else' WHERE id = 2;
    UPDATE exact SET a = x'ff' WHERE id = 1;
    UPDATE odd SET e = 1.5, v = 'ONE' WHERE v = 'one';
    INSERT INTO never_filled(v) VALUES ('first');`);
  await sidecar.waitDrained();
  expect(await compared()).toEqual([]);
});

test("what has a counterpart exists: defaults, indexes, foreign keys, checks", async () => {
  const indexes = await database.query("SELECT indexdef FROM pg_indexes WHERE tablename = 'book'");
  const text = indexes.map((row) => String(row.indexdef)).join("\n");
  expect(text).toMatch(/UNIQUE.*\(.*tag.*\) WHERE/);
  expect(text).toMatch(/price DESC/);
  expect(text).toMatch(/lower\(/);
  const defaults = await database.query(
    "SELECT column_name AS name, column_default AS value FROM information_schema.columns WHERE table_name = 'user'",
  );
  const of = (name: string) => String(defaults.find((row) => row.name === name)?.value);
  expect(of("user")).toMatch(/^'open'/);
  expect(of("null")).toMatch(/^'null'/);
  expect(of("table")).toMatch(/^\(?'?0/);
  expect(of("check")).toBe("false");
  expect(of("flagged")).toBe("true");
  expect(of("made")).toMatch(/CURRENT_TIMESTAMP|now/);
});
