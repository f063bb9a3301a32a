// The default types of the table in docs/types.md, case by case, and the configuration's overrides, against real
// files' schemas in memory. That a definite declaration reads no row is proved by a database that refuses to be read.
import Database from "better-sqlite3";
import { afterEach, describe, expect, test } from "vitest";
import { codecFor } from "#switchback/codec/registry.js";
import type { SourceConfig } from "#switchback/config/config.js";
import { SwitchbackError } from "#switchback/errors.js";
import { decideMapping, decideMappings } from "#switchback/mapping/decide.js";
import type { Evidence } from "#switchback/mapping/evidence.js";
import { mappingFromJson, mappingToJson, ROWID_COLUMN } from "#switchback/mapping/mapping.js";
import { suggestionsFor } from "#switchback/mapping/suggest.js";
import { parseType } from "#switchback/schema/pg-types.js";
import { readSchema } from "#switchback/sqlite/schema.js";

const open: Database.Database[] = [];
afterEach(() => {
  for (const db of open.splice(0)) db.close();
});

function database(sql: string): Database.Database {
  const db = new Database(":memory:").defaultSafeIntegers(true);
  open.push(db);
  db.exec(sql);
  return db;
}

const SOURCE: SourceConfig = {
  name: "app",
  sqlite: "/app.db",
  schema: "public",
  target: "create",
  lengths: "drop",
  include: ["*"],
  exclude: [],
  tables: {},
};

function decide(sql: string, source: Partial<SourceConfig> = {}) {
  const db = database(sql);
  return { db, ...decideMappings(db, readSchema(db), { ...SOURCE, ...source }) };
}

/** The type chosen for a column `v` of that declaration, holding those values. */
function typeOf(declared: string, values: string[], source: Partial<SourceConfig> = {}) {
  const rows = values.map((value, i) => `INSERT INTO t VALUES (${i + 1}, ${value});`).join("");
  const { mappings, findings } = decide(
    `CREATE TABLE t (id INTEGER PRIMARY KEY, v ${declared}); ${rows}`,
    source,
  );
  const column = mappings[0]?.columns.find((c) => c.column === "v");
  return { spec: column?.spec, findings: findings.map((f) => f.code) };
}

