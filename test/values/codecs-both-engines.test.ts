// Every codec against two real engines. Random values of every storage class are stored in a real SQLite column of
// every affinity. Each goes to PostgreSQL by the exact path (encode, as a parameter) and by the fast path (SQLite's
// own COPY CSV), and comes back through PostgreSQL's output. The two paths must give one value, the return must give
// the value that was stored, and what encode refuses, clean must not vouch for.
import { isUtf8 } from "node:buffer";
import { finished } from "node:stream/promises";
import Database from "better-sqlite3";
import type pg from "pg";
import { from as copyFrom } from "pg-copy-streams";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { describeValue as inWords, sameValue, storedAs } from "#switchback/codec/affinity.js";
import { InvalidText, Refusal, type SqliteValue } from "#switchback/codec/codec.js";
import { type CodecSpec, codecFor } from "#switchback/codec/registry.js";
import { effort } from "../support/effort.js";
import { type TestDatabase, testDatabase } from "../support/servers.js";
import { AFFINITIES, DECLARED, randomValues } from "../support/values.js";

const SEED = Number(process.env.SWITCHBACK_SEED ?? Math.floor(Math.random() * 2 ** 31));
const VALUES = effort(200, 600);

const KINDS: readonly Omit<CodecSpec, "affinity">[] = [
  { type: "bigint" },
  { type: "integer" },
  { type: "smallint" },
  { type: "double precision" },
  { type: "real" },
  { type: "numeric" },
  { type: "numeric(10,2)" },
  { type: "numeric(4,4)" },
  { type: "text" },
  { type: "varchar(5)" },
  { type: "char(3)" },
  { type: "boolean" },
  { type: "boolean", spelling: "false/true" },
  { type: "boolean", spelling: "0/1" },
  { type: "date" },
  { type: "date", spelling: "YYYY-MM-DD HH:MM:SS" },
  { type: "date", spelling: "YYYY-MM-DDTHH:MM:SS.fffZ" },
  { type: "date", spelling: "YYYY-MM-DDTHH:MM:SS+00:00", strict: true },
  { type: "date", from: "unix" },
  { type: "date", from: "unix_ms" },
  { type: "date", from: "unix_us" },
  { type: "date", from: "unix_ns" },
  { type: "date", from: "digits" },
  { type: "date", from: "julian" },
  { type: "time" },
  { type: "time(2)" },
  { type: "timestamptz" },
  { type: "timestamptz", spelling: "YYYY-MM-DDTHH:MM:SS.fffZ" },
  { type: "timestamptz", spelling: "YYYY-MM-DD HH:MM:SS.ffffff" },
  { type: "timestamptz", spelling: "YYYY-MM-DD HH:MM:SS+02:00" },
  { type: "timestamptz", spelling: "YYYY-MM-DD HH:MM" },
  { type: "timestamptz", spelling: "YYYY-MM-DD" },
  { type: "timestamptz", spelling: "YYYY-MM-DDTHH:MM:SS.fff+00:00", strict: true },
  { type: "timestamptz", from: "unix" },
  { type: "timestamptz", from: "unix_ms" },
  { type: "timestamptz", from: "julian" },
  { type: "timestamptz", spelling: "YYYY-MM-DD HH:MM:SS[.ffffff]" },
  { type: "timestamptz", spelling: "YYYY-MM-DDTHH:MM:SS[.ffffff]+00:00", strict: true },
  { type: "timestamptz", from: "unix_us" },
  { type: "timestamptz", from: "unix_ns" },
  { type: "timestamptz", from: "digits" },
  { type: "timestamp", from: "digits", spelling: "integer" },
  { type: "timestamptz(2)", from: "unix_us" },
  { type: "timestamptz(3)" },
  { type: "timestamptz(0)", spelling: "YYYY-MM-DD HH:MM:SS.fff" },
  { type: "timestamptz(0)", from: "unix_ms" },
  { type: "timestamptz(3)", from: "unix_ms" },
  { type: "timestamp" },
  { type: "timestamp(3)", spelling: "YYYY-MM-DDTHH:MM:SS.fffZ" },
  { type: "timestamp(1)", from: "unix" },
  { type: "timestamp", from: "unix" },
  { type: "uuid" },
  { type: "uuid", spelling: "upper", strict: true },
  { type: "uuid", spelling: "hex" },
  { type: "uuid", spelling: "HEX", strict: true },
  { type: "uuid", spelling: "blob", strict: true },
  { type: "jsonb" },
  { type: "jsonb", spelling: "compact" },
  { type: "json" },
  { type: "bytea" },
  { type: "any" },
];

/** Codecs whose values have several spellings: what PostgreSQL did not change keeps its own in SQLite. */
const RESPELLED = new Set(["timestamptz", "timestamp", "date", "uuid", "jsonb", "time"]);

/** Codecs that encode to the very text that PostgreSQL prints. */
const PRINTED = new Set([
  "bigint",
  "integer",
  "smallint",
  "text",
  "varchar",
  "char",
  "boolean",
  "date",
  "time",
  "timestamp",
  "timestamptz",
  "uuid",
  "json",
  "jsonb",
  "bytea",
  "any",
]);

