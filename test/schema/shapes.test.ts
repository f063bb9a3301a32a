// The target's tables after a migration are what a fresh start would make of the file: defaults, CHECKs, computed
// columns, keys, indexes. Verification and the cutover compare shapes, not only rows.
import { afterEach, beforeEach, expect, test } from "vitest";
import { cutoverObstacle } from "#switchback/cutover/preflight.js";
import { connectPostgres } from "#switchback/postgres/connection.js";
import { Records } from "#switchback/postgres/records.js";
import { SourceChanged } from "#switchback/protocol/contract.js";
import { reconcile } from "#switchback/sidecar/reconcile.js";
import { Verification, type VerificationResult, verifySource } from "#switchback/sidecar/verification.js";
import { SqliteSource } from "#switchback/sqlite/source/source.js";
import { differences } from "../support/rows.js";
import { type TestDatabase, testDatabase } from "../support/servers.js";
import { backfill, configFor, freshShape, shapeLines } from "../support/shapes.js";
import { type TestFile, testFile } from "../support/sqlite.js";

const SCHEMA = `
  CREATE TABLE parent(id INTEGER PRIMARY KEY, v TEXT UNIQUE);
  CREATE TABLE plain(id INTEGER PRIMARY KEY, v TEXT, n INTEGER);
  CREATE INDEX plain_n ON plain(n);
  CREATE UNIQUE INDEX plain_v ON plain(v);
  CREATE TABLE keyless(v TEXT, n INTEGER DEFAULT 1);
  INSERT INTO parent VALUES (1, 'one'), (2, 'two');
  INSERT INTO plain VALUES (1, 'a', 1), (2, 'b', 2);
  INSERT INTO keyless VALUES ('x', 1), ('y', 2);`;

let file: TestFile;
let database: TestDatabase;

beforeEach(async () => {
  file = testFile(SCHEMA);
  database = await testDatabase(15);
  await backfill(file.path, database.url);
});
afterEach(async () => {
  await database.drop();
  file.remove();
});

const rebuild = (table: string, columns: string, list: string) =>
  `BEGIN; CREATE TABLE x(${columns}); INSERT INTO x(${list}) SELECT ${list} FROM ${table}; DROP TABLE ${table}; ALTER TABLE x RENAME TO ${table}; COMMIT`;

async function verify(repair = false): Promise<VerificationResult> {
  const [source] = configFor(file.path, database.url).sources;
  const { postgres } = configFor(file.path, database.url);
  if (!source || !postgres) throw new Error("no source");
  const verification = await Verification.open({
    ...{ source, postgres, table: undefined },
    signal: new AbortController().signal,
    catchUp: async () => {},
  });
  try {
    return await (repair ? verification.repair() : verification.verify());
  } finally {
    await verification.close();
  }
}

async function expectFresh(): Promise<void> {
  expect(await shapeLines(database.url)).toEqual(await freshShape(file.path, 15));
  expect(await differences(file.path, database.url)).toEqual([]);
  const { equal, shape } = await verify();
  expect({ equal, shape }).toEqual({ equal: true, shape: [] });
}

test("added columns arrive with DEFAULT, CHECK, REFERENCES and GENERATED", async () => {
  const writer = file.writer();
  writer.exec("ALTER TABLE plain ADD COLUMN kind TEXT NOT NULL DEFAULT 'k'");
  writer.exec("ALTER TABLE plain ADD COLUMN m INTEGER DEFAULT 7 CHECK (m > 0)");
  writer.exec("ALTER TABLE plain ADD COLUMN up TEXT GENERATED ALWAYS AS (upper(v)) VIRTUAL");
  writer.exec("ALTER TABLE plain ADD COLUMN parent INTEGER REFERENCES parent(id)");
  writer.exec("ALTER TABLE keyless ADD COLUMN w TEXT DEFAULT 'w'");
  await backfill(file.path, database.url);
  await expectFresh();
  expect(await database.query("SELECT kind, m::int, up FROM plain WHERE id = 2")).toEqual([
    { kind: "k", m: 7, up: "B" },
  ]);
});

