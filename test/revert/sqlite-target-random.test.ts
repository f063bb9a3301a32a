// SQLite as a target under chance: random values of every type through a real PostgreSQL and back, and random
// windows against a model. The seed is printed with every failure; SWITCHBACK_SEED repeats a run.
import Database from "better-sqlite3";
import type pg from "pg";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { storedAs } from "#switchback/codec/affinity.js";
import { Refusal, type SqliteValue } from "#switchback/codec/codec.js";
import { type CodecSpec, codecFor } from "#switchback/codec/registry.js";
import type { TableMapping } from "#switchback/mapping/mapping.js";
import type { EncodedRow, TableWindow, Window } from "#switchback/protocol/contract.js";
import type { Affinity } from "#switchback/schema/model.js";
import { openSqlite } from "#switchback/sqlite/connection.js";
import { migrateSqlite } from "#switchback/sqlite/migrate.js";
import { readSchema } from "#switchback/sqlite/schema.js";
import { SqliteTarget } from "#switchback/sqlite/target/target.js";
import { effort } from "../support/effort.js";
import { type TestDatabase, testDatabase } from "../support/servers.js";
import { testFile } from "../support/sqlite.js";
import { dump, SqliteCopy, spelled, values } from "../support/sqlite-copy.js";
import { AFFINITIES, DECLARED, generator, randomValues } from "../support/values.js";

const SEED = Number(process.env.SWITCHBACK_SEED ?? Math.floor(Math.random() * 2 ** 31));

const KINDS: readonly Omit<CodecSpec, "affinity">[] = [
  { type: "bigint" },
  { type: "smallint" },
  { type: "double precision" },
  { type: "real" },
  { type: "numeric" },
  { type: "numeric(10,2)" },
  { type: "text" },
  { type: "varchar(5)" },
  { type: "char(3)" },
  { type: "boolean" },
  { type: "boolean", spelling: "false/true" },
  { type: "date" },
  { type: "time" },
  { type: "timestamptz" },
  { type: "timestamptz", spelling: "YYYY-MM-DDTHH:MM:SS.fffZ" },
  { type: "timestamptz", spelling: "YYYY-MM-DD HH:MM:SS+02:00" },
  { type: "timestamptz", from: "unix" },
  { type: "timestamptz", from: "unix_ms" },
  { type: "timestamptz", from: "julian" },
  { type: "timestamp" },
  { type: "uuid" },
  { type: "uuid", spelling: "upper", strict: true },
  { type: "jsonb" },
  { type: "jsonb", spelling: "compact" },
  { type: "json" },
  { type: "bytea" },
  { type: "any" },
];

describe("values of every type and spelling", () => {
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

  async function printed(codec: { readonly type: string }, texts: readonly string[]): Promise<string[]> {
    const { rows } = await client.query<string[]>({
      text: `SELECT x::text::${codec.type} FROM unnest($1::text[]) WITH ORDINALITY AS u(x, n) ORDER BY n`,
      values: [texts],
      rowMode: "array",
      types: { getTypeParser: () => (text: string) => text },
    } as pg.QueryArrayConfig);
    return rows.map(([text]) => text ?? "");
  }

  test.each(KINDS.map((kind) => [JSON.stringify(kind), kind] as const))(
    "%s: what PostgreSQL prints changes nothing in SQLite, and fills an empty table with the same",
    async (_, kind) => {
      const at = `seed ${SEED}, ${JSON.stringify(kind)}`;
      const ddl = AFFINITIES.map((a) => `CREATE TABLE "${a}"(id INTEGER PRIMARY KEY, v ${DECLARED[a]});`);
      const file = testFile(ddl.join("\n"));
      const db = openSqlite(file.path, { readonly: false });
      migrateSqlite(db);
      const columns = readSchema(db).tables.map((table) => {
        const spec = { ...kind, affinity: table.name as Affinity };
        const codec = codecFor(spec);
        const held = randomValues(SEED, effort(150, 500))
          .map((value) => storedAs(value, spec.affinity))
          .map((value) => [value, codec.encode(value)] as const)
          .filter((pair): pair is readonly [SqliteValue, string] => typeof pair[1] === "string");
        const insert = db.prepare(`INSERT INTO "${table.name}" VALUES (?, ?)`);
        for (const [i, [value]] of held.entries()) insert.run(BigInt(i), value);
        return {
          name: table.name,
          mapping: mappingOf(table, spec),
          codec,
          texts: held.map(([, text]) => text),
        };
      });
      db.close();
      expect(columns.length).toBe(AFFINITIES.length);
      const tables: { name: string; rows: EncodedRow[]; gone: EncodedRow[] }[] = [];
      for (const { name, codec, texts } of columns) {
        const rows = (await printed(codec, texts)).map((text, i) => [String(i), text]);
        tables.push({ name, rows, gone: rows.map(([id]) => [id ?? null]) });
      }
      const target = new SqliteTarget(
        "app",
        file.path,
        "me",
        columns.map(({ mapping }) => mapping),
      );
      target.claim();
      const query = AFFINITIES.map(
        (a, n) => `SELECT ${n}, id, v, 'integer', typeof(id), typeof(v) FROM "${a}"`,
      ).join(" UNION ALL ");
      const before = dump(file.path, query);
      const fill = tables.map(({ name, rows }) => tableWindow(name, rows, []));
      expect((await target.apply(windowOf(fill))).refused, at).toEqual([]);
      expect(dump(file.path, query), at).toEqual(before);
      // What is not refused must encode to the same as before.
      await target.apply(windowOf(tables.map(({ name, gone }) => tableWindow(name, [], gone))));
      const { refused } = await target.apply(windowOf(fill));
      target.close();
      const again = new Database(file.path).defaultSafeIntegers(true);
      for (const { name, codec, texts } of columns) {
        const back = again.prepare(`SELECT id, v FROM "${name}"`).raw().all() as [bigint, SqliteValue][];
        expect(back.length + refused.filter(({ table }) => table === name).length, at).toBe(texts.length);
        for (const [id, value] of back) expect(codec.encode(value), at).toBe(texts[Number(id)]);
      }
      again.close();
      file.remove();
    },
  );
});

