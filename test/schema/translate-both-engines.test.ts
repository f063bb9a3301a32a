// Translated expressions against both engines: the same rows in a SQLite table and a PostgreSQL table, the same
// expression over them, row by row the same value. Besides a list of what applications write there are random
// expressions; what the translator refuses is skipped, what it accepts must be exact.
import Database from "better-sqlite3";
import type pg from "pg";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { columnOf, type Table } from "#switchback/schema/model.js";
import { readSchema } from "#switchback/sqlite/schema.js";
import {
  type ColumnTargets,
  generatedColumn,
  translateCondition,
  translateTerm,
} from "#switchback/translate/translate.js";
import { effort } from "../support/effort.js";
import { type TestDatabase, testDatabase } from "../support/servers.js";
import { generator } from "../support/values.js";

const SEED = Number(process.env.SWITCHBACK_SEED ?? Math.floor(Math.random() * 2 ** 31));
const RANDOM_EXPRESSIONS = effort(400, 1_500);
const ROWS = 120;

const TYPES = {
  id: ["INTEGER PRIMARY KEY", "bigint"],
  i: ["INTEGER", "bigint"],
  j: ["INT", "bigint"],
  r: ["REAL", "double precision"],
  q: ["DOUBLE", "double precision"],
  s: ["TEXT", "text"],
  "odd [name]": ["VARCHAR(20)", "text"],
  n: ["TEXT COLLATE NOCASE", "text"],
  w: ["TEXT COLLATE RTRIM", "text"],
  b: ["BOOLEAN", "boolean"],
  c: ["BOOLEAN", "boolean"],
  x: ["BLOB", "bytea"],
  m: ["NUMERIC", "numeric"],
} as const;
const NAMES = Object.keys(TYPES) as (keyof typeof TYPES)[];
const IN_POSTGRES = (name: string): string => `p_${name}`;

type Cell = bigint | number | string | Buffer | null;

const VALUES: Readonly<Record<string, readonly Cell[]>> = {
  i: [0n, 1n, -1n, 2n, 7n, -7n, 100n, 4_000_000_000n, null],
  r: [0, 0.5, -0.5, 1, 1.1, -3.75, 100.25, 1e10, 0.1, null],
  s: [
    "",
    "a",
    "A",
    "abc",
    "ABC",
    "a b",
    " pad ",
    "x%y",
    "é",
    "É",
    "ß",
    "İ",
    "a_c",
    "\\",
    "12",
    "A-1",
    "[z]",
    "ab ",
    "日本",
    "abc\nd",
    null,
  ],
  b: [0n, 1n, null],
  x: [Buffer.from(""), Buffer.from("00ff", "hex"), Buffer.from("61", "hex"), null],
  m: [0n, 1n, -2n, 1.5, 19.99, null],
};
const SORT: Readonly<Record<string, string>> = { j: "i", q: "r", "odd [name]": "s", n: "s", w: "s", c: "b" };

let sqlite: Database.Database;
let postgres: TestDatabase;
let client: pg.Client;
let table: Table;
const random = generator(SEED);
const pick = <T>(list: readonly T[]): T => list[Math.floor(random() * list.length)] as T;
const targets: ColumnTargets = new Map(
  NAMES.map((name) => [name, { target: IN_POSTGRES(name), type: TYPES[name][1] }]),
);

afterEach(async () => {
  await client.query("ROLLBACK");
});

beforeAll(async () => {
  sqlite = new Database(":memory:");
  sqlite.exec(`CREATE TABLE t(${NAMES.map((name) => `"${name}" ${TYPES[name][0]}`).join(", ")})`);
  table = readSchema(sqlite).tables[0] as Table;
  sqlite.defaultSafeIntegers(true);
  postgres = await testDatabase();
  client = await postgres.client();
  await client.query(
    `CREATE TABLE t(${NAMES.map((name) => `"${IN_POSTGRES(name)}" ${TYPES[name][1]}`).join(", ")})`,
  );
  const insert = sqlite.prepare(`INSERT INTO t VALUES (${NAMES.map(() => "?").join(", ")})`);
  for (let id = 1; id <= ROWS; id++) {
    const row = NAMES.map(
      (name): Cell => (name === "id" ? BigInt(id) : pick(VALUES[SORT[name] ?? name] ?? [null])),
    );
    insert.run(...row);
    const marks = NAMES.map((name, k) =>
      TYPES[name][1] === "boolean" ? `$${k + 1}::text::boolean` : `$${k + 1}`,
    );
    await client.query(`INSERT INTO t VALUES (${marks.join(", ")})`, row.map(toPostgres));
  }
});
afterAll(async () => {
  await postgres.drop();
  sqlite.close();
});

