// `target: adopt` without a line of mapping: names and types come from the tables that the application's migrations
// made in PostgreSQL. From the backfill to a revert, with every kind of type that has a codec.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { parse } from "yaml";
import { command, Sidecar } from "../support/cli.js";
import { drained, move, verify } from "../support/flips.js";
import { temporaryFolder } from "../support/scratch.js";
import { type TestDatabase, testDatabase } from "../support/servers.js";
import { type TestFile, testFile } from "../support/sqlite.js";

const SCHEMA = `
  CREATE TABLE User(id TEXT PRIMARY KEY, createdAt DATETIME NOT NULL, mail TEXT, nick TEXT, active INTEGER NOT NULL,
    settings TEXT, born TEXT, price DECIMAL(10,2), status TEXT, day INTEGER);
  CREATE TABLE BlogPosts(id INTEGER PRIMARY KEY, userId TEXT REFERENCES User(id), title TEXT, views INTEGER,
    rating REAL, publishedAt INTEGER);
  INSERT INTO User VALUES
    ('6f1e0f7e-7a57-4d6f-9d0c-3c1c1b0a0001', 1700000000123, 'a@b', 'Bob', 1, '{"a": 1}', '2001-02-03 00:00:00', 12.5, 'new', 1772582400000),
    ('6f1e0f7e-7a57-4d6f-9d0c-3c1c1b0a0002', 1700000000999, 'a@c', 'bob', 0, NULL, '2001-02-04 00:00:00', 3, 'paid', NULL);
  INSERT INTO BlogPosts VALUES (1, '6f1e0f7e-7a57-4d6f-9d0c-3c1c1b0a0001', 't', 5, 0.5, 1700000000);`;

const MIGRATIONS = `
  CREATE TYPE status AS ENUM ('new', 'paid');
  CREATE DOMAIN email AS text CHECK (VALUE LIKE '%@%');
  CREATE TABLE "User"(id uuid PRIMARY KEY, "createdAt" timestamp(3) NOT NULL DEFAULT now(), mail email, nick text,
    active boolean NOT NULL, settings jsonb, born date, price numeric(10,2), status status, day date);
  CREATE TABLE blog_posts(id serial PRIMARY KEY, user_id uuid REFERENCES "User"(id), title varchar(255), views integer,
    rating real, published_at timestamptz, tags text[]);`;

let file: TestFile;
let database: TestDatabase;
let sidecar: Sidecar | null = null;
let place: ReturnType<typeof temporaryFolder>;

beforeEach(async () => {
  file = testFile(SCHEMA);
  database = await testDatabase();
  place = temporaryFolder();
});
afterEach(async () => {
  await sidecar?.remove();
  sidecar = null;
  await database.drop();
  file.remove();
  place.remove();
});

const rows = (query: string) => file.writer().prepare(query).raw().all();

test("check has no blocker, and every value goes there and comes back", async () => {
  await database.query(MIGRATIONS);
  sidecar = await Sidecar.streaming({ sqlite: file.path, url: database.url, source: { target: "adopt" } });
  const [user] = await database.query(
    `SELECT "createdAt"::text, born::text, price::text, status::text, day::text FROM "User" ORDER BY id`,
  );
  expect(user).toEqual({
    createdAt: "2023-11-14 22:13:20.123",
    born: "2001-02-03",
    price: "12.50",
    status: "new",
    day: "2026-03-04",
  });
  file.writer().exec("UPDATE User SET status = 'paid', active = 0 WHERE nick = 'Bob'");
  await drained(sidecar, "sqlite");
  await verify(sidecar);
  const before = rows("SELECT * FROM User ORDER BY id");
  await move(sidecar, "postgres");
  await database.query(`INSERT INTO blog_posts(user_id, title, views, published_at, tags)
      SELECT id, 'from PostgreSQL', 1, '2024-01-02 03:04:05+00', ARRAY['x'] FROM "User" WHERE nick = 'bob';
    UPDATE "User" SET born = '1999-12-31', day = '2026-03-05', status = 'new', settings = '{"b": [1]}' WHERE nick = 'bob'`);
  await drained(sidecar, "postgres");
  await move(sidecar, "sqlite");
  const after = rows("SELECT * FROM User ORDER BY id") as unknown[][];
  expect(after[0]).toEqual((before as unknown[][])[0]);
  expect(after[1]?.slice(4)).toEqual([...[0, '{"b": [1]}', "1999-12-31 00:00:00", 3, "new"], 1772668800000]);
  expect(rows("SELECT * FROM BlogPosts ORDER BY id")).toEqual([
    [1, "6f1e0f7e-7a57-4d6f-9d0c-3c1c1b0a0001", "t", 5, 0.5, 1700000000],
    [2, "6f1e0f7e-7a57-4d6f-9d0c-3c1c1b0a0002", "from PostgreSQL", 1, null, 1704164645],
  ]);
  await drained(sidecar, "sqlite");
  expect((await sidecar.cli(["verify"])).code).toBe(0);
});

test("check counts each column's own refusals, and names a column that two could stand for", async () => {
  await database.query(`${MIGRATIONS} ALTER TABLE blog_posts ADD COLUMN "USERID" uuid`);
  file.writer().exec("UPDATE User SET day = day + 1, price = 1.234 WHERE day IS NOT NULL");
  const config = ["--sqlite", file.path, "--postgres", database.url];
  const planned = join(place.folder, "planned.yaml");
  expect((await command(["plan", ...config, "--adopt", "--write", planned])).code).toBe(0);
  const written = parse(readFileSync(planned, "utf8")).sources[0];
  expect(written).toMatchObject({ target: "adopt", tables: { BlogPosts: { name: "blog_posts" } } });
  expect(written.tables.User.columns).toMatchObject({
    createdAt: { type: "timestamp(3)", from: "unix_ms" },
    day: { type: "date", from: "unix_ms" },
    status: {},
  });
  const { code, stdout } = await command([
    "check",
    "--config",
    planned,
    "--postgres",
    database.url,
    "--json",
  ]);
  expect(code).toBe(1);
  const blockers = JSON.parse(stdout).findings.filter((f: { severity: string }) => f.severity === "blocker");
  expect(blockers.map((f: { code: string; column: string }) => [f.code, f.column]).sort()).toEqual([
    ["quarantine", "day"],
    ["quarantine", "price"],
    ["target-ambiguous", "userId"],
    ["target-mismatch", "userId"],
  ]);
});

test("plan --adopt names what PostgreSQL lacks", async () => {
  await database.query(`${MIGRATIONS} DROP TABLE blog_posts; ALTER TABLE "User" DROP COLUMN day`);
  const { stdout } = await command(["plan", "--sqlite", file.path, "--postgres", database.url, "--adopt"]);
  expect(stdout).toContain("! BlogPosts: PostgreSQL has no table public.BlogPosts");
  expect(stdout).toContain("! User.day: PostgreSQL has no column User.day");
});

test("plan --adopt without a server says what it needs", async () => {
  const { code, stderr } = await command(["plan", "--sqlite", file.path, "--adopt"]);
  expect(code).toBe(2);
  expect(stderr).toContain("--adopt reads the tables in PostgreSQL");
});
