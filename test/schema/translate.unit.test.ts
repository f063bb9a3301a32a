// The text that defaults, conditions and generated columns become, and the reasons why some become nothing. That
// the translations mean the same is proved against both engines in test/schema/translate-both-engines.test.ts and
// test/schema/postgres-ddl.test.ts; here stands what an operator reads.
import { describe, expect, test } from "vitest";
import { codecFor } from "#switchback/codec/registry.js";
import { translateDefault } from "#switchback/postgres/ddl/defaults.js";
import type { Affinity, Column, Table } from "#switchback/schema/model.js";
import { defaultTargetName } from "#switchback/schema/pg-names.js";
import {
  type ColumnTargets,
  generatedColumn,
  translateCondition,
  translateGenerated,
} from "#switchback/translate/translate.js";

const NOW = "now() AT TIME ZONE 'UTC'";
const SECONDS = `to_char(${NOW}, 'YYYY-MM-DD HH24:MI:SS')`;

describe("defaults", () => {
  test.each<[string, Affinity, string, string]>([
    ["false", "NUMERIC", "numeric", "0"],
    ["TRUE", "INTEGER", "bigint", "1"],
    ["0", "NUMERIC", "boolean", "false"],
    ["1", "NUMERIC", "boolean", "true"],
    ["true", "NUMERIC", "boolean", "true"],
    ["'null'", "TEXT", "text", "'null'"],
    ["NULL", "TEXT", "text", "NULL"],
    ['"open"', "TEXT", "text", "'open'"],
    ["open", "TEXT", "text", "'open'"],
    ["[a b]", "TEXT", "text", "'a b'"],
    ["'it''s \\ here'", "TEXT", "text", "E'it''s \\\\ here'"],
    ["5", "TEXT", "text", "'5'"],
    ["1.5", "TEXT", "text", "'1.5'"],
    ["'5'", "INTEGER", "bigint", "5"],
    ["-5", "INTEGER", "bigint", "-5"],
    ["+5", "INTEGER", "bigint", "5"],
    ["- 5", "INTEGER", "bigint", "-5"],
    ["-9223372036854775808", "INTEGER", "bigint", "-9223372036854775808"],
    ["0x10", "INTEGER", "bigint", "16"],
    ["1.0", "INTEGER", "bigint", "1"],
    ["1", "REAL", "double precision", "1"],
    ["1e999", "REAL", "double precision", "'Infinity'::double precision"],
    ["1.50", "NUMERIC", "numeric(10,2)", "1.5"],
    ["x'00ff'", "BLOB", "bytea", "E'\\\\x00ff'::bytea"],
    ["'{}'", "TEXT", "jsonb", "'{}'::jsonb"],
    ["json_array()", "TEXT", "jsonb", "'[]'::jsonb"],
    ["1.0", "BLOB", "any", "'1.0'::jsonb"],
    ["'a'", "BLOB", "any", "'\"a\"'::jsonb"],
    ["60 * 60", "INTEGER", "bigint", "60::bigint * 60"],
    ["CURRENT_TIMESTAMP", "NUMERIC", "text", SECONDS],
    ["datetime('now')", "TEXT", "text", SECONDS],
    ["DATETIME()", "TEXT", "text", SECONDS],
    ["current_date", "TEXT", "text", `to_char(${NOW}, 'YYYY-MM-DD')`],
    ["time('NOW')", "TEXT", "text", `to_char(${NOW}, 'HH24:MI:SS')`],
    [
      "strftime('%Y-%m-%dT%H:%M:%fZ', 'now')",
      "TEXT",
      "text",
      `to_char(${NOW}, 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')`,
    ],
    [
      "datetime('now', '+7 days')",
      "TEXT",
      "text",
      "to_char((now() + interval '604800 seconds') AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS')",
    ],
    ["CURRENT_TIMESTAMP", "NUMERIC", "timestamptz", "date_trunc('second', now())"],
    ["strftime('%Y-%m-%d %H:%M:%f', 'now')", "NUMERIC", "timestamptz", "date_trunc('millisecond', now())"],
    ["unixepoch()", "INTEGER", "timestamptz", "date_trunc('second', now())"],
    ["unixepoch() * 1000", "INTEGER", "timestamptz", "date_trunc('millisecond', now())"],
    ["date('now')", "NUMERIC", "date", "((now()) AT TIME ZONE 'UTC')::date"],
    ["CURRENT_TIMESTAMP", "NUMERIC", "timestamp", "date_trunc('second', (now()) AT TIME ZONE 'UTC')"],
    ["CURRENT_TIME", "NUMERIC", "time", "date_trunc('second', (now()) AT TIME ZONE 'UTC')::time"],
    ["strftime('%s','now')", "INTEGER", "bigint", "floor(extract(epoch FROM now()))::bigint"],
    ["CAST(strftime('%s','now') AS INT)", "INTEGER", "bigint", "floor(extract(epoch FROM now()))::bigint"],
    ["unixepoch('now')", "INTEGER", "bigint", "floor(extract(epoch FROM now()))::bigint"],
  ])("DEFAULT %s, affinity %s, as %s", (text, affinity, type, sql) => {
    expect(translateDefault({ default: text, affinity }, codecFor({ type, affinity }))).toEqual({ sql });
  });

  test.each<[string, Affinity, string, RegExp]>([
    ["'yes'", "NUMERIC", "boolean", /yes/],
    ["datetime('now', 'localtime')", "TEXT", "text", /time zone/],
    ["datetime('now', 'start of month')", "TEXT", "text", /start of month/],
    ["datetime('2020-01-01')", "TEXT", "text", /fixed date/],
    ["strftime('%W', 'now')", "TEXT", "text", /no exact counterpart/],
    ["CURRENT_TIME", "NUMERIC", "timestamptz", /part of a moment/],
    ["printf('%d', 1)", "TEXT", "text", /printf\(\)/],
    ["'abc'", "INTEGER", "bigint", /abc/],
    ["my_function()", "TEXT", "text", /my_function\(\)/],
  ])("DEFAULT %s as %s %s is refused", (text, affinity, type, why) => {
    const translation = translateDefault({ default: text, affinity }, codecFor({ type, affinity }));
    expect("why" in translation ? translation.why : translation.sql).toMatch(why);
  });
});