function toPostgres(value: Cell, k: number): string | Buffer | null {
  if (value === null || Buffer.isBuffer(value)) return value;
  return TYPES[NAMES[k] as keyof typeof TYPES][1] === "boolean" ? String(value === 1n) : String(value);
}

/** The expression's value in every row of both stores as comparable text; null when the translator refuses. */
async function both(
  expression: string,
): Promise<{ sql: string; sqlite: string[]; postgres: string[] } | null> {
  const here = sqlite.prepare(`SELECT ${expression} FROM t ORDER BY id`).pluck().all() as Cell[];
  const translation = translateTerm(table, expression, "BINARY", targets);
  if ("why" in translation) return null;
  const query = `SELECT ${translation.sql} AS v, pg_typeof(${translation.sql})::text AS t FROM t ORDER BY p_id`;
  const { rows } = await client
    .query<{ v: unknown; t: string }>(query)
    .catch((error: { code?: string; message: string }) => {
      // The one accepted difference: an integer beyond 64 bits is an error where SQLite continues with a REAL.
      if (error.code === "22003") return { rows: null };
      throw new Error(`${error.message}\n${expression}\n${query}`);
    });
  if (!rows) return null;
  return {
    sql: translation.sql,
    sqlite: here.map(inWords),
    postgres: rows.map((row) => postgresInWords(row.v, row.t)),
  };
}

/** The rows in which the stores disagree. */
function differing(answer: { sqlite: string[]; postgres: string[] }): string[] {
  return answer.sqlite.flatMap((value, k) =>
    value === answer.postgres[k]
      ? []
      : `row ${k + 1}: ${value} in SQLite, ${answer.postgres[k]} in PostgreSQL`,
  );
}

function inWords(value: Cell): string {
  if (value === null) return "null";
  if (Buffer.isBuffer(value)) return `blob ${value.toString("hex")}`;
  return typeof value === "string" ? `text ${value}` : `number ${Number(value) + 0}`;
}

function postgresInWords(value: unknown, type: string): string {
  if (value === null) return "null";
  if (typeof value === "boolean") return `number ${value ? 1 : 0}`;
  if (Buffer.isBuffer(value)) return `blob ${value.toString("hex")}`;
  return type === "text" || type === "unknown" ? `text ${value}` : `number ${Number(value) + 0}`;
}

const WRITTEN = [
  "i >= 0",
  "r BETWEEN 0 AND 100",
  "s IN ('a', 'abc')",
  "s NOT IN ('a', 'abc')",
  "b = 1",
  "b = 0",
  "b IN (0, 1)",
  "b <> 1",
  "1 = b",
  "b IS 1",
  "b IS NOT TRUE",
  "b",
  "NOT b",
  "b + c = 1",
  "(i IS NOT NULL) + (r IS NOT NULL) = 1",
  "b = c",
  "b > 0",
  "b BETWEEN 0 AND 1",
  "length(s) > 2 AND length(s) < 5",
  "lower(s) = 'abc'",
  "upper(s)",
  "n = 'ABC'",
  "n < 'B'",
  "n IN ('ABC', 'x')",
  "n = s",
  "s = n",
  "s = 'ABC' COLLATE NOCASE",
  "w = 'ab'",
  "w = ' pad'",
  "s < 'B'",
  "'B' > s",
  "'B' BETWEEN s AND s",
  "lower('ABC') = n",
  "s > 'a' AND s <= 'x'",
  "s BETWEEN 'A' AND 'a'",
  "s || '/' || n",
  "i || ':' || s",
  "s || b",
  '"odd [name]" IS NOT NULL',
  "`s` = 'a'",
  "s LIKE 'A%'",
  "s LIKE '%B%'",
  "s NOT LIKE '_'",
  "s LIKE 'a\\_c'",
  "s LIKE 'a$_c' ESCAPE '$'",
  "s LIKE 'É'",
  "s GLOB 'a*'",
  "s GLOB '[A-Z]*'",
  "s NOT GLOB '*[^a-z]*'",
  "s GLOB '?'",
  "s GLOB '*[0-9]'",
  "i / 2",
  "i % 3",
  "i / j",
  "i % j",
  "r / q",
  "r * i",
  "i * 0.1",
  "i + j * 2 - 1",
  "-i",
  "- -i",
  "i - -1",
  "~i & 7",
  "i | 1",
  "(i & 1) = 1",
  "abs(i)",
  "abs(r)",
  "coalesce(i, j, 0)",
  "ifnull(s, n)",
  "nullif(s, 'a')",
  "coalesce(b, 0)",
  "CASE WHEN i > 0 THEN 'plus' WHEN i < 0 THEN 'minus' ELSE 'zero' END",
  "CASE i WHEN 1 THEN 'one' WHEN 2 THEN 'two' END",
  "CASE WHEN b THEN 1 ELSE 0 END = 1",
  "iif(b, i, j)",
  "trim(s)",
  "ltrim(s)",
  "rtrim(s)",
  "trim(s, 'a ')",
  "substr(s, 2)",
  "substr(s, 1, 2)",
  "replace(s, 'a', 'z')",
  "replace(s, '', 'z')",
  "instr(s, 'b')",
  "instr(s, '')",
  "typeof(i) = 'integer'",
  "typeof(s)",
  "typeof(b)",
  "typeof(x)",
  "length(x)",
  "x = x'00ff'",
  "x < x'61'",
  "i IS j",
  "i IS NOT j",
  "s IS n",
  "i ISNULL",
  "i NOTNULL",
  "i IS NULL OR i > 0",
  "m >= 0",
  "m > 1.25",
  "m IN (0, 1)",
  "m = 19.99",
  "m = i",
  "r > i",
  "r > 1",
  "i > 0.5",
  "i = 1.0",
  "0.1 + 0.2",
  "r + 0.2",
  "1 / 2",
  "7 % 4",
  "1.0 / 3",
  "r = 0.1",
  "TRUE",
  "i = TRUE",
  "i IS TRUE",
  "r IS NOT FALSE",
  "CAST(i AS TEXT)",
  "CAST(i AS REAL)",
  "CAST(b AS INTEGER)",
  "i AND s IS NULL",
  "NOT i",
  "NOT i = j",
  "i = j = 1",
  "t.i = 1",
  "t.s || t.n",
  "s COLLATE NOCASE = 'abc'",
  "s COLLATE NOCASE IN ('ABC')",
  "n COLLATE BINARY = 'abc'",
  "concat(s, n)",
  "octet_length(s)",
  "i << 1",
  "'it''s' = s",
  "'a\\b' = s",
  "s = '\\'",
  "x'61' = x",
  "0x10 + i",
  "1_000 + i",
  "i -- a comment\n + 1",
  "i /* another */ + 1",
  "not (i between 1 and 5) and s is not null",
  "i > 0 AND r > 0 OR s = 'a' AND NOT b",
];

