// Rows that SQLite has lost without a word to the log: PostgreSQL's duplicate key proves them stale, and they are read
// again. The writer is Python's sqlite3, and hides each eviction from the log in its own transaction, whatever the
// triggers made of it.
import { afterEach, expect, test } from "vitest";
import { type Copying, prepareCopy } from "../support/copying.js";
import { type TestDatabase, testDatabase } from "../support/servers.js";
import { pythonNow, type TestFile, testFile } from "../support/sqlite.js";

const open: { file: TestFile; database: TestDatabase; copying: Copying }[] = [];
afterEach(async () => {
  for (const { file, database, copying } of open.splice(0)) {
    await copying.close();
    await database.drop();
    file.remove();
  }
});

async function begin(
  schema: string,
  target: string,
  version: 15 | 18 = 18,
  journal: "wal" | "delete" = "wal",
) {
  const file = testFile(schema, journal);
  const database = await testDatabase(version);
  const options = { file: file.path, url: database.url, workers: 2, rowsPerRange: 2, target };
  const copying = await prepareCopy(options);
  open.push({ file, database, copying });
  const copy = () => copying.link.copy(copying.source, copying.target, new AbortController().signal);
  const contents = async (table: string, columns: string) => ({
    source: file.writer().prepare(`SELECT ${columns} FROM ${table} ORDER BY 1`).raw().all(),
    target: (await database.query(`SELECT ${columns} FROM ${table} ORDER BY 1`)).map((row) =>
      Object.values(row).map((value) => (typeof value === "string" && /^\d+$/.test(value) ? +value : value)),
    ),
  });
  const refused = async () =>
    (await database.query("SELECT key FROM switchback.quarantine ORDER BY key")).map(({ key }) => key);
  return { file, database, copying, copy, contents, refused };
}

/** Runs the statements in one transaction, and makes what the log says of these keys speak of another one. */
const HIDING = `
import sqlite3, sys, json
db = sqlite3.connect(sys.argv[1], isolation_level=None)
db.execute("BEGIN IMMEDIATE")
before = db.execute("SELECT coalesce(max(seq), 0) FROM _switchback_log").fetchone()[0]
for text in json.loads(sys.argv[2]): db.execute(text)
hidden = json.loads(sys.argv[3])
for key in hidden: db.execute("UPDATE _switchback_log SET k1 = -999 WHERE seq > ? AND k1 = ?", (before, key))
print(db.execute("SELECT count(*) FROM _switchback_log WHERE seq > ?", (before,)).fetchone()[0])
db.execute("COMMIT")
`;
const hiding = (file: TestFile, statements: readonly string[], keys: readonly number[]) =>
  pythonNow(HIDING.trim(), [file.path, JSON.stringify(statements), JSON.stringify(keys)]);

const EVICTIONS = {
  "a default in the place of NULL": {
    sqlite: "CREATE TABLE t(a INTEGER PRIMARY KEY, u TEXT NOT NULL DEFAULT 'x' UNIQUE, c TEXT)",
    postgres: "CREATE TABLE t(a bigint PRIMARY KEY, u text UNIQUE, c text)",
    rows: "INSERT INTO t VALUES (1,'x','first'),(5,'y','five')",
    write: "INSERT OR REPLACE INTO t VALUES (2, NULL, 'second')",
  },
  "a generated column of a default": {
    sqlite:
      "CREATE TABLE t(a INTEGER PRIMARY KEY, u TEXT NOT NULL DEFAULT 'x', g TEXT AS (u||'!') UNIQUE, c TEXT)",
    postgres:
      "CREATE TABLE t(a bigint PRIMARY KEY, u text, g text GENERATED ALWAYS AS (u || '!') STORED UNIQUE, c text)",
    rows: "INSERT INTO t(a, u) VALUES (1,'x'),(5,'y')",
    write: "REPLACE INTO t(a, u) VALUES (3, NULL)",
  },
  "a generated column of an automatic key": {
    sqlite: "CREATE TABLE t(a INTEGER PRIMARY KEY, g INT GENERATED ALWAYS AS (a % 10) STORED UNIQUE, c TEXT)",
    postgres:
      "CREATE TABLE t(a bigint PRIMARY KEY, g bigint GENERATED ALWAYS AS (a % 10) STORED UNIQUE, c text)",
    rows: "INSERT INTO t(a, c) VALUES (1,'x'),(10,'y')",
    write: "INSERT OR REPLACE INTO t(c) VALUES ('z')",
  },
  "an expression of an automatic key": {
    sqlite: "CREATE TABLE t(a INTEGER PRIMARY KEY, c TEXT); CREATE UNIQUE INDEX ti ON t(a % 10)",
    postgres: "CREATE TABLE t(a bigint PRIMARY KEY, c text); CREATE UNIQUE INDEX ti ON t((a % 10))",
    rows: "INSERT INTO t(a, c) VALUES (1,'x'),(10,'y')",
    write: "INSERT OR REPLACE INTO t(c) VALUES ('z')",
  },
  "an index with a collation of its own": {
    sqlite:
      "CREATE TABLE t(a INTEGER PRIMARY KEY, u TEXT COLLATE NOCASE, c TEXT); CREATE UNIQUE INDEX ti ON t(u COLLATE BINARY)",
    postgres:
      "CREATE TABLE t(a bigint PRIMARY KEY, u text, c text); CREATE UNIQUE INDEX ti ON t(u) WHERE c <> ''",
    rows: "INSERT INTO t VALUES (2,'BOB','y'),(1,'bob','x'),(3,'z','z')",
    write: "UPDATE OR REPLACE t SET u = 'BOB' WHERE a = 1",
    evicted: 2,
  },
} as const;