interface Stored {
  readonly id: number;
  readonly value: SqliteValue;
  readonly clean: boolean;
  readonly csv: Buffer;
}

describe(`codecs, seed ${SEED}`, () => {
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

  for (const kind of KINDS) {
    it(`${JSON.stringify(kind)} is exact in every column`, async () => {
      for (const affinity of AFFINITIES) await roundTrip(client, { ...kind, affinity });
    });
  }
});

async function roundTrip(client: pg.Client, spec: CodecSpec): Promise<void> {
  const codec = codecFor(spec);
  const stored = storeInSqlite(spec);
  await client.query(
    `DROP TABLE IF EXISTS slow, fast; CREATE TABLE slow (id int, v ${codec.type}); CREATE TABLE fast (LIKE slow)`,
  );

  const encoded = new Map<number, string | null>();
  const clean: Stored[] = [];
  for (const row of stored) {
    const text = codec.encode(row.value);
    const sound = row.clean && isUtf8(row.csv) && !row.csv.includes(0);
    if (text instanceof Refusal)
      expect(sound, `${at(spec, row)}: clean, but refused: ${text.reason}`).toBe(false);
    else encoded.set(row.id, text);
    if (sound) clean.push(row);
  }
  const insert = `INSERT INTO slow SELECT id, v::${codec.type} FROM unnest($1::int[], $2::text[]) AS t(id, v)`;
  await client.query(insert, [[...encoded.keys()], [...encoded.values()]]);
  const copy = client.query(copyFrom("COPY fast FROM STDIN (FORMAT csv)"));
  copy.end(Buffer.concat(clean.flatMap(({ id, csv }) => [Buffer.from(`${id},`), csv, Buffer.from("\n")])));
  await finished(copy);

  const printed = await outputs(client, "slow");
  for (const [id, text] of await outputs(client, "fast")) {
    const row = stored[id] as Stored;
    expect(text, `${at(spec, row)}: fast path`).toBe(printed.get(id));
  }
  expect(printed.size).toBe(encoded.size);
  for (const [id, output] of printed) {
    const row = stored[id] as Stored;
    const canonical = encoded.get(id) ?? null;
    if (PRINTED.has(codec.name)) expect(canonical, `${at(spec, row)}: as PostgreSQL prints it`).toBe(output);
    const back = codec.decode(output);
    expect(back, `${at(spec, row)}: back from ${output}`).not.toBeInstanceOf(Refusal);
    const kept = storedAs(back as SqliteValue, spec.affinity);
    expect(codec.encode(kept), `${at(spec, row)}: encoded again`).toBe(canonical);
    if (!respelled(spec, codec.name) || spec.strict) {
      expect(sameValue(kept, row.value), `${at(spec, row)}: came back as ${inWords(kept)}`).toBe(true);
    }
  }
}

function respelled({ spelling, from }: CodecSpec, name: string): boolean {
  return RESPELLED.has(name) && (name !== "date" || spelling !== undefined || from === "digits");
}

function at(spec: CodecSpec, row: Stored): string {
  return `seed ${SEED} ${JSON.stringify(spec)} ${inWords(row.value)}`;
}

async function outputs(client: pg.Client, table: string): Promise<Map<number, string | null>> {
  // PostgreSQL's own output, as the reverse link reads it: a cast to text is something else for char and boolean.
  const types = { getTypeParser: () => (text: string) => text };
  const { rows } = await client.query({ text: `SELECT id, v FROM ${table}`, rowMode: "array", types });
  return new Map((rows as [string, string | null][]).map(([id, v]) => [Number(id), v]));
}

function storeInSqlite(spec: CodecSpec): Stored[] {
  const db = new Database(":memory:").defaultSafeIntegers(true);
  db.exec(`CREATE TABLE t (id INTEGER PRIMARY KEY, v ${DECLARED[spec.affinity]})`);
  const insert = db.prepare("INSERT INTO t VALUES (?, ?)");
  const insertText = db.prepare("INSERT INTO t VALUES (?, CAST(? AS TEXT))");
  for (const [id, value] of randomValues(SEED, VALUES).entries()) {
    if (value instanceof InvalidText) insertText.run(id, value.bytes);
    else insert.run(id, value);
  }
  const codec = codecFor(spec);
  const c = 'r."v"';
  const rows = db
    .prepare(
      `SELECT id, typeof(v), iif(typeof(v) = 'text', CAST(v AS BLOB), v), ${codec.clean(c)}, CAST(ifnull(${codec.render(c)}, '') AS BLOB) FROM t AS r ORDER BY id`,
    )
    .raw()
    .all() as [bigint, string, SqliteValue, bigint | null, Buffer][];
  db.close();
  return rows.map(([id, type, raw, clean, csv]) => {
    // For NULL, which every codec holds, SQLite's NULL is as good an answer as 1.
    const answers: readonly (bigint | null)[] = raw === null ? [1n, null] : [0n, 1n];
    expect(answers, `clean is ${clean} for ${inWords(raw)}`).toContain(clean);
    const bytes = raw as Buffer;
    const value = type !== "text" ? raw : isUtf8(bytes) ? bytes.toString("utf8") : new InvalidText(bytes);
    return { id: Number(id), value, clean: clean !== 0n, csv };
  });
}