function mappingOf(table: TableMapping["table"], spec: CodecSpec): TableMapping {
  const column = (name: string, own: CodecSpec) => ({
    source: `"${name}"`,
    column: name,
    target: name,
    spec: own,
    codec: codecFor(own),
    notNull: name === "id",
  });
  const id = column("id", { type: "bigint", affinity: "INTEGER" });
  return { table, schema: "public", target: "t", columns: [id, column("v", spec)], key: [id] };
}

function tableWindow(table: string, rows: readonly EncodedRow[], gone: readonly EncodedRow[]): TableWindow {
  const list = (of: readonly EncodedRow[]) => ({ kind: "values" as const, values: of });
  return { table, changes: rows.length, rows: list(rows), gone: list(gone), refused: [], touched: [] };
}

function windowOf(tables: readonly TableWindow[]): Window {
  return { from: 0, to: 1, changes: 1, mark: "", tables, close: async () => {} };
}

// ---- random windows against a model

interface Shape {
  readonly name: string;
  readonly ddl: string;
  readonly columns: readonly string[];
  /** How many of them, at the beginning, are the key. */
  readonly width: number;
  /** What must be unique in every legal state; null where the row takes no part. */
  readonly unique: readonly ((row: readonly SqliteValue[]) => string | null)[];
  readonly make: (random: () => number) => SqliteValue[];
}

const pick = <T>(random: () => number, list: readonly T[]): T =>
  list[Math.floor(random() * list.length)] as T;
const small = (random: () => number) => BigInt(Math.floor(random() * 24));
const word = (random: () => number) =>
  pick(random, [
    "a",
    "A",
    "b",
    "B",
    "cc",
    "Cc",
    "d",
    "é",
    "É",
    "x'y",
    "",
    "e",
    "f",
    "g",
    "G",
    "hh",
    "1",
    "01",
  ]);
const free = (random: () => number): SqliteValue =>
  pick<SqliteValue>(random, [
    null,
    1n,
    1.5,
    -0,
    0,
    "1",
    "text",
    Buffer.from("31", "hex"),
    Buffer.alloc(0),
    2 ** 60,
    Number.NEGATIVE_INFINITY,
  ]);
const folded = (value: SqliteValue | undefined) =>
  String(value).replace(/[A-Z]/g, (letter) => letter.toLowerCase());

const SHAPES: readonly Shape[] = [
  {
    name: "ids",
    ddl: `CREATE TABLE ids(id INTEGER PRIMARY KEY, u TEXT COLLATE NOCASE UNIQUE, n INTEGER, v);
          CREATE UNIQUE INDEX ids_n ON ids(n) WHERE n > 8; CREATE UNIQUE INDEX ids_e ON ids(n % 8, length(u) + id / 12)`,
    columns: ["id", "u", "n", "v"],
    width: 1,
    unique: [
      (row) => (row[1] === null ? null : folded(row[1])),
      (row) => (row[2] !== null && (row[2] as bigint) > 8n ? String(row[2]) : null),
      (row) =>
        row[1] === null || row[2] === null
          ? null
          : `${(row[2] as bigint) % 8n} ${BigInt(String(row[1]).length) + (row[0] as bigint) / 12n}`,
    ],
    make: (random) => [
      small(random),
      random() < 0.2 ? null : `${word(random)}${small(random)}`,
      random() < 0.1 ? null : small(random),
      free(random),
    ],
  },
  {
    name: "words",
    ddl: "CREATE TABLE words(k TEXT COLLATE NOCASE, v, n NUMERIC UNIQUE, PRIMARY KEY (k)); CREATE INDEX words_v ON words(v)",
    columns: ["k", "v", "n"],
    width: 1,
    unique: [(row) => folded(row[0]), (row) => (row[2] === null ? null : String(row[2]))],
    make: (random) => [word(random), free(random), random() < 0.1 ? null : small(random)],
  },
  {
    name: "pairs",
    ddl: "CREATE TABLE pairs(a TEXT, b INTEGER, u INTEGER UNIQUE, r REAL, PRIMARY KEY (a, b)) WITHOUT ROWID",
    columns: ["a", "b", "u", "r"],
    width: 2,
    unique: [(row) => String(row[2])],
    make: (random) => [word(random), small(random) % 3n, small(random), pick(random, [0.1, 1, -2.5])],
  },
];