test.each(Object.entries(EVICTIONS))(
  "an eviction that was not logged is followed: %s",
  async (name, form) => {
    const version = Object.keys(EVICTIONS).indexOf(name) % 2 === 0 ? 15 : 18;
    const at = await begin(`${form.sqlite}; ${form.rows}`, form.postgres, version);
    await at.copy();
    hiding(at.file, [form.write], ["evicted" in form ? form.evicted : 1]);
    await at.copying.link.drain(new AbortController().signal);
    expect(await at.refused()).toEqual([]);
    const { source, target } = await at.contents("t", "a, c");
    expect(target).toEqual(source);
    expect(source.map((row) => (row as number[])[0])).not.toContain("evicted" in form ? form.evicted : 1);
  },
);

const [UNIQUE, UNIQUE_AWAY] = [
  "CREATE TABLE t(a INTEGER PRIMARY KEY, u TEXT, c TEXT)",
  "CREATE TABLE t(a bigint PRIMARY KEY, u text UNIQUE, c text)",
];

test("stale rows behind stale rows, in a window with a row that PostgreSQL cannot hold at all", async () => {
  const at = await begin(
    `${UNIQUE}; INSERT INTO t VALUES (1,'x','1'),(2,'y','2'),(3,'z','3'),(4,'w','4')`,
    "CREATE TABLE t(a bigint PRIMARY KEY, u text UNIQUE, c text CHECK (c <> 'bad'))",
  );
  await at.copy();
  hiding(
    at.file,
    [
      "UPDATE t SET u = 'gone' WHERE a = 4",
      "UPDATE t SET u = 'w' WHERE a = 3",
      "UPDATE t SET u = 'z' WHERE a = 2",
      "UPDATE t SET u = 'y' WHERE a = 1",
      "INSERT INTO t VALUES (9, 'q', 'bad'), (10, 'x', 'ten')",
    ],
    [1, 2, 3, 4],
  );
  await at.copying.link.drain(new AbortController().signal);
  expect(await at.refused()).toEqual(["[9]"]);
  const { source, target } = await at.contents("t", "a, u");
  expect(target).toEqual(source.filter((row) => (row as number[])[0] !== 9));
});

test("an exclusion constraint, and NULLs that are equal, are found as well", async () => {
  const at = await begin(
    `CREATE TABLE e(a INTEGER PRIMARY KEY, u INTEGER); CREATE TABLE n(a INTEGER PRIMARY KEY, u INTEGER);
     INSERT INTO e VALUES (1, 7); INSERT INTO n VALUES (1, NULL)`,
    `CREATE TABLE e(a bigint PRIMARY KEY, u bigint, EXCLUDE USING gist (int8range(u, u, '[]') WITH &&));
     CREATE TABLE n(a bigint PRIMARY KEY, u bigint UNIQUE NULLS NOT DISTINCT)`,
  );
  await at.copy();
  for (const [table, value] of [
    ["e", "7"],
    ["n", "NULL"],
  ] as const)
    hiding(at.file, [`DELETE FROM ${table} WHERE a = 1`, `INSERT INTO ${table} VALUES (2, ${value})`], [1]);
  await at.copying.link.drain(new AbortController().signal);
  expect(await at.refused()).toEqual([]);
  for (const table of ["e", "n"]) {
    const { source, target } = await at.contents(table, "a, u");
    expect(target).toEqual(source);
  }
});

test.each(["wal", "delete"] as const)(
  "where SQLite holds both rows, the copy and the windows refuse one and continue (%s)",
  async (journal) => {
    const at = await begin(
      `${UNIQUE}; INSERT INTO t VALUES (1,'x','1'),(2,'x','2'),(3,'z','3'),(4,'z','4'),(5,'v','5')`,
      UNIQUE_AWAY,
      18,
      journal,
    );
    await at.copy();
    expect(await at.refused()).toHaveLength(2);
    hiding(at.file, ["INSERT INTO t VALUES (6, 'v', '6')"], []);
    await at.copying.link.drain(new AbortController().signal);
    expect(await at.refused()).toContain("[6]");
    expect(at.copying.held.tables.get("t")?.quarantined).toBe(3);
    const { target } = await at.contents("t", "a, u, c");
    expect(target).toHaveLength(3);
    expect(target).toContainEqual([5, "v", 5]);
  },
);

test("a range that collides with a stale row of a range copied before is copied in the end", async () => {
  const at = await begin(
    `${UNIQUE}; WITH RECURSIVE i(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM i WHERE i < 40)
     INSERT INTO t SELECT i, 'u' || i, i FROM i`,
    UNIQUE_AWAY,
  );
  // Ranges copied at one position, then an eviction that no one logs, then the rest.
  const { pending } = at.copying.held.tables.get("t") as { pending: unknown[] };
  const later = pending.splice(5);
  const table = at.copying.held.tables.get("t") as { total: number };
  const { total } = table;
  table.total = 5;
  await at.copy();
  hiding(at.file, ["DELETE FROM t WHERE a = 3", "UPDATE t SET u = 'u3' WHERE a = 33"], [3]);
  table.total = total;
  pending.push(...later);
  await at.copy();
  expect(await at.refused()).toEqual([]);
  const { source, target } = await at.contents("t", "a, u");
  expect(target).toEqual(source);
});
