// Rows that PostgreSQL refuses while history is copied: each goes to quarantine by its key, and costs no other row
// anything. The seed is in every test's name; SWITCHBACK_SEED repeats a run, SWITCHBACK_SEEDS sets how many there are.
import { randomInt } from "node:crypto";
import { afterEach, describe, expect, test } from "vitest";
import { type Copying, prepareCopy } from "../support/copying.js";
import { effort } from "../support/effort.js";
import { type TestDatabase, testDatabase } from "../support/servers.js";
import { type TestFile, testFile } from "../support/sqlite.js";
import { generator } from "../support/values.js";

const RUNS = Number(process.env.SWITCHBACK_SEEDS ?? effort(1, 4));
const first = Number(process.env.SWITCHBACK_SEED ?? randomInt(1_000_000));

/** A table's DDL in PostgreSQL, and a value of `n` that it refuses. */
interface Refusing {
  readonly ddl: (table: string) => string;
  readonly bad: string;
}

const KEYED = "id bigint PRIMARY KEY, n bigint, v text";
const REFUSING: Readonly<Record<string, Refusing>> = {
  check: { ddl: (t) => `CREATE TABLE ${t} (${KEYED}, CHECK (n >= 0))`, bad: "-1" },
  "not null": {
    ddl: (t) => `CREATE TABLE ${t} (id bigint PRIMARY KEY, n bigint NOT NULL, v text)`,
    bad: "NULL",
  },
  partition: {
    ddl: (t) => `CREATE TABLE ${t} (id bigint, n bigint, v text) PARTITION BY RANGE (n);
                 CREATE TABLE ${t}_p PARTITION OF ${t} FOR VALUES FROM (0) TO (1000000)`,
    bad: "1000000",
  },
  generated: {
    ddl: (t) => `CREATE TABLE ${t} (${KEYED}, g int GENERATED ALWAYS AS ((n * 1000)::int) STORED)`,
    bad: "999999999",
  },
};
const KINDS = Object.keys(REFUSING);

const open: { file: TestFile; database: TestDatabase; copying: Copying | null }[] = [];
afterEach(async () => {
  for (const { file, database, copying } of open.splice(0)) {
    await copying?.close();
    await database.drop();
    file.remove();
  }
});

async function copied(
  schema: string,
  target: string,
  workers: number,
  rowsPerRange: number,
  journal: "wal" | "delete" = "wal",
) {
  const file = testFile(schema, journal);
  const database = await testDatabase(18);
  const entry: (typeof open)[number] = { file, database, copying: null };
  open.push(entry);
  const copying = await prepareCopy({ file: file.path, url: database.url, workers, rowsPerRange, target });
  entry.copying = copying;
  await copying.link.copy(copying.source, copying.target, new AbortController().signal);
  return { file, database, copying };
}

/** What a table holds on each side, the refused rows by key: `[id, v]`. */
async function contents(file: TestFile, database: TestDatabase, table: string) {
  const source = file.writer().prepare(`SELECT id, v FROM ${table} ORDER BY id`).raw().all() as [
    number,
    string,
  ][];
  const rows = await database.query(`SELECT id::int AS id, v FROM ${table} ORDER BY id`);
  const kept = await database.query(
    "SELECT key FROM switchback.quarantine WHERE table_name = $1 ORDER BY key",
    [table],
  );
  return {
    source,
    target: rows.map(({ id, v }) => [id, v]),
    quarantined: kept.map(({ key }) => Number(JSON.parse(String(key))[0])).sort((a, b) => a - b),
  };
}

