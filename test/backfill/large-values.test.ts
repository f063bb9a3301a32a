// Rows of hundreds of kilobytes and a value of thirty megabytes, in the history and in one transaction afterwards.
// They arrive as they are, and the sidecar's memory never holds all of them.
import { afterEach, beforeEach, expect, test } from "vitest";
import { Sidecar } from "../support/cli.js";
import { effort } from "../support/effort.js";
import { type TestDatabase, testDatabase } from "../support/servers.js";
import { type TestFile, testFile } from "../support/sqlite.js";

/** In full 300 rows of 200 kB, and one of 30 MB: 90 MB in all, twice that as text. */
const ROWS = effort(100, 300);
const FILL = `
  WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ${ROWS})
    INSERT INTO page SELECT i, randomblob(100000), hex(randomblob(50000)) FROM n;
  INSERT INTO page VALUES (1000, randomblob(30000000), 'the large one');`;

let file: TestFile;
let database: TestDatabase;
let sidecar: Sidecar;

beforeEach(async () => {
  file = testFile(`CREATE TABLE page(id INTEGER PRIMARY KEY, body BLOB, text TEXT); ${FILL}`);
  database = await testDatabase(18);
  sidecar = await Sidecar.streaming({ sqlite: file.path, url: database.url });
});
afterEach(async () => {
  await sidecar.remove();
  await database.drop();
  file.remove();
});

const verified = async () => {
  await sidecar.waitDrained();
  const { code, stdout, stderr } = await sidecar.cli(["verify", "--json"]);
  expect(code, stdout + stderr).toBe(0);
  const { tables } = JSON.parse(stdout);
  expect(tables).toMatchObject([{ source: ROWS + 1, target: ROWS + 1 }]);
};

test("wide rows are copied, followed in one transaction, and equal", async () => {
  await verified();
  file.writer().exec(`UPDATE page SET body = randomblob(100000), text = text || '!' WHERE id <= ${ROWS}`);
  await verified();
  const sums = await database.query(
    "SELECT sum(length(body))::int AS bytes, max(length(text)) AS longest FROM page",
  );
  expect(sums).toEqual([{ bytes: 30_000_000 + ROWS * 100_000, longest: 100_001 }]);
  const memory = (await sidecar.metrics()).get("process_resident_memory_bytes") ?? 0;
  expect(memory).toBeLessThan(700 * 1024 * 1024);
}, 120_000);