const column = (
  name: string,
  declaredType: string,
  affinity: Affinity,
  extra: Partial<Column> = {},
): Column => ({
  name,
  declaredType,
  affinity,
  notNull: false,
  default: null,
  generated: "no",
  generatedAs: null,
  collation: "BINARY",
  ...extra,
});
const COLUMNS = [
  column("id", "INTEGER", "INTEGER"),
  column("first name", "TEXT", "TEXT"),
  column("done", "BOOLEAN", "NUMERIC"),
  column("price", "REAL", "REAL"),
  column("cost", "DECIMAL", "NUMERIC"),
  column("at", "DATETIME", "NUMERIC"),
  column("meta", "JSON", "NUMERIC"),
];
const TABLE: Table = {
  name: "t",
  columns: COLUMNS,
  key: { kind: "columns", columns: ["id"] },
  primaryKey: ["id"],
  integerPrimaryKey: "id",
  autoincrement: false,
  withoutRowid: false,
  rowidAlias: "rowid",
  indexes: [],
  foreignKeys: [],
  checks: [],
  sql: "",
};
const TYPES = ["bigint", "text", "boolean", "double precision", "numeric", "timestamptz", "jsonb"];
const TARGETS: ColumnTargets = new Map(
  COLUMNS.map((c, k) => [c.name, { target: c.name.toUpperCase(), type: TYPES[k] ?? "" }]),
);

