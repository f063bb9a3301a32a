// Tables with hundreds of columns, some of whose rows do not fit into a page of PostgreSQL. Those rows are
// quarantined by name wherever they are met, every other row arrives, and the comparison continues.
import { afterEach, beforeEach, expect, test } from "vitest";
import { type Result, Sidecar } from "../support/cli.js";
import { type TestDatabase, testDatabase } from "../support/servers.js";
import { type TestFile, testFile } from "../support/sqlite.js";

const columns = (count: number, type: string) =>
  Array.from({ length: count }, (_, i) => `c${i} ${type}`).join(", ");

/** `rows` rows of integers without a declared type: 19 bytes a value in PostgreSQL, and none is moved out of the page. */
const untyped = (name: string, count: number, rows: number) =>
  `CREATE TABLE ${name} (${columns(count, "")});
   WITH RECURSIVE r(r) AS (SELECT 0 UNION ALL SELECT r + 1 FROM r WHERE r + 1 < ${rows})
   INSERT INTO ${name} SELECT ${Array.from({ length: count }, (_, i) => `r * 10000 + ${i}`).join(", ")} FROM r;`;

/** Rows of texts: every third has values of 20 characters, the others of one. */
const texts = (name: string, count: number, rows: number) =>
  `CREATE TABLE ${name} (id INTEGER PRIMARY KEY, ${columns(count, "TEXT")});
   WITH RECURSIVE r(r) AS (SELECT 0 UNION ALL SELECT r + 1 FROM r WHERE r + 1 < ${rows})
   INSERT INTO ${name} SELECT r, ${Array.from({ length: count }, () => "iif(r % 3 = 0, printf('%020d', r), 'x')").join(", ")} FROM r;`;

const SCHEMA = [
  untyped("integers", 1_000, 12),
  ...[440, 600].map((count) => texts(`texts${count}`, count, 6)),
  "CREATE TABLE plain (id INTEGER PRIMARY KEY, v TEXT); INSERT INTO plain VALUES (1, 'one'), (2, 'two');",
].join("\n");

let file: TestFile;
let database: TestDatabase;
let sidecar: Sidecar;
beforeEach(async () => {
  file = testFile(SCHEMA);
  database = await testDatabase(15);
  sidecar = await Sidecar.prepare({ sqlite: file.path, url: database.url });
});
afterEach(async () => {
  await sidecar.remove();
  await database.drop();
  file.remove();
});

const json = ({ stdout, stderr }: Result) => {
  expect(stdout, stderr).not.toBe("");
  return JSON.parse(stdout);
};
const said = ({ stdout, stderr }: Result) => stdout + stderr;

const EXPECTED = [
  { name: "integers", source: 12, target: 0, quarantined: 12 },
  { name: "plain", source: 2, target: 2, quarantined: 0 },
  ...[440, 600].map((n) => ({ name: `texts${n}`, source: 6, target: 4, quarantined: 2 })),
].map((table) => ({ ...table, missing: 0, extra: 0, different: 0 }));

test("rows beyond a page are counted beforehand, quarantined by the copy and by following, and verify continues", async () => {
  const check = await sidecar.cli(["check", "--json"]);
  expect(said(check)).toMatch(
    /1001 columns, and 12 rows are wider than the 8160 bytes of a page in PostgreSQL \(19032 by estimate\)/,
  );

  const backfill = await sidecar.cli(["backfill"]);
  expect(backfill.code, said(backfill)).toBe(0);
  expect(backfill.stdout).toContain("exact, but for 16 quarantined rows");
  const kept = await database.query(
    "SELECT table_name, count(*)::int AS n, min(reason) AS reason FROM switchback.quarantine GROUP BY 1 ORDER BY 1",
  );
  expect(kept.map(({ table_name, n }) => [table_name, n])).toEqual([
    ["integers", 12],
    ["texts440", 2],
    ["texts600", 2],
  ]);
  for (const { reason } of kept) expect(reason).toMatch(/row is too big: size \d+, maximum size 8160/);

  const verify = await sidecar.cli(["verify", "--json"]);
  expect(said(verify)).not.toContain("BUG");
  expect(verify.code).toBe(1);
  expect(json(verify).tables).toMatchObject(EXPECTED);

  sidecar.start();
  await sidecar.waitPhase("streaming");
  // One row becomes narrow enough, another changes and stays too wide, one that fitted does not fit any more.
  const narrow = Array.from({ length: 440 }, (_, i) => `c${i} = 'y'`).join(", ");
  const wide = Array.from({ length: 440 }, (_, i) => `c${i} = '${"z".repeat(20)}'`).join(", ");
  file.writer().exec(`UPDATE texts440 SET ${narrow} WHERE id = 0; UPDATE texts440 SET ${wide} WHERE id = 1;
    UPDATE integers SET c0 = -1 WHERE c0 = 0; DELETE FROM integers WHERE c0 = 10000;`);
  await sidecar.waitDrained();
  const again = await sidecar.cli(["verify", "--json"]);
  const changed = EXPECTED.map((table) =>
    table.name === "integers" ? { ...table, source: 11, quarantined: 11 } : table,
  );
  expect(json(again).tables).toMatchObject(changed);
}, 60_000);
