// The way into SQLite: values that PostgreSQL made by itself, written into a real SQLite column of every affinity and
// read again. Either the column then encodes to exactly what PostgreSQL holds, or decode refuses, with a reason.
// Nothing in between: a value that SQLite would have to round, or keep as another class, must not get through.
import Database from "better-sqlite3";
import type pg from "pg";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Refusal, type SqliteValue } from "#switchback/codec/codec.js";
import { type CodecSpec, codecFor } from "#switchback/codec/registry.js";
import type { Affinity } from "#switchback/schema/model.js";
import { type TestDatabase, testDatabase } from "../support/servers.js";
import { AFFINITIES, DECLARED } from "../support/values.js";

const MOMENTS = [
  "2025-01-31 10:00:00",
  "2025-01-31 10:00:00.5",
  "2025-01-31 10:00:00.123456",
  "2025-01-31 00:00:00",
  "0001-01-01 00:00:00",
  "9999-12-31 23:59:59.999999",
  "10000-01-01 00:00:00",
  "4713-01-01 00:00:00 BC",
  "infinity",
  "-infinity",
  "epoch",
];
const NUMBERS = [
  "0",
  "-1",
  "1.50",
  "1e20",
  "9223372036854775808",
  "0.1234567890123456789",
  "12345678901234567890.5",
  "1e-10",
  "3.0",
];
const TEXTS = [
  "",
  "abc",
  "12",
  " 12 ",
  "1.50",
  "1e3",
  "0x10",
  "-0",
  "1e400",
  "Infinity",
  "quote ' \" \\ newline \n",
  "äöü",
];
const DOCUMENTS = [
  "{}",
  '{"b": [1, 2.50, {"c": null}], "a, b: c": "x: y, \\"z\\""}',
  "5",
  "1.50",
  "1e400",
  "null",
  '"12"',
  "true",
];

/** What PostgreSQL holds, and in which spellings the column may be. */
const CASES: readonly {
  readonly kinds: readonly Omit<CodecSpec, "affinity">[];
  readonly values: readonly string[];
}[] = [
  {
    kinds: [{ type: "bigint" }, { type: "any" }],
    values: ["0", "-9223372036854775808", "9223372036854775807"],
  },
  {
    kinds: [{ type: "double precision" }],
    values: [...NUMBERS, "-0", "NaN", "Infinity", "-Infinity", "1e308", "5e-324"],
  },
  { kinds: [{ type: "real" }], values: ["0.1", "1", "16777216", "3.4e38", "NaN", "-Infinity"] },
  { kinds: [{ type: "numeric" }], values: [...NUMBERS, "NaN", "Infinity", `1${"0".repeat(400)}`] },
  { kinds: [{ type: "numeric(10,2)" }], values: ["0", "1", "1.50", "12345678.99", "NaN"] },
  { kinds: [{ type: "text" }, { type: "varchar(40)" }], values: TEXTS },
  { kinds: [{ type: "char(3)" }], values: ["a", "abc", ""] },
  {
    kinds: [
      { type: "boolean" },
      { type: "boolean", spelling: "no/yes" },
      { type: "boolean", spelling: "0/1" },
    ],
    values: ["t", "f"],
  },
  {
    kinds: [
      { type: "date" },
      { type: "date", spelling: "YYYY-MM-DDTHH:MM:SS.fffZ" },
      { type: "date", from: "unix" },
      { type: "date", from: "unix_ms" },
    ],
    values: ["2025-01-31", "0001-01-01", "10000-01-01", "infinity", "0044-03-15 BC"],
  },
  { kinds: [{ type: "time" }], values: ["00:00:00", "12:34:56.789", "24:00:00"] },
  {
    kinds: [
      { type: "timestamptz" },
      { type: "timestamptz", spelling: "YYYY-MM-DDTHH:MM:SS.fffZ" },
      { type: "timestamptz", spelling: "YYYY-MM-DD HH:MM:SS.ffffff" },
      { type: "timestamptz", spelling: "YYYY-MM-DDTHH:MM-0330" },
      { type: "timestamptz", spelling: "YYYY-MM-DD" },
      { type: "timestamptz", from: "unix" },
      { type: "timestamptz", from: "unix", spelling: "real" },
      { type: "timestamptz", from: "unix_ms" },
      { type: "timestamptz", from: "julian" },
      { type: "timestamp" },
      { type: "timestamp", from: "unix_ms" },
      { type: "timestamptz", spelling: "YYYY-MM-DD HH:MM:SS[.ffffff]" },
      { type: "timestamptz", from: "unix_us" },
      { type: "timestamptz", from: "unix_ns" },
      { type: "timestamptz", from: "digits" },
      { type: "timestamp", from: "digits", spelling: "integer" },
      { type: "timestamp(3)", spelling: "YYYY-MM-DDTHH:MM:SS.fffZ" },
      { type: "timestamptz(0)", from: "unix" },
    ],
    values: MOMENTS,
  },
  {
    kinds: [
      { type: "uuid" },
      { type: "uuid", spelling: "upper", strict: true },
      { type: "uuid", spelling: "hex" },
      { type: "uuid", spelling: "HEX" },
      { type: "uuid", spelling: "blob" },
    ],
    values: ["123e4567-e89b-12d3-a456-426614174000", "{123E4567E89B12D3A456426614174000}"],
  },
  { kinds: [{ type: "jsonb" }, { type: "jsonb", spelling: "compact" }, { type: "json" }], values: DOCUMENTS },
  { kinds: [{ type: "bytea" }], values: ["\\x", "\\x00ff"] },
  {
    kinds: [{ type: "any" }],
    values: [
      ...NUMBERS.map((n) => (n === "1e20" ? "100000000000000000000" : n)),
      ...TEXTS.map((t) => JSON.stringify(t)),
      '{"$blob": "AP8="}',
      '{"$blob": "not base64!"}',
      '{"$real": "Infinity"}',
      '{"$real": "-0.0"}',
      '{"$real": "1.5"}',
      "{}",
      "[1]",
      "null",
      "true",
    ],
  },
];