test.each(WRITTEN)("%s", async (expression) => {
  const answer = await both(expression);
  if (answer) expect(differing(answer), answer.sql).toEqual([]);
});

test("most of what applications write is translated", async () => {
  const refused = WRITTEN.filter(
    (expression) => "why" in translateTerm(table, expression, "BINARY", targets),
  );
  // Shifts, and a bigint beside a double.
  expect(refused).toEqual(["r > i", "i << 1"]);
});

test("what is translated may stand in an index, a CHECK and a partial index", async () => {
  for (const expression of WRITTEN) {
    const translation = translateTerm(table, expression, "BINARY", targets);
    if ("why" in translation) continue;
    await client.query("BEGIN");
    const { sql } = translation;
    await client
      .query(`CREATE INDEX ON t (${sql})`)
      .catch((error: Error) => expect.fail(`${error.message}: ${sql}`));
    const condition = translateCondition(table, expression, targets);
    if ("sql" in condition) {
      await client.query(`CREATE INDEX ON t (p_id) WHERE ${condition.sql}`);
      await client.query(`ALTER TABLE t ADD CONSTRAINT c CHECK (${condition.sql}) NOT VALID`);
    }
    await client.query("ROLLBACK");
  }
});

/** The storage class that a column of the type stands for, as JavaScript's. */
const CLASSES: Readonly<Record<string, string>> = {
  bigint: "bigint",
  boolean: "bigint",
  numeric: "bigint",
  "double precision": "number",
  text: "string",
};

test.each(["TEXT", "INTEGER", "REAL", "BOOLEAN", "DECIMAL", ""])(
  "generated columns declared as '%s' hold the same",
  async (declared) => {
    let computed = 0;
    for (const expression of WRITTEN) {
      // SQLite itself refuses the table's name in a generated column.
      if (expression.includes("t.")) continue;
      sqlite.exec(`ALTER TABLE t ADD COLUMN g ${declared} AS (${expression})`);
      const altered = readSchema(sqlite).tables[0] as Table;
      const here = sqlite.prepare("SELECT g FROM t ORDER BY id").pluck().all() as Cell[];
      sqlite.exec("ALTER TABLE t DROP COLUMN g");
      const generated = generatedColumn(altered, columnOf(altered, "g"), targets);
      if ("why" in generated) continue;
      computed++;
      await client.query("BEGIN");
      await client.query(
        `ALTER TABLE t ADD COLUMN g ${generated.type} GENERATED ALWAYS AS (${generated.sql}) STORED`,
      );
      const { rows } = await client.query<{ v: unknown }>("SELECT g AS v FROM t ORDER BY p_id");
      await client.query("ROLLBACK");
      const there = rows.map((row) => postgresInWords(row.v, generated.type));
      expect(
        differing({ sqlite: here.map(inWords), postgres: there }),
        `${expression}: ${generated.sql}`,
      ).toEqual([]);
      const classes = new Set(here.filter((value) => value !== null).map((value) => typeof value));
      const expected = CLASSES[generated.type] ?? "object";
      expect(
        [...classes].every((found) => found === expected),
        `${expression}: ${[...classes]} in ${generated.type}`,
      ).toBe(true);
    }
    expect(computed).toBeGreaterThan(20);
  },
);