describe("default types", () => {
  test.each([
    ["INTEGER", [], "bigint"],
    ["INT", ["'text'"], "bigint"],
    ["UNSIGNED BIG INT", [], "bigint"],
    ["FLOATING POINT", [], "bigint"],
    ["TEXT", ["1"], "text"],
    ["VARCHAR(30)", ["'x'"], "text"],
    ["CLOB", [], "text"],
    ["BLOB SUB_TYPE TEXT", [], "text"],
    ["REAL", [], "double precision"],
    ["DOUBLE PRECISION", ["1"], "double precision"],
    ["FLOAT", [], "double precision"],
    ["NUMERIC", ["1.5"], "numeric"],
    ["DECIMAL(10,2)", ["1.505"], "numeric"],
    ["BLOB", ["'text'"], "bytea"],
    ["", ["1", "'a'"], "any"],
    ["", ["1"], "any"],
    ["", [], "any"],
    ["BOOLEAN", ["0", "1", "NULL"], "boolean"],
    ["BOOL", [], "boolean"],
    ["BOOLEAN", ["0", "2"], "bigint"],
    ["DATE", ["'2025-01-31'", "NULL"], "date"],
    ["DATETIME", ["'2025-01-31'"], "date"],
    ["DATETIME", ["'2025-01-31 10:00:00'", "'2025-01-31T10:00:00.5Z'"], "timestamptz"],
    ["TIMESTAMP", ["'2025-01-31 10:00:00'", "'2025-02-30 10:00:00'"], "text"],
    ["DATETIME", ["'2025-01-31 10:00:00'", "'2025-01-31'"], "text"],
    ["DATETIME", ["'2025-01-31 10:00:00'", "1700000000"], "text"],
    ["DATETIME", ["''"], "text"],
    ["DATETIME", ["1700000000", "0", "NULL"], "timestamptz"],
    ["DATETIME", ["1700000000123"], "timestamptz"],
    ["DATETIME", ["1700000000", "1700000000123"], "text"],
    ["DATE", ["2021"], "text"],
    ["DATETIME", ["x'00'"], "bytea"],
    ["DATETIME", ["x'00'", "'a'"], "any"],
    ["JSON", [`'{"a":1}'`, "'5'", "NULL"], "jsonb"],
    ["JSON", [`'{"a":1}'`, "'nope'"], "text"],
    ["STRING", ["'a'"], "text"],
    ["MONEY", [], "numeric"],
    ["THING", ["'a'", "1"], "any"],
    ["THING", ["1", "2.5"], "numeric"],
    ["THING", [], "text"],
  ])("%s holding %j becomes %s", (declared, values, type) => {
    expect(typeOf(declared, values).spec?.type).toBe(type);
  });

  test("a column of moments without values follows its own table, then the file, and its default before both", () => {
    const { mappings } = decide(`
      CREATE TABLE a (id INTEGER PRIMARY KEY, made DATETIME, gone DATETIME, day DATE, at DATETIME DEFAULT CURRENT_TIMESTAMP);
      INSERT INTO a(id, made) VALUES (1, 1700000000123);
      CREATE TABLE b (id INTEGER PRIMARY KEY, made TIMESTAMP, gone TIMESTAMP);
      INSERT INTO b(id, made) VALUES (1, '2025-01-31 10:00:00');
      CREATE TABLE c (id INTEGER PRIMARY KEY, gone DATETIME);
      CREATE TABLE d (id INTEGER PRIMARY KEY, made DATETIME); INSERT INTO d VALUES (1, 1700000000124);`);
    const spec = (table: string, column: string) => {
      const mapping = mappings.find((one) => one.table.name === table);
      const { type, from } = mapping?.columns.find((one) => one.column === column)?.spec ?? {};
      return [type, from ?? "text"];
    };
    expect(spec("a", "gone")).toEqual(["timestamptz", "unix_ms"]);
    expect(spec("a", "day")).toEqual(["timestamptz", "unix_ms"]);
    expect(spec("a", "at")).toEqual(["timestamptz", "text"]);
    expect(spec("b", "gone")).toEqual(["timestamptz", "text"]);
    expect(spec("c", "gone")).toEqual(["timestamptz", "unix_ms"]);
  });

  test("patterns in the configuration speak for tables and columns that are yet to come; a name goes first", () => {
    const column = (type: string) => ({ type });
    const tables = {
      "*": { columns: { "*_AT": { type: "timestamptz", from: "unix_ms" as const }, "x?": column("text") } },
      B: { columns: { made_at: column("text") } },
      "later_*": { columns: {} },
    };
    const { mappings } = decide(
      `CREATE TABLE a (id INTEGER PRIMARY KEY, made_at INTEGER, at INTEGER, x1 INTEGER, x INTEGER);
       CREATE TABLE b (id INTEGER PRIMARY KEY, made_at INTEGER, gone_at INTEGER)`,
      { tables },
    );
    const types = mappings.map(({ columns }) =>
      columns.map(({ spec }) => [spec.type, spec.from].join(" ").trim()),
    );
    expect(types).toEqual([
      ["bigint", "timestamptz unix_ms", "bigint", "text", "bigint"],
      ["bigint", "text", "timestamptz unix_ms"],
    ]);
  });

  test("a doubt is a warning, with the first value that raised it", () => {
    const { findings } = decide(
      "CREATE TABLE t (id INTEGER PRIMARY KEY, v BOOLEAN); INSERT INTO t VALUES (1, 2)",
    );
    expect(findings).toMatchObject([
      { severity: "warning", code: "declared-type-refuted", table: "t", column: "v" },
    ]);
    expect(findings[0]?.message).toContain("the integer 2");
  });

  test("epochs by their magnitude", () => {
    expect(typeOf("DATETIME", ["1700000000"]).spec?.from).toBe("unix");
    expect(typeOf("DATETIME", ["1700000000123"]).spec?.from).toBe("unix_ms");
  });

  test("one value in a million decides", () => {
    const fill = "WITH RECURSIVE s(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < 5000)";
    const { mappings } = decide(
      `CREATE TABLE t (id INTEGER PRIMARY KEY, v DATETIME); ${fill} INSERT INTO t SELECT n, '2025-01-01 00:00:00' FROM s;
       UPDATE t SET v = 'now' WHERE id = 2500`,
    );
    expect(mappings[0]?.columns[1]?.spec.type).toBe("text");
  });

  test("the prevailing spelling is kept", () => {
    const iso = ["'2025-01-31T10:00:00.123Z'", "'2025-01-31T10:00:00.456Z'", "'2025-01-31 10:00:00'"];
    expect(typeOf("DATETIME", iso).spec?.spelling).toBe("YYYY-MM-DDTHH:MM:SS.fffZ");
    const python = ["'2025-01-31 10:00:00.120000'", "'2025-01-31 10:00:00.000001'"];
    expect(typeOf("DATETIME", python).spec?.spelling).toBe("YYYY-MM-DD HH:MM:SS[.ffffff]");
    expect(typeOf("DATETIME", [...python, "'2025-01-31 10:00:00.000000'"]).spec?.spelling).toBe(
      "YYYY-MM-DD HH:MM:SS.ffffff",
    );
    const shortened = [
      "'2025-01-31T10:00:00.123Z'",
      "'2025-01-31T10:00:00.5Z'",
      "'2025-01-31T10:00:00.123Z'",
    ];
    expect(typeOf("DATETIME", [...shortened, "'2025-01-31T10:00:00Z'"]).spec?.spelling).toBe(
      "YYYY-MM-DDTHH:MM:SS[.fff]Z",
    );
    expect(typeOf("BOOLEAN", ["'true'", "'false'"]).spec).toMatchObject({
      type: "boolean",
      spelling: "false/true",
    });
    expect(typeOf("JSON", [`'{"a":1}'`]).spec?.spelling).toBe("compact");
  });

  test("lengths: keep", () => {
    expect(typeOf("VARCHAR(30)", [], { lengths: "keep" }).spec?.type).toBe("varchar(30)");
    expect(typeOf("NVARCHAR( 30 )", [], { lengths: "keep" }).spec?.type).toBe("varchar(30)");
    expect(typeOf("TEXT", [], { lengths: "keep" }).spec?.type).toBe("text");
  });

  test("a definite declaration is decided without reading a row", () => {
    const unread = new Proxy({} as Evidence, {
      get: () => {
        throw new Error("the data was read");
      },
    });
    const db = database(
      "CREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT, b REAL, c BLOB, d VARCHAR(3), e NUMERIC, f)",
    );
    const [table] = readSchema(db).tables;
    if (!table) throw new Error("no table");
    const { decision } = decideMapping(table, SOURCE, unread);
    expect(decision.columns.map((c) => c.spec.type)).toEqual([
      "bigint",
      "text",
      "double precision",
      "bytea",
      "text",
      "numeric",
      "any",
    ]);
  });
});