describe("what PostgreSQL made reaches SQLite exactly, or not at all", () => {
  let database: TestDatabase;
  let client: pg.Client;
  beforeAll(async () => {
    database = await testDatabase();
    client = await database.client();
    await client.query(
      "SET TimeZone = 'UTC'; SET DateStyle = 'ISO'; SET bytea_output = 'hex'; SET extra_float_digits = 1",
    );
  });
  afterAll(() => database.drop());

  for (const { kinds, values } of CASES) {
    for (const kind of kinds) {
      it(JSON.stringify(kind), async () => {
        for (const affinity of AFFINITIES) {
          for (const value of values) await writeAndRead(client, { ...kind, affinity }, value);
        }
      });
    }
  }
});

async function writeAndRead(client: pg.Client, spec: CodecSpec, input: string): Promise<void> {
  const codec = codecFor(spec);
  const types = { getTypeParser: () => (text: string) => text };
  const query = { text: `SELECT $1::text::${codec.type}`, values: [input], rowMode: "array", types };
  const printed = ((await client.query(query)).rows as unknown as string[][])[0]?.[0] as string;
  const value = codec.decode(printed);
  if (value instanceof Refusal) {
    expect(value.reason).not.toBe("");
    return;
  }
  const encoded = codec.encode(keptBySqlite(value, spec.affinity));
  const at = `${JSON.stringify(spec)} ${printed}`;
  expect(encoded, at).not.toBeInstanceOf(Refusal);
  // json has no equality of its own; it keeps its text.
  const type = codec.type === "json" ? "text" : codec.type;
  const same = { text: `SELECT ($1::text::${type} = $2::text::${type})::text`, values: [encoded, printed] };
  expect(
    (await client.query({ ...same, rowMode: "array" })).rows,
    `${at} reached SQLite as ${String(encoded)}`,
  ).toEqual([["true"]]);
}

function keptBySqlite(value: SqliteValue, affinity: Affinity): SqliteValue {
  const db = new Database(":memory:").defaultSafeIntegers(true);
  db.exec(`CREATE TABLE t (v ${DECLARED[affinity]})`);
  db.prepare("INSERT INTO t VALUES (?)").run(value);
  const kept = db.prepare("SELECT v FROM t").pluck().get() as SqliteValue;
  db.close();
  return kept;
}

it("ordinary values do reach SQLite", () => {
  const decoded = (spec: CodecSpec, text: string) => codecFor(spec).decode(text);
  expect(
    decoded(
      { type: "timestamptz", affinity: "NUMERIC", spelling: "YYYY-MM-DDTHH:MM:SS.fffZ" },
      "2025-01-31 10:00:00.5+00",
    ),
  ).toBe("2025-01-31T10:00:00.500Z");
  expect(decoded({ type: "timestamptz", affinity: "NUMERIC" }, "2025-01-31 10:00:00.1234+00")).toBe(
    "2025-01-31 10:00:00.123400",
  );
  expect(
    decoded(
      { type: "timestamptz", affinity: "TEXT", spelling: "YYYY-MM-DD HH:MM:SS+02:00" },
      "2025-01-31 10:00:00+00",
    ),
  ).toBe("2025-01-31 12:00:00+02:00");
  expect(decoded({ type: "timestamptz", affinity: "INTEGER", from: "unix" }, "2025-01-31 10:00:00+00")).toBe(
    1738317600n,
  );
  expect(decoded({ type: "numeric(10,2)", affinity: "NUMERIC" }, "5.00")).toBe(5n);
  expect(decoded({ type: "numeric(10,2)", affinity: "REAL" }, "5.00")).toBe(5);
  expect(decoded({ type: "double precision", affinity: "NUMERIC" }, "5")).toBe(5n);
  expect(decoded({ type: "boolean", affinity: "NUMERIC" }, "t")).toBe(1n);
  expect(decoded({ type: "jsonb", affinity: "TEXT", spelling: "compact" }, '{"a, b": [1, 2]}')).toBe(
    '{"a, b":[1,2]}',
  );
  expect(decoded({ type: "text", affinity: "NUMERIC" }, "1700000000")).toBe(1700000000n);
  expect(decoded({ type: "any", affinity: "BLOB" }, "1.0")).toBe(1);
  expect(decoded({ type: "any", affinity: "BLOB" }, "1")).toBe(1n);
});
