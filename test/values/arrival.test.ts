// Every value that SQLite can hold and PostgreSQL can too arrives unchanged, by the copy and by the tail alike. One
// that PostgreSQL cannot hold keeps its row out, by name, until the application repairs it.
import { afterEach, beforeEach, expect, test } from "vitest";
import { Sidecar, type Status } from "../support/cli.js";
import { differences } from "../support/rows.js";
import { type TestDatabase, testDatabase } from "../support/servers.js";
import { type TestFile, testFile } from "../support/sqlite.js";

const INTEGERS = ["0", "-1", "2147483648", "9007199254740993", "9223372036854775807", "-9223372036854775808"];
const REALS = [
  "0.1",
  "1.0",
  "-2.5",
  "1e15",
  "1e16",
  "123456789.123456789",
  "1e-5",
  "5e-324",
  "1.7976931348623157e308",
  "2.5e-300",
];
const TEXTS = [
  "''",
  "' '",
  "'NULL'",
  "'\\N'",
  "'\\.'",
  "'a,b;c|d'",
  `'say "hi" it''s'`,
  "'tab' || char(9) || 'cr' || char(13) || 'lf' || char(10) || char(13, 10)",
  "char(1, 2, 8, 11, 12, 27, 31, 127, 128, 159)",
  "'é ü ß 漢字 עברית'",
  "char(128512, 65533, 65534, 1114111)",
  "'back\\\\slash\\'",
  "'now'",
  "'1e3'",
  "'{\"json\": [1, 2]}'",
  "replace(hex(zeroblob(300000)), '0', 'é')",
];
const BLOBS = ["x''", "x'00'", "x'ff00fe'", "x'5c2e0a'", "zeroblob(3000000)"];

/** One INSERT per value: INTO table VALUES (n, value). */
function inserts(table: string, values: readonly string[]): string {
  return values.map((value, n) => `INSERT INTO ${table} VALUES (${n + 1}, ${value});`).join("\n");
}

const SCHEMA = `
  CREATE TABLE integers(id INTEGER PRIMARY KEY, v BIGINT); ${inserts("integers", [...INTEGERS, "NULL"])}
  CREATE TABLE reals(id INTEGER PRIMARY KEY, v DOUBLE); ${inserts("reals", [...REALS, "9e999", "-9e999", "NULL"])}
  CREATE TABLE numerics(id INTEGER PRIMARY KEY, v NUMERIC); ${inserts("numerics", [...INTEGERS, ...REALS, "NULL"])}
  CREATE TABLE texts(id INTEGER PRIMARY KEY, v TEXT); ${inserts("texts", [...TEXTS, "NULL"])}
  CREATE TABLE blobs(id INTEGER PRIMARY KEY, v BLOB); ${inserts("blobs", [...BLOBS, "NULL"])}
  CREATE TABLE anything(id INTEGER PRIMARY KEY, v);
    ${inserts("anything", [...INTEGERS, ...REALS, ...TEXTS, ...BLOBS, "'1'", "x'31'", "1", "1.0", "NULL"])}
  CREATE TABLE doubles(id INTEGER PRIMARY KEY, v REAL, w);
  CREATE TABLE keys(k PRIMARY KEY NOT NULL, v INTEGER) WITHOUT ROWID;
    INSERT INTO keys VALUES (1, 1), ('1', 2), (x'31', 3), (1.5, 4), ('', 5), (x'', 6), ('é', 7);`;

let file: TestFile;
let database: TestDatabase;
let sidecar: Sidecar;

beforeEach(async () => {
  file = testFile(SCHEMA);
  const doubles = file.writer();
  const insert = doubles.prepare("INSERT INTO doubles(v, w) VALUES (?, ?)");
  const bits = new DataView(new ArrayBuffer(8));
  doubles.transaction(() => {
    for (let n = 0; n < 5_000; n++) {
      bits.setBigUint64(0, (BigInt(n) * 0x9e3779b97f4a7c15n) & 0xffffffffffffffffn);
      const value = bits.getFloat64(0);
      if (Number.isFinite(value)) insert.run(value, value);
    }
  })();
  database = await testDatabase(18);
  sidecar = await Sidecar.prepare({ sqlite: file.path, url: database.url });
});
afterEach(async () => {
  await sidecar.remove();
  await database.drop();
  file.remove();
});