test("a rebuild that changes a default, a CHECK, an expression, UNIQUE, an index or a foreign key only", async () => {
  const writer = file.writer();
  const steps = [
    ["id INTEGER PRIMARY KEY, v TEXT DEFAULT 'old', n INTEGER", "id, v, n"],
    ["id INTEGER PRIMARY KEY, v TEXT DEFAULT 'new' CHECK (v IN ('a', 'b')), n INTEGER UNIQUE", "id, v, n"],
    [
      "id INTEGER PRIMARY KEY, v TEXT CHECK (v IN ('a', 'b', 'c')), n INTEGER, up TEXT AS (upper(v))",
      "id, v, n",
    ],
    ["id INTEGER PRIMARY KEY, v TEXT, n INTEGER REFERENCES parent(id), up TEXT AS (lower(v))", "id, v, n"],
    [
      "id INTEGER PRIMARY KEY, n INTEGER REFERENCES parent(id) ON DELETE CASCADE, v TEXT NOT NULL",
      "id, v, n",
    ],
  ] as const;
  for (const [columns, list] of steps) {
    writer.exec(rebuild("plain", columns, list));
    writer.exec(
      "INSERT INTO plain(v, n) SELECT 'c', 1 WHERE (SELECT sql FROM sqlite_schema WHERE name = 'plain') LIKE '%''c''%'",
    );
    await backfill(file.path, database.url);
    await expectFresh();
  }
});

test("an index whose name moves to another table, and a table that is renamed with its indexes", async () => {
  const writer = file.writer();
  writer.exec("DROP INDEX plain_n; CREATE INDEX plain_n ON keyless(n)");
  await backfill(file.path, database.url);
  await expectFresh();
  writer.exec("ALTER TABLE plain RENAME TO task");
  await backfill(file.path, database.url);
  await expectFresh();
});

test("what an operator adds for reports stays, through a migration too; what refuses rows is named and refuses the cutover", async () => {
  await database.query("CREATE INDEX report ON plain (lower(v)) WHERE n > 0");
  await database.query("CREATE ROLE reader; GRANT SELECT ON plain TO reader").catch(() => {});
  file.writer().exec("ALTER TABLE plain ADD COLUMN kind TEXT DEFAULT 'k'");
  file.writer().exec("ALTER TABLE parent ADD COLUMN kind TEXT DEFAULT 'k'");
  await backfill(file.path, database.url);
  expect((await verify()).equal).toBe(true);
  expect(await database.query("SELECT 1 AS x FROM pg_indexes WHERE indexname = 'report'")).toHaveLength(1);
  await database.query("ALTER TABLE plain ADD CONSTRAINT strict CHECK (n < 100)");
  await database.query("ALTER TABLE plain ALTER COLUMN kind DROP DEFAULT");
  const { equal, shape } = await verify();
  expect({ equal, shape }).toEqual({
    equal: false,
    shape: [
      { table: "plain", what: "column kind", source: "text DEFAULT 'k'::text", target: "text" },
      { table: "plain", what: "check strict", source: null, target: "CHECK ((n < 100))" },
    ],
  });
  const status = {
    phase: "streaming",
    problems: [],
    sources: [{ name: "app", lag: { changes: 0, seconds: 0 } }],
  };
  const config = configFor(file.path, database.url);
  const obstacle = () => cutoverObstacle(status as never, config, config.postgres as never);
  expect(await obstacle()).toBe(
    "PostgreSQL's table is not what a fresh copy would be: plain: column kind: SQLite's schema gives text DEFAULT 'k'::text, PostgreSQL has text, and 1 more: `switchback verify` names all",
  );
  await backfill(file.path, database.url);
  expect((await verify()).shape).toMatchObject([{ what: "check strict" }]);
  await database.query("ALTER TABLE plain DROP CONSTRAINT strict");
  await verify();
  expect(await obstacle()).toBe(null);
});

test("a view over a column that must change is named", async () => {
  await database.query("CREATE VIEW seen AS SELECT v FROM plain");
  file.writer().exec(rebuild("plain", "id INTEGER PRIMARY KEY, v INTEGER, n INTEGER", "id, n"));
  const refused = await backfill(file.path, database.url).catch((error: Error & { code?: string }) => error);
  expect(refused).toMatchObject({ code: "TARGET_MISMATCH" });
  expect(refused?.message).toContain("view public.seen depends on column v of table public.plain");
});

