// The process that proves that at most one store takes writes: it names two open stores, and says nothing of one.
import { afterEach, beforeEach, expect, test } from "vitest";
import { type Prober, startProber } from "../support/hostile/prober.js";
import { type TestDatabase, testDatabase } from "../support/servers.js";
import { type TestFile, testFile } from "../support/sqlite.js";

const TABLES = `CREATE TABLE op(name TEXT PRIMARY KEY, store TEXT); CREATE TABLE counter(writer INTEGER PRIMARY KEY, value INTEGER);
  CREATE TABLE one(id INTEGER PRIMARY KEY, v TEXT); CREATE TABLE two(id INTEGER PRIMARY KEY, v TEXT);
  CREATE TABLE kind(id INTEGER PRIMARY KEY, i INTEGER); INSERT INTO counter VALUES (0, 0);`;

let file: TestFile;
let database: TestDatabase;
let prober: Prober;
let violations: string[];

beforeEach(async () => {
  file = testFile(TABLES);
  database = await testDatabase(18);
  violations = [];
});
afterEach(async () => {
  await prober.end();
  await database.drop();
  file.remove();
});

const start = () => {
  prober = startProber(file.path, database.url, (line) => violations.push(line));
};

test("two open stores are named, table by table, and nothing is left in them", async () => {
  await database.query(TABLES);
  start();
  const named = (table: string) =>
    violations.some((line) => line.endsWith(`both stores take writes to ${table}`));
  await expect
    .poll(() => ["op", "counter", "one", "two", "kind"].every(named), { timeout: 20_000 })
    .toBe(true);
  await prober.pause();
  expect(await database.query("SELECT name FROM op")).toEqual([]);
  expect(file.writer().prepare("SELECT name FROM op").all()).toEqual([]);
});

test("one open store is none to speak of", async () => {
  start();
  await expect.poll(async () => (await prober.asked()).sqlite, { timeout: 20_000 }).toBeGreaterThan(5);
  expect((await prober.asked()).postgres).toBe(0);
  expect(violations).toEqual([]);
});
