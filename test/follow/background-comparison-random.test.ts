// The comparison in the background under chance: beside a live writer rows are changed, lost or added in either store
// past the triggers. It names every such row and no other. SWITCHBACK_SEED repeats a run.
import { afterEach, expect, test } from "vitest";
import { Sidecar } from "../support/cli.js";
import { effort } from "../support/effort.js";
import { type TestDatabase, testDatabase } from "../support/servers.js";
import { type Outside, python, type TestFile, testFile } from "../support/sqlite.js";
import { generator } from "../support/values.js";

const SEED = Number(process.env.SWITCHBACK_SEED ?? Math.floor(Math.random() * 2 ** 31));
const ROWS = 6_000;

const SCHEMA = `
  CREATE TABLE item(id INTEGER PRIMARY KEY, v TEXT, n REAL, b BLOB);
  CREATE TABLE pair(a TEXT, b INTEGER, v TEXT, PRIMARY KEY (a, b)) WITHOUT ROWID;
  CREATE TABLE named(k TEXT COLLATE NOCASE PRIMARY KEY, v);
  WITH RECURSIVE x(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM x WHERE i < ${ROWS})
  INSERT INTO item SELECT iif(i % 3 = 0, i * 1000000007, i), 'value ' || i, i / 3.0, CAST('bytes ' || i AS BLOB) FROM x;
  INSERT INTO pair SELECT 'k' || (n % 7), rowid, v FROM item;
  INSERT INTO named SELECT 'Name ' || id, v FROM item;`;

/** Leaves the rows alone that are tampered with: those whose own number ends in 7. */
const WRITER = `
import sqlite3, sys, time
db = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=30)
ids = [row[0] for row in db.execute("SELECT id FROM item WHERE id % 10 <> 7")]
n = 0
while True:
    n += 1
    one = ids[n * 7919 % len(ids)]
    db.execute("BEGIN IMMEDIATE")
    db.execute("UPDATE item SET n = n + 1 WHERE id = ?", (one,))
    db.execute("UPDATE named SET v = ? WHERE k = 'NAME ' || ?", (n, one))
    db.execute("REPLACE INTO pair SELECT a, b, ? FROM pair WHERE b = ?", ("w%d" % n, one))
    db.execute("INSERT INTO item(id, v) VALUES (?, 'comes')", (-n,))
    db.execute("DELETE FROM item WHERE id = ?", (50 - n,))
    db.execute("COMMIT")
    time.sleep(0.005)
`;

/** Incremental BLOB I/O fires no trigger. */
const BLOB = `
import sqlite3, sys
db = sqlite3.connect(sys.argv[1], timeout=30)
with db.blobopen("item", "b", int(sys.argv[2])) as blob:
    blob.write(b"B")
db.commit()
print("written")
`;

let file: TestFile;
let database: TestDatabase;
let sidecar: Sidecar;
let writer: Outside;
afterEach(async () => {
  writer.kill();
  await sidecar.remove();
  await database.drop();
  file.remove();
});

test.each(["wal", "delete"] as const)(
  `journal_mode = %s (seed ${SEED})`,
  async (journal) => {
    const random = generator(SEED);
    file = testFile(SCHEMA, journal);
    database = await testDatabase(18);
    sidecar = await Sidecar.streaming({
      sqlite: file.path,
      url: database.url,
      top: { verify: { every: "100ms", share: "50%" } },
    });
    writer = python(WRITER, [file.path]);
    const found = async () =>
      ((await sidecar.status())?.problems ?? []).map((one) => {
        const { code, message } = one as { code: string; message: string };
        return `${code} ${message}`;
      });
    const began = async () =>
      (await sidecar.metrics()).get('switchback_background_comparison_timestamp_seconds{source="app"}') ?? 0;
    const round = async () => {
      const now = Date.now() / 1_000;
      await expect.poll(began, { timeout: 40_000 }).toBeGreaterThan(now);
    };
    const behindItsBack = (statement: string) =>
      database.query(`BEGIN; SET LOCAL session_replication_role = replica; ${statement}; COMMIT`);
    await round();
    expect(await found()).toEqual([]);
    const untouched = file
      .writer()
      .prepare("SELECT id FROM item WHERE id % 10 = 7 AND id < 1000000 ORDER BY id")
      .pluck()
      .all() as number[];
    for (let n = 0; n < effort(1, 24); n++) {
      const id = untouched[Math.floor(random() * untouched.length)] ?? 7;
      const ways: readonly (readonly [RegExp, () => Promise<unknown>])[] = [
        [
          new RegExp(`^ROWS_DIFFER .* of item .*different \\[${id}\\]$`),
          () => behindItsBack(`UPDATE item SET v = v || ' ' WHERE id = ${id}`),
        ],
        [
          new RegExp(`^ROWS_DIFFER .* of item .*missing \\[${id}\\]$`),
          () => behindItsBack(`DELETE FROM item WHERE id = ${id}`),
        ],
        [
          new RegExp(`^ROWS_DIFFER .* of named .*missing \\["Name ${id}"\\]$`),
          () => behindItsBack(`UPDATE named SET k = lower(k) WHERE k = 'Name ${id}'`),
        ],
        [
          new RegExp(`^ROWS_DIFFER .* of pair .*different \\["k\\d\\.0",${id}\\]$`),
          () => behindItsBack(`UPDATE pair SET v = NULL WHERE b = ${id}`),
        ],
        [
          new RegExp(`^ROWS_DIFFER .* of item .*different \\[${id}\\]$`),
          async () => {
            const blob = python(BLOB, [file.path, String(id)]);
            expect(await blob.line()).toBe("written");
          },
        ],
      ];
      const [problem, tamper] = ways[Math.floor(random() * ways.length)] ?? [/never/, async () => {}];
      await tamper();
      await expect.poll(found, { timeout: 40_000 }).toEqual([expect.stringMatching(problem)]);
      const repaired = await sidecar.cli(["verify", "--repair"]);
      expect(repaired.code, repaired.stdout + repaired.stderr).toBe(0);
      await expect.poll(found, { timeout: 40_000 }).toEqual([]);
      await round();
      expect(await found()).toEqual([]);
    }
  },
  effort(180_000, 1_200_000),
);