describe("keys", () => {
  test("a table without a usable key carries its rowid, last", () => {
    const { mappings } = decide("CREATE TABLE t (a TEXT, b TEXT)");
    expect(mappings[0]?.columns.map((c) => c.target)).toEqual(["a", "b", ROWID_COLUMN]);
    expect(mappings[0]?.key.map((c) => [c.target, c.codec.type, c.notNull])).toEqual([
      [ROWID_COLUMN, "bigint", true],
    ]);
  });

  test("the key is in the key's order and never NULL", () => {
    const { mappings } = decide("CREATE TABLE t (a TEXT, b INT, c TEXT, PRIMARY KEY (c, a))");
    expect(mappings[0]?.key.map((c) => [c.column, c.notNull])).toEqual([
      ["c", true],
      ["a", true],
    ]);
  });

  test("columns of keys and unique indexes take one spelling and what an index can hold", () => {
    const { mappings } = decide(
      "CREATE TABLE t (id TEXT PRIMARY KEY, u DATETIME UNIQUE, v DATETIME); INSERT INTO t VALUES ('a', '2025-01-31 10:00:00', '2025-01-31 10:00:00')",
    );
    const [id, u, v] = mappings[0]?.columns ?? [];
    expect(id?.spec).toMatchObject({ strict: true, bytesMax: 2600 });
    expect(u?.spec).toMatchObject({ type: "timestamptz", strict: true });
    expect(v?.spec.strict).toBeUndefined();
    expect(u?.codec.encode("2025-01-31T10:00:00Z")).toMatchObject({
      reason: expect.stringContaining("spelled unlike"),
    });
    expect(v?.codec.encode("2025-01-31T10:00:00Z")).toBe("2025-01-31 10:00:00+00");
    expect(id?.codec.encode("x".repeat(2601))).toMatchObject({
      reason: expect.stringContaining("2600 bytes"),
    });
  });

  test("texts of one index share what numbers leave of it", () => {
    const { mappings } = decide(
      "CREATE TABLE t (a INTEGER, b TEXT, c TEXT, d TEXT UNIQUE, PRIMARY KEY (a, b), UNIQUE (b, c))",
    );
    expect(mappings[0]?.columns.map((c) => c.spec.bytesMax)).toEqual([undefined, 1300, 1300, 2600]);
  });

  test("a key that PostgreSQL cannot compare blocks", () => {
    const tables = { t: { columns: { id: { type: "json" } } } };
    const { findings } = decide("CREATE TABLE t (id TEXT PRIMARY KEY)", { tables });
    expect(findings).toMatchObject([{ severity: "blocker", code: "key-type", table: "t", column: "id" }]);
  });

  test("foreign keys between unlike types are named", () => {
    const tables = { p: { columns: { id: { type: "uuid" } } } };
    const { findings } = decide(
      "CREATE TABLE p (id TEXT PRIMARY KEY); CREATE TABLE c (id INTEGER PRIMARY KEY, p TEXT REFERENCES p)",
      { tables },
    );
    expect(findings).toMatchObject([{ code: "foreign-key-types", table: "c", column: "p" }]);
    expect(findings[0]?.remedy).toContain("uuid");
  });
});