const quarantined = (status: Status) =>
  status.sources.flatMap((source) => source.tables).reduce((sum, table) => sum + table.quarantined, 0);

test("every value arrives unchanged by the copy, and again by the tail", async () => {
  sidecar.start();
  expect(quarantined(await sidecar.waitPhase("streaming"))).toBe(0);
  expect(await differences(file.path, database.url)).toEqual([]);
  // The same values once more under other keys, and every present row touched.
  const tables = ["integers", "reals", "numerics", "texts", "blobs", "anything"];
  file
    .writer()
    .exec(
      tables.map((t) => `INSERT INTO ${t} SELECT id + 1000, v FROM ${t}; UPDATE ${t} SET v = v;`).join("\n"),
    );
  file.writer().exec("UPDATE keys SET k = k || 'x' WHERE typeof(k) = 'text'; UPDATE doubles SET v = v / 3");
  expect(quarantined(await sidecar.waitDrained())).toBe(0);
  expect(await differences(file.path, database.url)).toEqual([]);
  expect((await sidecar.cli(["verify"])).code).toBe(0);
});

test("a value that PostgreSQL cannot hold keeps its row out, by name, until it is repaired", async () => {
  file.writer().exec(`
    INSERT INTO texts VALUES (901, 'a' || char(0) || 'b'), (902, CAST(x'61ff' AS TEXT));
    INSERT INTO integers VALUES (901, 'twelve'), (902, 1.5), (903, x'00');
    INSERT INTO reals VALUES (901, 'much');`);
  sidecar.start();
  const status = await sidecar.waitPhase("streaming");
  const counts = Object.fromEntries(
    (status.sources[0]?.tables ?? []).map((table) => [table.name, table.quarantined]),
  );
  expect(counts).toMatchObject({ texts: 2, integers: 3, reals: 1, blobs: 0 });
  const metric = async () =>
    (await sidecar.metrics()).get('switchback_quarantined_rows{source="app",table="texts"}');
  await expect.poll(metric, { timeout: 5_000 }).toBe(2);
  expect(JSON.stringify(status.problems)).toMatch(/integers/);

  const writer = file.writer();
  // A good row that turns bad must not stay behind in its older state.
  writer.exec("UPDATE integers SET v = 'turned' WHERE id = 1");
  await sidecar.waitDrained();
  expect(await database.query("SELECT id::int AS id FROM integers WHERE id = 1 OR id > 900")).toEqual([]);

  writer.exec(`
    UPDATE texts SET v = 'mended' WHERE id > 900; UPDATE reals SET v = 1 WHERE id > 900;
    DELETE FROM integers WHERE id = 902; UPDATE integers SET v = 12 WHERE typeof(v) NOT IN ('integer', 'null');`);
  expect(quarantined(await sidecar.waitDrained())).toBe(0);
  expect(await differences(file.path, database.url)).toEqual([]);
  expect((await sidecar.cli(["verify"])).code).toBe(0);
});

test("a NULL that turns up in a key later keeps its rows out, by name, until they are repaired", async () => {
  const writer = file.writer();
  writer.exec("CREATE TABLE late(k TEXT PRIMARY KEY, v INTEGER); INSERT INTO late VALUES ('a', 1), ('b', 2)");
  sidecar.start();
  await sidecar.waitPhase("streaming");
  writer.exec(
    "INSERT INTO late VALUES (NULL, 3), (NULL, 4), ('c', 5); UPDATE late SET k = NULL WHERE k = 'b'",
  );
  const status = await sidecar.waitDrained();
  expect(quarantined(status)).toBeGreaterThan(0);
  expect(JSON.stringify(status.problems)).toMatch(/late/);
  expect(await database.query("SELECT k FROM late ORDER BY k")).toEqual([{ k: "a" }, { k: "c" }]);
  writer.exec("UPDATE late SET k = 'mended ' || v WHERE k IS NULL");
  expect(quarantined(await sidecar.waitDrained())).toBe(0);
  expect(await differences(file.path, database.url)).toEqual([]);
});