test("a value that PostgreSQL computes otherwise than SQLite is a difference", async () => {
  file.writer().exec("ALTER TABLE plain ADD COLUMN up TEXT GENERATED ALWAYS AS (upper(v)) VIRTUAL");
  await backfill(file.path, database.url);
  await expectFresh();
  await database.query(
    "ALTER TABLE plain DROP COLUMN up, ADD COLUMN up text GENERATED ALWAYS AS (lower(v)) STORED",
  );
  const { tables, equal, shape } = await verify();
  expect(equal).toBe(false);
  expect(tables.find(({ name }) => name === "plain")).toMatchObject({ different: 2 });
  expect(shape).toMatchObject([{ table: "plain", what: "column up" }]);
});

test("a copy that a crash would empty is a difference, and is logged and filled again at a start", async () => {
  await database.query("ALTER TABLE plain SET UNLOGGED");
  expect((await verify()).shape).toMatchObject([{ table: "plain", what: "persistence", target: "UNLOGGED" }]);
  // As the server does when it starts after a crash.
  await database.query("BEGIN; SET LOCAL session_replication_role = replica; DELETE FROM plain; COMMIT");
  await backfill(file.path, database.url);
  await expectFresh();
  expect(await database.query("SELECT relpersistence AS p FROM pg_class WHERE relname = 'plain'")).toEqual([
    { p: "p" },
  ]);
});

test("a table of an earlier release that has not the shape of a fresh copy is put right at the start", async () => {
  await database.query("UPDATE switchback.followed SET shape = NULL");
  file.writer().exec("ALTER TABLE plain ADD COLUMN kind TEXT NOT NULL DEFAULT 'k'");
  await backfill(file.path, database.url);
  await database.query(`UPDATE switchback.followed SET shape = NULL;
    ALTER TABLE plain ALTER COLUMN kind DROP DEFAULT, ADD CONSTRAINT plain_check CHECK (n < 100);
    ALTER TABLE plain ADD COLUMN up text GENERATED ALWAYS AS (upper(v)) STORED;
    ALTER TABLE parent ADD CONSTRAINT parent_old UNIQUE (v);
    DROP INDEX plain_n`);
  const { equal, shape } = await verify();
  expect(equal).toBe(false);
  expect(shape.map(({ what }) => what)).toEqual(
    expect.arrayContaining(["column kind", "check plain_check", "unique parent_old", "index plain_n"]),
  );
  await backfill(file.path, database.url);
  await expectFresh();
});

test("the last column dropped and added again word for word: its old values go", async () => {
  const writer = file.writer();
  writer.exec(
    "ALTER TABLE plain ADD COLUMN a TEXT; ALTER TABLE plain ADD COLUMN z INTEGER NOT NULL DEFAULT 5",
  );
  writer.exec("UPDATE plain SET a = 'old', z = 9; UPDATE parent SET v = v || '!'");
  await backfill(file.path, database.url);
  const rows = async (table: string) => database.query(`SELECT xmin::text FROM ${table} ORDER BY id`);
  const parents = await rows("parent");
  writer.exec(
    "BEGIN; ALTER TABLE plain DROP COLUMN z; ALTER TABLE plain ADD COLUMN z INTEGER NOT NULL DEFAULT 5; COMMIT",
  );
  await backfill(file.path, database.url);
  expect(await differences(file.path, database.url)).toEqual([]);
  const dropped = await rows("plain");
  // One that was not: z shows nothing, a still has its values.
  writer.exec("CREATE INDEX plain_a ON plain(a)");
  await backfill(file.path, database.url);
  expect(await rows("plain")).toEqual(dropped);
  writer.exec("DROP INDEX plain_a; ALTER TABLE plain DROP COLUMN z; ALTER TABLE plain DROP COLUMN a");
  writer.exec(
    "ALTER TABLE plain ADD COLUMN a TEXT; ALTER TABLE plain ADD COLUMN z INTEGER NOT NULL DEFAULT 5",
  );
  writer.exec("UPDATE plain SET a = 'new' WHERE id = 1");
  await backfill(file.path, database.url);
  expect(await differences(file.path, database.url)).toEqual([]);
  expect(await rows("parent")).toEqual(parents);
});

