// Reading a schema: which tables count, how their rows are named, and everything the DDL says that SQLite's
// pragmas do not. Files come from better-sqlite3, and from Python's SQLite where it allows what ours refuses.
import { spawnSync } from "node:child_process";
import Database from "better-sqlite3";
import { afterEach, describe, expect, test } from "vitest";
import type { Schema, Table } from "#switchback/schema/model.js";
import { columnOf } from "#switchback/schema/model.js";
import { isOurs, readSchema } from "#switchback/sqlite/schema.js";
import { type TestFile, testFile } from "../support/sqlite.js";

const open: (() => void)[] = [];
afterEach(() => {
  for (const close of open.splice(0)) close();
});

function schemaOf(sql: string): Schema {
  const db = new Database(":memory:");
  open.push(() => db.close());
  db.exec(sql);
  return readSchema(db);
}

function tableOf(sql: string): Table {
  const table = schemaOf(sql).tables.find((t) => t.name === "t");
  if (!table) throw new Error("no table t");
  return table;
}

/** A file that Python's sqlite3 wrote with `script`, where `db` is the open connection. */
function pythonFile(script: string): Schema {
  const file: TestFile = testFile("");
  open.push(() => file.remove());
  const code = `import sqlite3, sys\ndb = sqlite3.connect(sys.argv[1])\n${script}\ndb.commit()\ndb.close()\n`;
  const run = spawnSync("python3", ["-c", code, file.path], { encoding: "utf8" });
  expect(run.stderr).toBe("");
  const db = new Database(file.path, { readonly: true });
  open.unshift(() => db.close());
  return readSchema(db);
}

describe("keys", () => {
  test.each<[string, string, Table["key"], string | null]>([
    [
      "INTEGER PRIMARY KEY",
      "CREATE TABLE t(id INTEGER PRIMARY KEY)",
      { kind: "columns", columns: ["id"] },
      "id",
    ],
    [
      "as a table constraint",
      "CREATE TABLE t(a, id integer, PRIMARY KEY(id DESC))",
      { kind: "columns", columns: ["id"] },
      "id",
    ],
    [
      "INT is not INTEGER",
      "CREATE TABLE t(id INT PRIMARY KEY NOT NULL)",
      { kind: "columns", columns: ["id"] },
      null,
    ],
    [
      "nor is DESC in the column",
      "CREATE TABLE t(id INTEGER PRIMARY KEY DESC)",
      { kind: "columns", columns: ["id"] },
      null,
    ],
    [
      "NULL in it",
      "CREATE TABLE t(id TEXT PRIMARY KEY); INSERT INTO t VALUES (NULL), (NULL), ('a')",
      { kind: "rowid", alias: "rowid" },
      null,
    ],
    [
      "no NULL in it",
      "CREATE TABLE t(id TEXT PRIMARY KEY); INSERT INTO t VALUES ('a')",
      { kind: "columns", columns: ["id"] },
      null,
    ],
    [
      "composite, in the key's order",
      "CREATE TABLE t(a, b NOT NULL, c, PRIMARY KEY(c, b)); INSERT INTO t VALUES (NULL, 1, 1)",
      { kind: "columns", columns: ["c", "b"] },
      null,
    ],
    [
      "composite with a NULL",
      "CREATE TABLE t(a, b, PRIMARY KEY(a, b)); INSERT INTO t VALUES (1, NULL)",
      { kind: "rowid", alias: "rowid" },
      null,
    ],
    [
      "WITHOUT ROWID",
      "CREATE TABLE t(a, b, PRIMARY KEY(b, a)) WITHOUT ROWID",
      { kind: "columns", columns: ["b", "a"] },
      null,
    ],
    ["none", "CREATE TABLE t(a)", { kind: "rowid", alias: "rowid" }, null],
    ["none, and rowid hidden", 'CREATE TABLE t("RowId" TEXT, a)', { kind: "rowid", alias: "_rowid_" }, null],
    ["none, two hidden", "CREATE TABLE t(rowid, _rowid_)", { kind: "rowid", alias: "oid" }, null],
    [
      "a generated column hides it too",
      "CREATE TABLE t(a, rowid AS (a))",
      { kind: "rowid", alias: "_rowid_" },
      null,
    ],
  ])("%s", (_, sql, key, integerPrimaryKey) => {
    const table = tableOf(sql);
    expect(table.key).toEqual(key);
    expect(table.integerPrimaryKey).toBe(integerPrimaryKey);
  });

  test("a table whose rows cannot be named is an oddity, not a table", () => {
    const schema = schemaOf("CREATE TABLE t(rowid, oid, _rowid_); CREATE TABLE u(a)");
    expect(schema.tables.map((table) => table.name)).toEqual(["u"]);
    expect(schema.oddities).toMatchObject([{ kind: "table", table: "t" }]);
  });

  test("what SQLite itself keeps from being NULL is notNull", () => {
    const names = (sql: string): string[] =>
      tableOf(sql)
        .columns.filter((c) => c.notNull)
        .map((c) => c.name);
    expect(names("CREATE TABLE t(id INTEGER PRIMARY KEY, a NOT NULL, b)")).toEqual(["id", "a"]);
    expect(names("CREATE TABLE t(a TEXT PRIMARY KEY, b)")).toEqual([]);
    expect(names("CREATE TABLE t(a TEXT PRIMARY KEY, b) WITHOUT ROWID")).toEqual(["a"]);
    expect(names("CREATE TABLE t(a TEXT PRIMARY KEY, b INT) STRICT")).toEqual(["a"]);
  });
});