class Model {
  rows = new Map<string, readonly SqliteValue[]>();

  constructor(readonly shape: Shape) {}

  keyOf = (row: readonly SqliteValue[]) => row.slice(0, this.shape.width).map(spelled).join(" ");

  legal(): boolean {
    return this.shape.unique.every((of) => {
      const all = [...this.rows.values()].map(of).filter((text) => text !== null);
      return new Set(all).size === all.length;
    });
  }

  /** A few random changes that leave a legal state; the touched keys' first values. */
  change(random: () => number): Map<string, readonly SqliteValue[]> {
    const touched = new Map<string, readonly SqliteValue[]>();
    const touch = (row: readonly SqliteValue[]) =>
      touched.set(this.keyOf(row), row.slice(0, this.shape.width));
    for (let n = Math.floor(random() * 30); n >= 0; n--) {
      const before = this.rows;
      this.rows = new Map(before);
      const changed = this.step(random);
      if (this.legal()) changed.forEach(touch);
      else this.rows = before;
    }
    return touched;
  }

  private step(random: () => number): readonly (readonly SqliteValue[])[] {
    const { width, make, columns } = this.shape;
    const present = [...this.rows.values()];
    const choice = random();
    const one = present.length > 0 ? pick(random, present) : null;
    if (choice < 0.15 && one) {
      this.rows.delete(this.keyOf(one));
      return [one];
    }
    if (choice < 0.5 && one) {
      // Two or three rows hand a value round.
      const others = [one, pick(random, present), pick(random, present)].slice(
        0,
        2 + Math.floor(random() * 2),
      );
      const ring = [...new Set(others)];
      const place = width + Math.floor(random() * (columns.length - width));
      const next = ring.map((row, i) => row.with(place, ring[(i + 1) % ring.length]?.[place] ?? null));
      for (const row of next) this.rows.set(this.keyOf(row), row);
      return next;
    }
    const made = make(random);
    const row = choice < 0.75 && one ? [...one.slice(0, width), ...made.slice(width)] : made;
    this.rows.set(this.keyOf(row), row);
    return [row];
  }
}

test("random windows leave exactly what the model holds, and rows keep their rowids", async () => {
  const random = generator(SEED);
  const copy = SqliteCopy.open(SHAPES.map(({ ddl }) => `${ddl};`).join("\n"));
  const models = SHAPES.map((shape) => new Model(shape));
  const largest = models.map(() => 0);
  const rowids = () =>
    new Map((copy.all("SELECT k, rowid FROM words") as [string, number][]).map(([k, rowid]) => [k, rowid]));
  try {
    for (let n = 0; n < effort(60, 150); n++) {
      const kept = rowids();
      const changes = models.map((model) => {
        const { name, width } = model.shape;
        const rows: (readonly SqliteValue[])[] = [];
        const gone: EncodedRow[] = [];
        for (const [key, first] of model.change(random)) {
          const row = model.rows.get(key);
          if (row) rows.push(row);
          else
            gone.push(
              copy.mapping(name).key.map((column, i) => encoded(column.codec.encode(first[i] ?? null))),
            );
          expect(first.length).toBe(width);
        }
        const order = rows.map((row) => [random(), row] as const).sort(([a], [b]) => a - b);
        return [
          name,
          {
            rows: copy.encoded(
              name,
              order.map(([, row]) => row),
            ),
            gone,
          },
        ] as const;
      });
      const goneWords = new Set(changes[1]?.[1].gone.map(([k]) => k));
      const { refused } = await copy.apply(Object.fromEntries(changes));
      for (const [i, { rows }] of models.entries()) largest[i] = Math.max(largest[i] ?? 0, rows.size);
      const at = `seed ${SEED}, window ${n}`;
      expect(refused, at).toEqual([]);
      const now = rowids();
      for (const [k, rowid] of kept) if (!goneWords.has(k)) expect(now.get(k), at).toBe(rowid);
      if (n % 10 !== 9) continue;
      for (const { shape, rows } of models) {
        const expected = [...rows.values()].map((row) => row.map(spelled).join(" ")).sort();
        expect(copy.dump(values(shape.name, shape.columns)).sort(), `${at}, ${shape.name}`).toEqual(expected);
      }
    }
    // The windows must have had something to move.
    expect(Math.min(...largest), `seed ${SEED}`).toBeGreaterThan(5);
    expect(copy.all("SELECT count(*) FROM _switchback_log")).toEqual([[0]]);
    expect(copy.all("PRAGMA integrity_check")).toEqual([["ok"]]);
  } finally {
    copy.close();
  }
});

function encoded(text: string | null | Refusal): string | null {
  if (text instanceof Refusal) throw new Error(text.reason);
  return text;
}