test("a rebuild to the same DDL that puts every trigger back, ours too: the rows are read again; VACUUM changes nothing", async () => {
  const writer = file.writer();
  const rows = async () => database.query("SELECT xmin::text, v FROM plain ORDER BY id");
  const restoring = () => {
    const kept = writer
      .prepare(
        "SELECT sql FROM sqlite_schema WHERE tbl_name = 'plain' AND type IN ('index', 'trigger') AND sql IS NOT NULL",
      )
      .pluck()
      .all() as string[];
    const [made] = writer
      .prepare("SELECT sql FROM sqlite_schema WHERE name = 'plain'")
      .pluck()
      .all() as string[];
    const copy = (made ?? "").replace(/plain/, "copy");
    writer.exec(`BEGIN; ${copy}; INSERT INTO copy SELECT id, v || '?', n FROM plain; DROP TABLE plain;
      ALTER TABLE copy RENAME TO plain; ${kept.join(";")}; COMMIT; VACUUM`);
  };
  restoring();
  await backfill(file.path, database.url);
  const before = await rows();
  restoring();
  await backfill(file.path, database.url);
  expect(await differences(file.path, database.url)).toEqual([]);
  const after = await rows();
  expect(after).not.toEqual(before);
  writer.exec("VACUUM");
  await backfill(file.path, database.url);
  expect(await rows()).toEqual(after);
});

test("a computed column before the one that it needs: the table is made again, with its grants and indexes", async () => {
  await database.query("GRANT SELECT ON plain TO PUBLIC; CREATE INDEX report ON plain(lower(v))");
  const columns = "id INTEGER PRIMARY KEY, v TEXT, d INTEGER AS (m * 2), n TEXT, m INTEGER";
  file.writer().exec(rebuild("plain", columns, "id, v, n"));
  await backfill(file.path, database.url);
  expect(await differences(file.path, database.url)).toEqual([]);
  expect(await database.query("SELECT has_table_privilege('public', 'plain', 'SELECT') AS x")).toEqual([
    { x: true },
  ]);
  const lines = await shapeLines(database.url);
  expect(lines.filter((l) => l.includes(" report "))).toHaveLength(1);
  expect(lines.filter((l) => !l.includes(" report "))).toEqual(await freshShape(file.path, 15));
});

test("an index of the operator's that has the name of a new one is named", async () => {
  await database.query("CREATE INDEX late ON parent (id)");
  file.writer().exec("CREATE INDEX late ON plain(n, v)");
  // All other tables continue.
  await backfill(file.path, database.url);
  const { equal, shape } = await verify();
  expect(equal).toBe(false);
  expect(shape.map(({ what }) => what)).toContain("index late");
  await database.query("DROP INDEX late");
  await backfill(file.path, database.url);
  await expectFresh();
});

test("a table that goes away while the sidecar looks is a change of the file, not a bug", async () => {
  const config = configFor(file.path, database.url);
  const [source] = config.sources;
  const client = await connectPostgres(config.postgres as never, { name: "test" });
  const reader = new SqliteSource("app", file.path, 1);
  class Slow extends Records {
    override async source(name: string) {
      file.writer().exec("DROP TABLE keyless; CREATE TABLE later(id INTEGER PRIMARY KEY)");
      return super.source(name);
    }
  }
  try {
    file.writer().exec("ALTER TABLE keyless ADD COLUMN kind DATETIME");
    const sides = { config: source as never, file: reader, records: new Slow(client), client, owner: "test" };
    await expect(reconcile(sides as never)).rejects.toThrow(SourceChanged);
  } finally {
    await reader.close();
    await client.end();
  }
});

test("a file whose schema changes during a comparison is compared once more", async () => {
  const [source] = configFor(file.path, database.url).sources;
  const { postgres } = configFor(file.path, database.url);
  if (!source || !postgres) throw new Error("no source");
  let views = 0;
  const options = {
    ...{ source, postgres, table: undefined, signal: new AbortController().signal },
    catchUp: async () => {
      if (views < 2) file.writer().exec(`CREATE VIEW seen_${views++} AS SELECT 1`);
    },
  };
  expect((await verifySource(options)).equal).toBe(true);
  expect(views).toBe(2);
});

test.each(["DROP TABLE plain CASCADE", "DROP TABLE parent, keyless CASCADE"])(
  "a copy that is not there any more is made and filled again: %s",
  async (statement) => {
    await database.query(statement);
    file.writer().exec("INSERT INTO plain VALUES (3, 'c', 3); INSERT INTO keyless VALUES ('z', 3)");
    await backfill(file.path, database.url);
    await expectFresh();
    expect((await verify()).equal).toBe(true);
    const fenced = "INSERT INTO keyless (v) VALUES ('no')";
    await expect(database.query(fenced)).rejects.toThrow("switchback: writes go to SQLite");
  },
);