test("which tables count: SQLite's, ours, virtual ones and their shadows do not", () => {
  const schema =
    schemaOf(`CREATE TABLE b(id INTEGER PRIMARY KEY AUTOINCREMENT); CREATE TABLE a(x); CREATE TABLE _switchback_log(x);
    CREATE VIRTUAL TABLE words USING fts5(body); CREATE VIRTUAL TABLE boxes USING rtree(id, x0, x1); CREATE TABLE words_more(x);
    CREATE VIEW v AS SELECT 1; CREATE TRIGGER tr AFTER INSERT ON a BEGIN SELECT 1; END;
    CREATE TRIGGER _switchback_a_insert AFTER INSERT ON a BEGIN SELECT 1; END; INSERT INTO b DEFAULT VALUES; ANALYZE;`);
  expect(schema.tables.map((table) => table.name)).toEqual(["a", "b", "words_more"]);
  expect(schema.oddities.map((oddity) => `${oddity.kind} ${oddity.table} ${oddity.name}`)).toEqual([
    "virtual table boxes boxes",
    "view v v",
    "virtual table words words",
    "trigger a tr",
  ]);
  expect(schema.oddities.every((oddity) => oddity.why !== "" && oddity.remedy !== "")).toBe(true);
  expect([isOurs("_switchback_log"), isOurs("_SWITCHBACK_route"), isOurs("switchback")]).toEqual([
    true,
    true,
    false,
  ]);
});

test("a virtual table whose module only the application has takes its shadow tables along", () => {
  const schema = pythonFile(`
db.execute("CREATE TABLE docs(x)"); db.execute("CREATE TABLE vec_chunks(x)"); db.execute("CREATE TABLE vecother(x)")
db.execute("PRAGMA writable_schema = ON")
db.execute("INSERT INTO sqlite_master(type, name, tbl_name, rootpage, sql) VALUES ('table', 'vec', 'vec', 0, 'CREATE VIRTUAL TABLE vec USING vec0(a float[3])')")`);
  expect(schema.tables.map((table) => table.name)).toEqual(["docs", "vecother"]);
  expect(schema.oddities).toMatchObject([{ kind: "virtual table", table: "vec" }]);
});