describe("configuration", () => {
  test("type, from and name override, in any case of the names", () => {
    const tables = {
      ORDERS: {
        name: "purchases",
        columns: { AT: { type: "TIMESTAMP WITH TIME ZONE", name: "placed_at" }, n: { type: "int" } },
      },
    };
    const { mappings } = decide(
      "CREATE TABLE orders (id INTEGER PRIMARY KEY, at INTEGER, n INTEGER); INSERT INTO orders VALUES (1, 1700000000, 5)",
      { tables },
    );
    expect(mappings[0]?.target).toBe("purchases");
    expect(mappings[0]?.columns.map((c) => [c.target, c.spec.type, c.spec.from])).toEqual([
      ["id", "bigint", undefined],
      ["placed_at", "timestamptz", "unix"],
      ["n", "integer", undefined],
    ]);
  });

  test("everything unknown is reported together, with what there is", () => {
    const tables = { order: { columns: {} }, t: { columns: { nope: { type: "text" } } } };
    expect(() => decide("CREATE TABLE t (id INTEGER PRIMARY KEY)", { tables })).toThrowError(
      expect.objectContaining({
        code: "TABLE_UNKNOWN",
        message: expect.stringMatching(/order.*\bt\b[\s\S]*nope.*id/),
      }),
    );
  });

  test("types that no codec knows, and two things with one name", () => {
    const columns = (settings: object) => ({ tables: { t: { columns: { a: settings } } } });
    const sql = "CREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT)";
    for (const settings of [{ type: "money" }, { type: "text", from: "unix" as const }, { name: "id" }]) {
      expect(() => decide(sql, columns(settings))).toThrowError(SwitchbackError);
    }
  });

  test("include and exclude are globs without regard to case", () => {
    const sql =
      "CREATE TABLE Users (id INTEGER PRIMARY KEY); CREATE TABLE tmp_a (id INTEGER PRIMARY KEY); CREATE TABLE logs (id INTEGER PRIMARY KEY)";
    const names = (source: Partial<SourceConfig>) =>
      decide(sql, source)
        .mappings.map((m) => m.table.name)
        .sort();
    expect(names({ exclude: ["TMP_*"] })).toEqual(["Users", "logs"]);
    expect(names({ include: ["u*", "l?gs"] })).toEqual(["Users", "logs"]);
  });

  test("settled mappings stay as they were, and their data is not looked at", () => {
    const { db, mappings } = decide(
      "CREATE TABLE t (id INTEGER PRIMARY KEY, v DATETIME); INSERT INTO t VALUES (1, '2025-01-31 10:00:00')",
    );
    db.exec("INSERT INTO t VALUES (2, 'soon')");
    const again = decideMappings(db, readSchema(db), SOURCE, new Map([["t", mappings[0] as never]]));
    expect(again.mappings[0]).toBe(mappings[0]);
  });
});

test("a generated column is computed by PostgreSQL where it can, and copied with a warning where not", () => {
  const { mappings, findings, decisions } = decide(
    "CREATE TABLE t (id INTEGER PRIMARY KEY, a INTEGER, b INTEGER AS (a + 1), c TEXT AS (printf('%d', a)))",
  );
  const computed = decisions[0]?.columns.filter((c) => c.generatedAs !== null).map((c) => c.column) ?? [];
  const copied = mappings[0]?.columns.map((c) => c.column) ?? [];
  for (const name of ["b", "c"]) expect(computed.includes(name)).not.toBe(copied.includes(name));
  expect(copied).toContain("c");
  expect(findings.filter((f) => f.code === "generated-column-copied").map((f) => f.column)).toContain("c");
});