describe("conditions", () => {
  test.each([
    ["[done] IN (0, 1)", '"DONE" IN (false, true)'],
    ["`done` = 0 OR t.done = 1", '("DONE" = false) OR ("DONE" = true)'],
    ['"first name" = "ready"', "\"FIRST NAME\" = 'ready'"],
    ["id > 0 AND price >= 0.5 AND done", '("ID" > 0) AND ("PRICE" >= 0.5) AND "DONE"'],
    ["\"first name\" < 'b'", '"FIRST NAME" COLLATE "C" < \'b\''],
    ["at IS NOT NULL", '"AT" IS NOT NULL'],
    ["json_valid(meta) OR meta IS NULL", '("META" IS NOT NULL OR NULL::boolean) OR ("META" IS NULL)'],
    ["price / id > 1", '("PRICE" / NULLIF("ID", 0)) > 1'],
    ["\"first name\" LIKE 'A_%'", "lower(\"FIRST NAME\" COLLATE \"C\") LIKE 'a_%' ESCAPE ''"],
  ])("%s", (expression, sql) => {
    expect(translateCondition(TABLE, expression, TARGETS)).toEqual({ sql });
  });

  test.each([
    ["at > '2020-01-01'", /another one/],
    ["cost * 2 > 3", /decimal/],
    ["json_extract(meta, '$.a') = 1", /json_extract\(\)/],
    ["meta ->> 'a' = 1", /->>/],
    ["strftime('%Y', at) = '2020'", /strftime\(\)/],
    ['"first name" = 5', /text with an integer/],
    ["\"first name\" REGEXP 'a'", /application's own/],
    ["\"first name\" = 'a' COLLATE mine", /MINE/],
    ["id IN (SELECT 1)", /query/],
    ["missing = 1", /missing/],
    ["rowid > 1", /rowid/],
    ['CAST("first name" AS INTEGER) > 0', /CAST/],
    ["round(price, 2) = price", /round\(\)/],
    ["count(*) > 1", /aggregate/],
    ["id = ", /ends too early/],
    [`${"(".repeat(500)}id${")".repeat(500)}`, /deeply/],
  ])("%s is refused", (expression, why) => {
    const translation = translateCondition(TABLE, expression, TARGETS);
    expect("why" in translation ? translation.why : translation.sql).toMatch(why);
  });
});

describe("generated columns", () => {
  const generated = (declaredType: string, affinity: Affinity, generatedAs: string): Column =>
    column("g", declaredType, affinity, { generated: "virtual", generatedAs });

  test.each<[string, Affinity, string, string, string]>([
    ["TEXT", "TEXT", "lower([first name])", "text", 'lower("FIRST NAME" COLLATE "C")'],
    ["INTEGER", "INTEGER", "id * 2", "bigint", '"ID" * 2'],
    ["REAL", "REAL", "price * id", "double precision", '"PRICE" * "ID"'],
    ["REAL", "REAL", "id", "double precision", '"ID"::double precision'],
    ["BOOLEAN", "NUMERIC", "id > 1", "boolean", '"ID" > 1'],
    ["INTEGER", "INTEGER", "id > 1", "bigint", '("ID" > 1)::integer::bigint'],
    ["", "BLOB", "[first name] || '!'", "text", "\"FIRST NAME\" || '!'"],
  ])("%s AS (%s %s)", (declared, affinity, expression, type, sql) => {
    expect(generatedColumn(TABLE, generated(declared, affinity, expression), TARGETS)).toEqual({ type, sql });
  });

  test.each<[string, Affinity, string]>([
    ["INTEGER", "INTEGER", "price * 2"],
    ["DECIMAL(10,2)", "NUMERIC", "cost * 2"],
    ["TEXT", "TEXT", "price"],
    ["TEXT", "TEXT", "json_extract(meta, '$.a')"],
  ])("%s %s AS (%s) must carry SQLite's value", (declared, affinity, expression) => {
    expect(translateGenerated(TABLE, generated(declared, affinity, expression), TARGETS)).toBeNull();
  });

  test("one that looks at another, or whose type the configuration fixes otherwise, is carried", () => {
    const other = generated("INTEGER", "INTEGER", "id + 1");
    const table = { ...TABLE, columns: [...COLUMNS, other] };
    const second = { ...other, name: "h", generatedAs: "g + 1" };
    expect(
      translateGenerated(table, second, new Map([...TARGETS, ["g", { target: "g", type: "bigint" }]])),
    ).toBeNull();
    expect(
      translateGenerated(table, other, new Map([...TARGETS, ["g", { target: "g", type: "text" }]])),
    ).toBeNull();
    expect(translateGenerated(table, other, TARGETS)).toBe('"ID" + 1');
  });
});

describe("names", () => {
  test("stay as they are up to 63 bytes, quotes and all", () => {
    for (const name of ["a", 'say "hi"', "select", "Ünï", "x".repeat(63)])
      expect(defaultTargetName(name)).toBe(name);
  });

  test("longer ones end in a hash, never in half a character, and stay apart", () => {
    const [a, b] = [defaultTargetName(`${"ü".repeat(60)}a`), defaultTargetName(`${"ü".repeat(60)}b`)];
    expect(Buffer.byteLength(a)).toBeLessThanOrEqual(63);
    expect(a).toMatch(/^ü{27}_[0-9a-f]{8}$/);
    expect(a).not.toBe(b);
    expect(defaultTargetName(`${"ü".repeat(60)}a`)).toBe(a);
  });

  test("what PostgreSQL cannot name is named otherwise", () => {
    expect(defaultTargetName("")).toBe("_");
    expect(defaultTargetName("ctid")).toBe("ctid_");
  });
});