test("columns: affinity, generated ones, defaults, collations", () => {
  const table =
    tableOf(`CREATE TABLE t(a CHARINT, b FLOATING POINT, c VARCHAR(5) COLLATE nocase DEFAULT -- why
     'x', d, e DECIMAL(10,2) DEFAULT (1 + /* two */ 2), f DATETIME DEFAULT CURRENT_TIMESTAMP, g DOUBLE,
     h AS (a * 2) VIRTUAL, i TEXT GENERATED ALWAYS AS (c || d) STORED COLLATE RTRIM, j BLOBBY, k ANY)`);
  expect(table.columns.map((c) => [c.name, c.affinity])).toEqual([
    ["a", "INTEGER"],
    ["b", "INTEGER"],
    ["c", "TEXT"],
    ["d", "BLOB"],
    ["e", "NUMERIC"],
    ["f", "NUMERIC"],
    ["g", "REAL"],
    ["h", "BLOB"],
    ["i", "TEXT"],
    ["j", "BLOB"],
    ["k", "NUMERIC"],
  ]);
  expect(table.columns.map((c) => c.default)).toEqual([
    null,
    null,
    "'x'",
    null,
    "1 + 2",
    "CURRENT_TIMESTAMP",
    null,
    null,
    null,
    null,
    null,
  ]);
  expect(columnOf(table, "h")).toMatchObject({ generated: "virtual", generatedAs: "a * 2" });
  expect(columnOf(table, "i")).toMatchObject({
    generated: "stored",
    generatedAs: "c || d",
    collation: "RTRIM",
  });
  expect(columnOf(table, "c").collation).toBe("NOCASE");
  expect(tableOf("CREATE TABLE t(a ANY, b TEXT) STRICT").columns.map((c) => c.affinity)).toEqual([
    "BLOB",
    "TEXT",
  ]);
  expect(tableOf("CREATE TABLE t(a INTEGER PRIMARY KEY AUTOINCREMENT)").autoincrement).toBe(true);
});

test("columns added and renamed later are read like the others", () => {
  const table =
    tableOf(`CREATE TABLE t(a, b CHECK (b > 0)); ALTER TABLE t ADD COLUMN c TEXT COLLATE NOCASE DEFAULT 'x' CHECK (c <> '');
    ALTER TABLE t RENAME COLUMN b TO "b b"; ALTER TABLE t DROP COLUMN a`);
  expect(table.columns.map((c) => [c.name, c.collation])).toEqual([
    ["b b", "BINARY"],
    ["c", "NOCASE"],
  ]);
  expect(table.checks.map((check) => check.expression)).toEqual(['"b b" > 0', "c <> ''"]);
});

test("strings in double quotes, which Python's SQLite allows in DDL, arrive as written", () => {
  const [table] = pythonFile(
    `db.execute('CREATE TABLE t(a TEXT DEFAULT "open" CHECK (a IN ("open", "shut")))')`,
  ).tables;
  expect(table?.columns[0]?.default).toBe('"open"');
  expect(table?.checks).toEqual([{ name: null, expression: 'a IN ("open", "shut")' }]);
});

test("functions and collations that only the application has, and broken views, do not keep a schema from being read", () => {
  const schema = pythonFile(`
db.create_function("mine", 1, lambda x: x, deterministic=True)
db.create_collation("local", lambda a, b: (a > b) - (a < b))
db.execute("CREATE TABLE t(id TEXT PRIMARY KEY COLLATE local, a TEXT CHECK (mine(a) <> ''), g AS (mine(a)))")
db.execute("CREATE INDEX i ON t(mine(a)) WHERE mine(a) > 1")
db.execute("CREATE VIEW v AS SELECT * FROM nowhere")
db.execute("INSERT INTO t(id, a) VALUES ('k', 'x')")`);
  const [table] = schema.tables;
  expect(table?.key).toEqual({ kind: "columns", columns: ["id"] });
  expect(table?.columns.map((c) => [c.name, c.collation, c.generatedAs])).toEqual([
    ["id", "local", null],
    ["a", "BINARY", null],
    ["g", "BINARY", "mine(a)"],
  ]);
  expect(table?.indexes.at(-1)).toMatchObject({ name: "i", where: "mine(a) > 1" });
  expect(schema.oddities).toMatchObject([{ kind: "view", name: "v" }]);
});