// ---- random expressions

const LEAVES = {
  number: () => pick(["i", "j", "r", "q", "m", "b", "0", "1", "-3", "2", "0.5", "id"]),
  text: () => pick(["s", "n", "w", '"odd [name]"', "'a'", "'ABC'", "''", "'a%'", "'é'"]),
  condition: () => pick(["b", "c", "i > 0", "s = 'a'", "TRUE", "0"]),
};

function numeric(depth: number): string {
  if (depth === 0 || random() < 0.2) return LEAVES.number();
  const [a, b] = [any(depth - 1, "number"), any(depth - 1, "number")];
  return pick([
    `(${a} ${pick(["+", "-", "*", "/", "%", "&", "|"])} ${b})`,
    `length(${any(depth - 1, "text")})`,
    `abs(${a})`,
    `coalesce(${a}, ${b})`,
    `nullif(${a}, ${b})`,
    `instr(${any(depth - 1, "text")}, ${any(depth - 1, "text")})`,
    `CASE WHEN ${condition(depth - 1)} THEN ${a} ELSE ${b} END`,
    `(- ${a})`,
    `CAST(${a} AS ${pick(["INTEGER", "REAL"])})`,
  ]);
}

function textual(depth: number): string {
  if (depth === 0 || random() < 0.2) return LEAVES.text();
  const [a, b] = [any(depth - 1, "text"), any(depth - 1, "text")];
  return pick([
    `(${a} || ${b})`,
    `${pick(["lower", "upper", "trim", "ltrim", "rtrim"])}(${a})`,
    `substr(${a}, ${pick(["1", "2", "3, 2", "-1"])})`,
    `replace(${a}, ${b}, 'q')`,
    `coalesce(${a}, ${b})`,
    `typeof(${any(depth - 1, "number")})`,
    `CASE WHEN ${condition(depth - 1)} THEN ${a} ELSE ${b} END`,
    `CAST(${any(depth - 1, "number")} AS TEXT)`,
  ]);
}

function condition(depth: number): string {
  if (depth === 0) return LEAVES.condition();
  const sort = pick(["number", "text"] as const);
  const [a, b] = [any(depth - 1, sort), any(depth - 1, sort)];
  const collate = random() < 0.15 && sort === "text" ? ` COLLATE ${pick(["NOCASE", "BINARY", "RTRIM"])}` : "";
  return pick([
    `(${a}${collate} ${pick(["=", "<>", "<", "<=", ">", ">=", "IS", "IS NOT", "=="])} ${b})`,
    `(${a} ${pick(["", "NOT "])}BETWEEN ${b} AND ${any(depth - 1, sort)})`,
    `(${a} ${pick(["", "NOT "])}IN (${b}, ${any(0, sort)}))`,
    `(${condition(depth - 1)} ${pick(["AND", "OR", "=", "IS"])} ${condition(depth - 1)})`,
    `(NOT ${condition(depth - 1)})`,
    `(${a} IS ${pick(["", "NOT "])}NULL)`,
    `(${any(depth - 1, "text")} ${pick(["LIKE", "GLOB"])} ${pick(["'A%'", "'%b_'", "'a*'", "'*[A-Z]?'", "'[^a]*'"])})`,
  ]);
}

/** Mostly the wanted sort, now and then another, to see it refused or right. */
function any(depth: number, sort: "number" | "text"): string {
  const other = random() < 0.1;
  if (other) return pick([numeric, textual, condition])(Math.max(0, depth - 1));
  return sort === "number" ? numeric(depth) : textual(depth);
}

test(`random expressions are exact where they are translated (seed ${SEED})`, async () => {
  let translated = 0;
  for (let n = 0; n < RANDOM_EXPRESSIONS; n++) {
    const expression = pick([numeric, textual, condition, condition])(1 + Math.floor(random() * 3));
    const answer = await both(expression);
    if (!answer) continue;
    translated++;
    expect(differing(answer), `seed ${SEED}: ${expression}\n${answer.sql}`).toEqual([]);
  }
  expect(translated).toBeGreaterThan(RANDOM_EXPRESSIONS / 4);
}, 300_000);