test("a mapping survives JSON, its keys in any order", () => {
  const { mappings } = decide(
    "CREATE TABLE t (a TEXT, b DATETIME, c, PRIMARY KEY (b, a)); INSERT INTO t VALUES ('x', '2025-01-31 10:00:00', 1)",
  );
  const [mapping] = mappings;
  if (!mapping) throw new Error("no mapping");
  const back = mappingFromJson(JSON.parse(JSON.stringify(mappingToJson(mapping))));
  expect(mappingToJson(back)).toEqual(mappingToJson(mapping));
  expect(back.key.map((c) => c.column)).toEqual(["b", "a"]);
  expect(back.columns.every((c, i) => c.codec.clean("x") === mapping.columns[i]?.codec.clean("x"))).toBe(
    true,
  );
});

describe("suggestions", () => {
  test("stronger types that every value bears out, with counts", () => {
    const { db, decisions } = decide(`
      CREATE TABLE t (id INTEGER PRIMARY KEY, u TEXT, at TEXT, day TEXT, doc TEXT, flag TEXT, done INTEGER, made_at INTEGER, qty INTEGER, price DECIMAL(10,2), x, name TEXT);
      INSERT INTO t VALUES (1, '123e4567-e89b-12d3-a456-426614174000', '2025-01-31 10:00:00', '2025-01-31', '{"a":1}', '0', 0, 1700000000, 7, 9.99, 'a', 'b'),
        (2, NULL, '2025-02-01 10:00:00', '2025-02-01', '[]', '1', 1, 1700000001, 8, 5, 'b', 'c')`);
    const found = suggestionsFor(db, decisions).get("t");
    expect(found?.map((s) => [s.column, s.type, s.from])).toEqual([
      ["u", "uuid", undefined],
      ["at", "timestamptz", undefined],
      ["day", "date", undefined],
      ["doc", "jsonb", undefined],
      ["flag", "boolean", undefined],
      ["done", "boolean", undefined],
      ["made_at", "timestamptz", "unix"],
      ["price", "numeric(10,2)", undefined],
      ["x", "text", undefined],
    ]);
    expect(found?.[1]?.why).toBe("all 2 values are moments like YYYY-MM-DD HH:MM:SS");
  });

  test("both sides of a foreign key, or neither", () => {
    const id = "123e4567-e89b-12d3-a456-426614174000";
    const sql = (child: string) =>
      `PRAGMA foreign_keys = OFF; CREATE TABLE p (id TEXT PRIMARY KEY); INSERT INTO p VALUES ('${id}');
       CREATE TABLE c (id INTEGER PRIMARY KEY, p TEXT REFERENCES p); INSERT INTO c VALUES (1, '${child}')`;
    const both = decide(sql(id));
    expect([...suggestionsFor(both.db, both.decisions).values()].flat().map((s) => s.type)).toEqual([
      "uuid",
      "uuid",
    ]);
    const one = decide(sql("orphan"));
    expect([...suggestionsFor(one.db, one.decisions).values()].flat()).toEqual([]);
  });
});

test.each([
  ["VARCHAR( 50 )", "varchar(50)"],
  ["character varying(5)", "varchar(5)"],
  ["decimal(10)", "numeric(10,0)"],
  ["Numeric(10, 2)", "numeric(10,2)"],
  ["int8", "bigint"],
  ["timestamp with time zone", "timestamptz"],
  ["timestamp(3) without time zone", "timestamp(3)"],
  ["timestamp (0) with time zone", "timestamptz(0)"],
  ["TIMESTAMPTZ(6)", "timestamptz"],
  ["time(2) without time zone", "time(2)"],
  ["varchar", "text"],
  ["double", "double precision"],
  ["money", undefined],
  ["numeric(2,3)", undefined],
  ["text; DROP TABLE x", undefined],
  ["uuid(3)", undefined],
])("the type %s is read as %s", (text, type) => {
  const parsed = parseType(text);
  expect(parsed?.type).toBe(type);
  if (parsed)
    expect(codecFor({ type: parsed.type, affinity: "TEXT" }).type).toBe(
      parsed.name === "any" ? "jsonb" : type,
    );
});