test("indexes: origin, order, collation, expressions, predicates, in the order of their making", () => {
  const table =
    tableOf(`CREATE TABLE t(id TEXT PRIMARY KEY, a COLLATE NOCASE UNIQUE, b, c, UNIQUE(b, c)) WITHOUT ROWID;
    CREATE INDEX plain ON t(b DESC, a);
    CREATE UNIQUE INDEX partial ON t(lower(a) COLLATE RTRIM DESC, c COLLATE binary) WHERE b > 'x -- y' -- odd`);
  expect(table.indexes.map((index) => `${index.origin} ${index.unique} ${index.where}`)).toEqual([
    "pk true null",
    "u true null",
    "u true null",
    "c false null",
    "c true b > 'x -- y'",
  ]);
  expect(table.indexes.at(-2)?.terms).toEqual([
    { column: "b", expression: null, collation: "BINARY", descending: true },
    { column: "a", expression: null, collation: "NOCASE", descending: false },
  ]);
  expect(table.indexes.at(-1)?.terms).toEqual([
    { column: null, expression: "lower(a)", collation: "RTRIM", descending: true },
    { column: "c", expression: null, collation: "BINARY", descending: false },
  ]);
});

test("foreign keys: implicit parents, other cases, composite, deferred, actions", () => {
  const table = tableOf(`CREATE TABLE Parent(Id INTEGER PRIMARY KEY, X, Y, UNIQUE(X, Y));
    CREATE TABLE t(a REFERENCES parent, b REFERENCES PARENT(id) ON DELETE CASCADE ON UPDATE SET NULL, c, d, e REFERENCES t(a),
      FOREIGN KEY(c, d) REFERENCES parent(x, Y) DEFERRABLE INITIALLY DEFERRED)`);
  const plain = { onUpdate: "NO ACTION", onDelete: "NO ACTION", deferred: false };
  expect(table.foreignKeys).toEqual([
    { ...plain, columns: ["a"], parent: "Parent", parentColumns: ["Id"] },
    {
      ...plain,
      columns: ["b"],
      parent: "Parent",
      parentColumns: ["Id"],
      onUpdate: "SET NULL",
      onDelete: "CASCADE",
    },
    { ...plain, columns: ["e"], parent: "t", parentColumns: ["a"] },
    { ...plain, columns: ["c", "d"], parent: "Parent", parentColumns: ["X", "Y"], deferred: true },
  ]);
});

test("a foreign key that SQLite could not enforce either is an oddity", () => {
  const schema =
    schemaOf(`CREATE TABLE p(a, b, PRIMARY KEY(a, b)); CREATE TABLE keyless(a); CREATE VIEW v AS SELECT 1 AS a;
    CREATE TABLE t(a REFERENCES nowhere(x), b REFERENCES p, c REFERENCES p(z), d REFERENCES v(a), e REFERENCES keyless)`);
  expect(schema.tables.find((table) => table.name === "t")?.foreignKeys).toEqual([]);
  expect(schema.oddities.filter((o) => o.kind === "foreign key").map((o) => o.name)).toEqual([
    "a",
    "b",
    "c",
    "d",
    "e",
  ]);
});

test("reading needs no write and works on a connection with safe integers", () => {
  const file = testFile(
    "CREATE TABLE t(id INTEGER PRIMARY KEY, a NOT NULL REFERENCES t(id)); CREATE INDEX i ON t(a DESC)",
  );
  open.push(() => file.remove());
  const db = new Database(file.path, { readonly: true });
  open.unshift(() => db.close());
  const before = readSchema(db);
  db.defaultSafeIntegers(true);
  expect(readSchema(db)).toEqual(before);
});