describe("random refusals", () => {
  for (let run = 0; run < RUNS; run++) {
    const seed = first + run;
    test(`seed ${seed}: every row is in its own table or in quarantine`, async () => {
      const random = generator(seed);
      const integer = (lo: number, hi: number) => lo + Math.floor(random() * (hi - lo + 1));
      const pick = <T>(list: readonly T[]) => list[integer(0, list.length - 1)] as T;
      const workers = integer(1, 3);
      const tables = Array.from({ length: integer(2, 4) }, (_, i) => ({ name: `t${i}`, kind: pick(KINDS) }));
      const fills = tables.map(({ name, kind }) => {
        const [rows, every] = [integer(50, 700), integer(2, 400)];
        // Wide rows make many chunks of few rows.
        const width = pick([1, 40, 6_000]);
        return `CREATE TABLE ${name} (id INTEGER PRIMARY KEY, n INTEGER, v TEXT);
          WITH RECURSIVE i(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM i WHERE i < ${rows})
          INSERT INTO ${name} SELECT i, iif(i % ${every} = ${integer(0, every - 1)}, ${REFUSING[kind]?.bad}, i),
                                     '${name} ' || i || printf('%.*c', ${width}, 'x') FROM i;`;
      });
      const ddl = tables.map(({ name, kind }) => REFUSING[kind]?.ddl(name)).join(";\n");
      const { file, database, copying } = await copied(
        fills.join("\n"),
        ddl,
        workers,
        integer(20, 800),
        pick(["wal", "wal", "delete"]),
      );
      for (const { name, kind } of tables) {
        const { source, target, quarantined } = await contents(file, database, name);
        const refused = file
          .writer()
          .prepare(`SELECT id FROM ${name} WHERE n IS ${REFUSING[kind]?.bad} ORDER BY id`);
        const bad = new Set(refused.pluck().all() as number[]);
        const at = `${name} ${kind} with ${workers} workers`;
        expect(quarantined, at).toEqual([...bad]);
        expect(target, at).toEqual(source.filter(([id]) => !bad.has(id)));
        expect(copying.held.tables.get(name), at).toMatchObject({
          rows: target.length,
          quarantined: bad.size,
        });
      }
    });
  }
});

describe("what is counted", () => {
  const SCHEMA = `CREATE TABLE t0 (id INTEGER PRIMARY KEY, n INTEGER, v TEXT);
    WITH RECURSIVE i(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM i WHERE i < 500)
    INSERT INTO t0 SELECT i, i, 't0 ' || i FROM i;`;
  test.each([
    ["a chunk that is lost on its way", '501,1,"x"\n', 1, 2],
    ["a row that PostgreSQL's COPY did not write", '501,1,"x"\n', 2, 2],
    ["a row that was not written one by one", '501,1,"x"\n502,7,"refused"\n', 3, 3],
  ])("%s is met by the counts, and nothing is committed", async (_, csv, rows, counted) => {
    const target = `CREATE TABLE t0 (${KEYED}, CHECK (n <> 7 OR id < 500))`;
    const { database, copying } = await copied(SCHEMA, target, 1, 1_000);
    const range = { table: "t0", number: 9, lo: null, hi: null };
    await database.query("INSERT INTO switchback.range (source, table_name, number) VALUES ('app', 't0', 9)");
    async function* reading() {
      yield { csv: Buffer.from(csv), rows, refused: [] };
      return { rows: counted, refused: 0 };
    }
    const error = await copying.target
      .copy(range, copying.held.position, reading)
      .catch((thrown: unknown) => thrown);
    expect(error).toMatchObject({ code: "COUNT_MISMATCH", where: { table: "t0" } });
    expect(await database.query("SELECT count(*)::int AS n FROM t0")).toEqual([{ n: 500 }]);
    expect(await database.query("SELECT rows FROM switchback.range WHERE number = 9")).toEqual([
      { rows: null },
    ]);
  });
});

test("a reading that was given up leaves nothing behind for the next one of the same reader", async () => {
  const fill = (name: string) => `CREATE TABLE ${name} (id INTEGER PRIMARY KEY, n INTEGER, v TEXT);
    WITH RECURSIVE i(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM i WHERE i < 500)
    INSERT INTO ${name} SELECT i, i, '${name}' FROM i;`;
  const ddl = ["t0", "t1"].map((name) => `CREATE TABLE ${name} (${KEYED})`).join(";");
  const { copying } = await copied(fill("t0") + fill("t1"), ddl, 1, 1_000);
  const snapshot = await copying.source.snapshot(1);
  const given = snapshot.read(0, { table: "t0", number: 0, lo: null, hi: null });
  await given.next();
  // Neither ended nor read on: its chunks are on their way when the next one begins.
  const texts: string[] = [];
  const next = snapshot.read(0, { table: "t1", number: 0, lo: null, hi: null });
  for (let at = await next.next(); ; at = await next.next()) {
    if (at.done) {
      expect(at.value).toEqual({ rows: 500, refused: 0 });
      break;
    }
    texts.push(Buffer.from(at.value.csv).toString());
  }
  await expect(given.next()).rejects.toThrow("asked for something else");
  await snapshot.release();
  const lines = texts.join("").trimEnd().split("\n");
  expect(lines.map((line) => line.split(",")[2])).toEqual(Array.from({ length: 500 }, () => '"t1"'));
});
