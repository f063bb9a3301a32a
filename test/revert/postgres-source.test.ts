// PostgreSQL as a source, on real servers: what its triggers capture and whether every window is an exact state. Also
// what happens when a window is not applied, its session dies or its owner changes.
import { setTimeout as pause } from "node:timers/promises";
import type pg from "pg";
import { afterEach, describe, expect, it } from "vitest";
import { storedAs } from "#switchback/codec/affinity.js";
import { InvalidText, Refusal } from "#switchback/codec/codec.js";
import { codecFor } from "#switchback/codec/registry.js";
import { SwitchbackError } from "#switchback/errors.js";
import type { TableMapping } from "#switchback/mapping/mapping.js";
import {
  installPostgresCapture,
  lostCapture,
  removalOfCapture,
  suspendCapture,
} from "#switchback/postgres/capture.js";
import { PostgresSource } from "#switchback/postgres/source/source.js";
import type { Affinity } from "#switchback/schema/model.js";
import { effort } from "../support/effort.js";
import {
  Copy,
  eachRow,
  type FileIdentity,
  mappingOf,
  OWNER,
  place,
  present,
  SCOPE,
} from "../support/postgres-source.js";
import { generator, randomValues } from "../support/values.js";

const SEED = Number(process.env.SWITCHBACK_SEED ?? Math.floor(Math.random() * 2 ** 31));
const VERSIONS = [15, 18] as const;

let here: FileIdentity | undefined;
afterEach(async () => {
  await here?.end();
  here = undefined;
});

const open = async (
  version: 15 | 18,
  ddl: string,
  mappings: readonly TableMapping[],
): Promise<FileIdentity> => {
  here = await place(version, ddl, mappings);
  return here;
};

const ITEM = mappingOf("item", { id: "bigint", v: "text" }, ["id"]);
const ITEM_DDL = "CREATE TABLE item (id bigint PRIMARY KEY, v text)";

async function codeOf(work: Promise<unknown>): Promise<string> {
  const error = await work.then(
    () => "no error",
    (thrown: unknown) => thrown,
  );
  return error instanceof SwitchbackError ? error.code : String(error);
}

describe.each(VERSIONS)("every kind of statement is captured, PostgreSQL %i", (version) => {
  const NODE = mappingOf("node", { id: "bigint", parent: "bigint", name: "text" }, ["id"]);
  const PAIR = mappingOf("pair", { a: "text", b: "bigint", v: "text" }, ["b", "a"]);
  const LONG = "ä".repeat(31);
  const ODD = mappingOf('the "Odd" one', { 'K "ey': "text", 'V al"ue': "text" }, ['K "ey'], {
    schema: 'S "x"',
    target: LONG,
  });
  const PART = mappingOf("part", { region: "bigint", id: "bigint", v: "text" }, ["region", "id"]);
  const DDL = `
    CREATE TABLE node (id bigint PRIMARY KEY, parent bigint REFERENCES node ON DELETE CASCADE ON UPDATE CASCADE, name text UNIQUE);
    CREATE TABLE pair (v text, b bigint, a text, PRIMARY KEY (b, a));
    CREATE SCHEMA "S ""x""";
    CREATE TABLE "S ""x"""."${LONG}" ("K ""ey" text PRIMARY KEY, "V al""ue" text);
    CREATE TABLE part (region bigint, id bigint, v text, PRIMARY KEY (region, id)) PARTITION BY LIST (region);
    CREATE TABLE part_1 PARTITION OF part FOR VALUES IN (1);
    CREATE TABLE part_2 (v text, id bigint NOT NULL, region bigint NOT NULL);
    ALTER TABLE part ATTACH PARTITION part_2 FOR VALUES IN (2)`;
  const MAPPINGS = [NODE, PAIR, ODD, PART];
  const STATEMENTS = [
    "INSERT INTO node SELECT n, nullif(n / 3, 0), 'n' || n FROM generate_series(1, 100) n",
    "UPDATE node SET name = name || '!' WHERE id % 7 = 0",
    "DELETE FROM node WHERE id = 2",
    "UPDATE node SET id = id + 1000 WHERE id = 1",
    "INSERT INTO node VALUES (50, NULL, 'x') ON CONFLICT (id) DO UPDATE SET name = excluded.name",
    "INSERT INTO node VALUES (500, NULL, 'n5') ON CONFLICT (name) DO UPDATE SET id = 501",
    "MERGE INTO node n USING (VALUES (4, 'm4'), (600, 'm600'), (9, NULL)) v(id, name) ON n.id = v.id WHEN MATCHED AND v.name IS NULL THEN DELETE WHEN MATCHED THEN UPDATE SET name = v.name WHEN NOT MATCHED THEN INSERT VALUES (v.id, NULL, v.name)",
    "WITH d AS (DELETE FROM node WHERE id IN (16, 17) RETURNING id), i AS (INSERT INTO pair SELECT 'moved', id, 'k' FROM d RETURNING b) UPDATE node SET name = 'w' WHERE id = (SELECT min(b) + 3 FROM i)",
    "INSERT INTO pair VALUES ('1', 1, 'it''s'), ('2', 1, '\"{,}\\'), ('3', 2, ''), ('4', 3, 'NULL')",
    "UPDATE pair SET b = 3 - b WHERE b IN (1, 2)",
    "INSERT INTO \"S \"\"x\"\"\".%LONG% VALUES ('a', '1'), ('B', '2'), (E'tab\\t', NULL)",
    'UPDATE "S ""x""".%LONG% SET "K ""ey" = upper("K ""ey") || \'.\'',
    "INSERT INTO part SELECT 1 + n % 2, n, 'p' FROM generate_series(1, 20) n",
    "UPDATE part SET region = 3 - region WHERE id < 5",
    "DELETE FROM part WHERE id = 7",
    "DO $$ BEGIN FOR i IN 700..720 LOOP INSERT INTO node VALUES (i, NULL, 'loop' || i); END LOOP; DELETE FROM node WHERE id = 710; END $$",
    "BEGIN; INSERT INTO node VALUES (800); SAVEPOINT s; INSERT INTO node VALUES (801); ROLLBACK TO s; COMMIT",
    "TRUNCATE part, pair",
    "INSERT INTO pair VALUES ('again', 1, 'a')",
    "TRUNCATE node CASCADE",
  ].map((text) => text.replace("%LONG%", `"${LONG}"`));

  it("also as a role that has no rights of ours", async () => {
    const { app, source, sidecar, database } = await open(version, DDL, MAPPINGS);
    const role = `writer_${database.name}`;
    await app.query(`CREATE ROLE ${role};
      GRANT USAGE ON SCHEMA "S ""x""" TO ${role}; GRANT ALL ON ALL TABLES IN SCHEMA public, "S ""x""" TO ${role}`);
    const copy = new Copy(MAPPINGS);
    const writer = await database.client();
    await writer.query(
      `SET ROLE ${role}; SET DateStyle = 'German'; SET search_path = '"S ""x""", public'`
        .replace("'\"", '"')
        .replace("public'", "public"),
    );
    await expect(writer.query("SELECT FROM switchback.change")).rejects.toThrow(/permission denied/);
    for (const statement of STATEMENTS) {
      await writer.query(statement);
      expect(await copy.follow(source), statement).toBeGreaterThan(0);
      for (const mapping of MAPPINGS) {
        expect(copy.rows(mapping.table.name), statement).toEqual(await present(sidecar, mapping));
      }
      expect(await copy.follow(source)).toBe(0);
    }
    expect(await source.newest()).toBe(copy.position);
    await writer.query("RESET ROLE");
    await app.query(`DROP OWNED BY ${role}; DROP ROLE ${role}`);
  });

  it("COPY, and one window for many statements", async () => {
    const { app, source, sidecar } = await open(version, DDL, MAPPINGS);
    const copy = new Copy(MAPPINGS);
    await app.query("COPY node FROM PROGRAM 'printf ''1\\t\\\\N\\tone\\n2\\t1\\ttwo\\n'''");
    for (const statement of STATEMENTS.slice(0, -4))
      await app.query(statement.replace("generate_series(1, 100)", "generate_series(3, 100)"));
    await copy.follow(source);
    for (const mapping of MAPPINGS)
      expect(copy.rows(mapping.table.name)).toEqual(await present(sidecar, mapping));
    expect(copy.rows("node").length).toBeGreaterThan(50);
    expect(await source.newest()).toBe(copy.position);
  });

  it("a collation that calls different texts equal does not blur keys", async () => {
    const NAME = mappingOf("name", { k: "text", v: "text" }, ["k"]);
    const { app, source, sidecar } = await open(
      version,
      `CREATE COLLATION nocase (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
       CREATE TABLE name (k text COLLATE nocase PRIMARY KEY, v text)`,
      [NAME],
    );
    const copy = new Copy([NAME]);
    await app.query("INSERT INTO name VALUES ('Bob', '1'), ('Eve', '2')");
    await copy.follow(source);
    await app.query("UPDATE name SET k = 'bob' WHERE k = 'BOB'");
    await copy.follow(source);
    expect(copy.rows("name")).toEqual(await present(sidecar, NAME));
  });
});

describe("installation", () => {
  const TABLES = Array.from({ length: 45 }, (_, i) =>
    mappingOf(`t${i}`, { id: i % 2 ? "timestamptz" : "bigint" }, ["id"]),
  );
  const DDL = TABLES.map(
    ({ target, key }) => `CREATE TABLE ${target} (id ${key[0]?.codec.type} PRIMARY KEY)`,
  ).join(";");
  const triggers = async (client: pg.ClientBase) =>
    (await client.query("SELECT oid, xmin FROM pg_trigger WHERE tgname ~ '^switchback_capture' ORDER BY oid"))
      .rows;

  it("does nothing where all is in place, and repairs what is not", async () => {
    const { app, sidecar, tables } = await open(18, DDL, TABLES);
    const before = await triggers(sidecar);
    expect(before.length).toBe(4 * TABLES.length);
    await installPostgresCapture(sidecar, tables);
    expect(await triggers(sidecar)).toEqual(before);
    expect(await lostCapture(sidecar, tables)).toEqual([]);

    await app.query(`DROP TRIGGER switchback_capture_delete ON t3; ALTER TABLE t4 DISABLE TRIGGER switchback_capture_insert;
      CREATE OR REPLACE FUNCTION switchback.capture_${tables[5]?.id}() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
      ALTER FUNCTION switchback.capture_${tables[6]?.id}() RESET ALL; DROP TABLE t7; CREATE TABLE t7 (id timestamptz PRIMARY KEY);
      ALTER FUNCTION switchback.capture_${tables[8]?.id}() SECURITY INVOKER; ALTER TABLE t9 RENAME TO elsewhere`);
    expect(await lostCapture(sidecar, tables)).toEqual(["t3", "t4", "t5", "t6", "t7", "t8", "t9"]);
    await app.query("ALTER TABLE elsewhere RENAME TO t9");
    await installPostgresCapture(sidecar, tables);
    expect(await lostCapture(sidecar, tables)).toEqual([]);
  });

  it("rests, wakes up and goes away", async () => {
    const { app, sidecar, tables, source } = await open(18, DDL, TABLES);
    await suspendCapture(sidecar, tables);
    expect((await lostCapture(sidecar, tables)).length).toBe(TABLES.length);
    await app.query("INSERT INTO t0 VALUES (1)");
    expect(await source.newest()).toBe(0);
    await installPostgresCapture(sidecar, tables);
    await app.query("SET session_replication_role = replica; INSERT INTO t0 VALUES (2)");
    expect(await source.newest()).toBe(1);
    await app.query("DROP TABLE t1");
    for (const table of tables) await sidecar.query(removalOfCapture(table));
    expect(await triggers(sidecar)).toEqual([]);
    expect(await source.newest()).toBe(0);
    for (const table of tables) await sidecar.query(removalOfCapture(table));
  });

  it("waits for a lock without keeping others waiting", async () => {
    const { app, sidecar, tables, database } = await open(18, DDL, TABLES);
    await suspendCapture(sidecar, tables);
    await app.query("BEGIN; INSERT INTO t10 VALUES (1)");
    const installed = installPostgresCapture(sidecar, tables);
    const other = await database.client();
    let slowestMs = 0;
    for (let i = 0; i < 20; i++) {
      const started = performance.now();
      await other.query("INSERT INTO t10 VALUES ($1)", [100 + i]);
      slowestMs = Math.max(slowestMs, performance.now() - started);
      await pause(20);
    }
    await app.query("COMMIT");
    await installed;
    expect(await lostCapture(sidecar, tables)).toEqual([]);
    expect(slowestMs).toBeLessThan(500);
  });

  it("our own sessions' writes are not captured", async () => {
    const { app, sidecar, source } = await open(18, ITEM_DDL, [ITEM]);
    await sidecar.query(
      "INSERT INTO public.item VALUES (1, 'ours'); UPDATE public.item SET v = 'x'; TRUNCATE public.item; INSERT INTO public.item VALUES (2)",
    );
    expect(await source.window(0, SCOPE)).toBeNull();
    await app.query(
      "BEGIN; SET LOCAL switchback.apply = 'on'; DELETE FROM item; COMMIT; INSERT INTO item VALUES (3)",
    );
    expect(await source.newest()).toBe(1);
  });

  it("TRUNCATE that cannot be followed is refused, not missed", async () => {
    const { app } = await open(18, ITEM_DDL, [ITEM]);
    await app.query("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1");
    await expect(app.query("TRUNCATE item")).rejects.toMatchObject({ code: "0A000" });
    await app.query("ROLLBACK");
  });
});

describe("windows", () => {
  it.each([1, 5_000])("a TRUNCATE that commits while %i changes are read is not seen half", async (rows) => {
    const { app, source, sidecar } = await open(18, ITEM_DDL, [ITEM]);
    const copy = new Copy([ITEM]);
    await app.query("INSERT INTO item SELECT n, 'old' FROM generate_series(1, 6000) n");
    await copy.follow(source);
    await app.query("UPDATE item SET v = 'new' WHERE id <= $1", [rows]);
    // It holds the table, so that the changes are taken before it commits and the rows are read afterwards.
    await sidecar.query("SET switchback.apply = 'off'");
    await sidecar.query("BEGIN; TRUNCATE public.item; INSERT INTO public.item VALUES (7000, 'after')");
    const reading = source.window(copy.position, SCOPE);
    await pause(300);
    await sidecar.query("COMMIT");
    const window = await reading;
    const gone: unknown[] = [];
    for await (const key of eachRow(window?.tables[0]?.gone ?? { kind: "values", values: [] }))
      gone.push(key);
    expect(gone).toHaveLength(6_000);
    await window?.close(false);
  });

  it("a transaction that logged first and commits last is in the later window", async () => {
    const { app, source, database } = await open(18, ITEM_DDL, [ITEM]);
    const copy = new Copy([ITEM]);
    await app.query("INSERT INTO item VALUES (1, 'a'), (2, 'a')");
    await copy.follow(source);
    const slow = await database.client();
    await slow.query("BEGIN; UPDATE item SET v = 'slow' WHERE id = 1");
    await app.query("UPDATE item SET v = 'quick' WHERE id = 2");
    expect(await copy.follow(source)).toBe(1);
    expect(copy.rows("item")).toEqual([
      ["1", "a"],
      ["2", "quick"],
    ]);
    await slow.query("COMMIT");
    expect(await copy.follow(source)).toBe(1);
    expect(copy.rows("item")).toEqual([
      ["1", "slow"],
      ["2", "quick"],
    ]);
  });

  it("what is not applied comes again", async () => {
    const { app, source } = await open(18, ITEM_DDL, [ITEM]);
    await app.query("INSERT INTO item VALUES (1, 'a')");
    const first = await source.window(0, SCOPE);
    expect(first).toMatchObject({ from: 0, to: 1, changes: 1 });
    await first?.close(false);
    await first?.close(true);
    await app.query("UPDATE item SET v = 'b'; INSERT INTO item VALUES (2)");
    const again = await source.window(0, SCOPE);
    expect(again).toMatchObject({
      from: 0,
      to: 3,
      changes: 3,
      tables: [
        {
          table: "item",
          changes: 3,
          rows: {
            values: [
              ["1", "b"],
              ["2", null],
            ],
          },
        },
      ],
    });
    await again?.close(true);
    expect(await source.window(3, SCOPE)).toBeNull();
    expect(await source.newest()).toBe(3);
  });

  it("another position or another owner is a conflict", async () => {
    const { app, source, sidecar } = await open(18, ITEM_DDL, [ITEM]);
    await app.query("INSERT INTO item VALUES (1, 'a')");
    expect(await codeOf(source.window(7, SCOPE))).toBe("POSITION_CONFLICT");
    await sidecar.query("UPDATE switchback.source SET owner = 'somebody else'");
    expect(await codeOf(source.window(0, SCOPE))).toBe("POSITION_CONFLICT");
    await app.query("INSERT INTO item SELECT n FROM generate_series(2, 5000) n");
    expect(await codeOf(source.window(0, SCOPE))).toBe("POSITION_CONFLICT");
    await sidecar.query("UPDATE switchback.source SET owner = $1", [OWNER]);
    const copy = new Copy([ITEM]);
    expect(await copy.follow(source)).toBe(5000);
  });

  it("two readers exclude each other", async () => {
    const { app, source, config, tables } = await open(18, ITEM_DDL, [ITEM]);
    const rival = await PostgresSource.open(config, "s", OWNER);
    rival.follow(tables);
    await app.query("INSERT INTO item VALUES (1, 'a')");
    const mine = await source.window(0, SCOPE);
    const theirs = codeOf(rival.window(0, SCOPE));
    await pause(50);
    await mine?.close(true);
    expect(await theirs).toBe("POSTGRES_TRANSIENT");
    expect(await rival.window(1, SCOPE)).toBeNull();
    await rival.close();
  });

  it.each([1, 5_000])(
    "a session killed while a window of %i changes is read or open says so, and nothing is lost",
    async (count) => {
      const { app, source, config, tables, sidecar } = await open(18, ITEM_DDL, [ITEM]);
      await app.query("INSERT INTO item SELECT n, 'x' FROM generate_series(1, $1::int) n", [count]);
      const window = await source.window(0, SCOPE);
      await sidecar.query(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'switchback read s'",
      );
      expect(await codeOf(window?.close(true) ?? Promise.resolve())).toBe("POSTGRES_UNREACHABLE");
      expect(await codeOf(source.window(0, SCOPE))).toBe("POSTGRES_UNREACHABLE");
      const next = await PostgresSource.open(config, "s", OWNER);
      next.follow(tables);
      expect(await new Copy([ITEM]).follow(next)).toBe(count);
      await next.close();
    },
  );

  it("a statement under way can be ended", async () => {
    const { app, source, sidecar } = await open(18, ITEM_DDL, [ITEM]);
    await app.query("INSERT INTO item VALUES (1, 'a')");
    await sidecar.query("BEGIN; LOCK TABLE switchback.change");
    const stuck = codeOf(source.window(0, SCOPE));
    await pause(100);
    await source.cancel();
    expect(await stuck).toBe("POSTGRES_TRANSIENT");
    await sidecar.query("ROLLBACK");
    expect(await new Copy([ITEM]).follow(source)).toBe(1);
  });

  const WIDE = effort(32, 60);
  it("rows too large for memory go in batches", async () => {
    const { app, source } = await open(18, ITEM_DDL, [ITEM]);
    await app.query(
      "INSERT INTO item SELECT n, repeat(md5(n::text), 40000) FROM generate_series(1, $1::int) n",
      [WIDE],
    );
    await app.query("INSERT INTO item VALUES ($1, repeat('x', 20000000)), ($2, '')", [WIDE + 1, WIDE + 2]);
    await app.query("DELETE FROM item WHERE id <= 2");
    const window = await source.window(0, SCOPE);
    const rows = window?.tables[0]?.rows;
    if (rows?.kind !== "batches") throw new Error("not in batches");
    const seen = new Map<string, number>();
    let largest = 0;
    for await (const batch of rows.batches()) {
      const bytes = batch.reduce((sum, [, v]) => sum + (v?.length ?? 0), 0);
      if (batch.length > 1) largest = Math.max(largest, bytes);
      for (const [id, v] of batch) seen.set(id ?? "", v?.length ?? 0);
    }
    expect(largest).toBeLessThan(30_000_000);
    expect(seen.size).toBe(WIDE);
    expect(seen.get("3")).toBe(1_280_000);
    expect(seen.get(String(WIDE + 1))).toBe(20_000_000);
    const gone: unknown[] = [];
    for await (const key of eachRow(window?.tables[0]?.gone ?? { kind: "values", values: [] }))
      gone.push(key[0]);
    expect(gone.sort()).toEqual(["1", "2"]);
    await window?.close(true);
  });

  const KEPT = effort(16_000, 200_000);
  it(`a backlog of ${KEPT * 1.5} changes takes bounded memory, and the log is quick again after it`, async () => {
    const PAIR = mappingOf("pair", { a: "text", b: "bigint", v: "text" }, ["b", "a"]);
    const { app, source, sidecar } = await open(
      18,
      `${ITEM_DDL}; CREATE TABLE pair (a text, b bigint, v text, PRIMARY KEY (b, a))`,
      [ITEM, PAIR],
    );
    await app.query("INSERT INTO item SELECT n, repeat('v', 900) FROM generate_series(1, $1::int) n", [KEPT]);
    await app.query("INSERT INTO pair SELECT 'k' || n, n, 'v' FROM generate_series(1, $1::int) n", [
      KEPT / 4,
    ]);
    await app.query("DELETE FROM item WHERE id % 4 = 0");
    global.gc?.();
    const before = process.memoryUsage();
    let peak = 0;
    const started = performance.now();
    const window = await source.window(0, SCOPE);
    expect(window?.changes).toBe(KEPT * 1.5);
    const counts = { rows: 0, gone: 0 };
    for (const { rows, gone } of window?.tables ?? []) {
      for (const [name, part] of [
        ["gone", gone],
        ["rows", rows],
      ] as const) {
        for await (const row of eachRow(part)) {
          if (counts[name]++ % 1000 === 0) {
            const now = process.memoryUsage();
            peak = Math.max(peak, now.rss - before.rss);
          }
          expect(row.length).toBeGreaterThan(0);
        }
      }
    }
    await window?.close(true);
    console.log(
      `${KEPT * 1.5} changes: ${Math.round(performance.now() - started)} ms, memory grew by ${Math.round(peak / 2 ** 20)} MiB at most`,
    );
    expect(counts).toEqual({ rows: KEPT, gone: KEPT / 4 });
    expect(peak).toBeLessThan(300 * 2 ** 20);
    await expect
      .poll(
        async () =>
          Number((await sidecar.query("SELECT pg_relation_size('switchback.change') AS n")).rows[0].n),
        { timeout: 10_000 },
      )
      .toBeLessThan(2 ** 20);
  });
});

describe(`exact under concurrent writers, seed ${SEED}`, () => {
  const ACCOUNTS = 40;
  const EACH = 1_000;
  /** Windows while there are writers: a busy machine takes longer for them. */
  const ENOUGH = 20;
  const ACCOUNT = mappingOf("account", { id: "bigint", balance: "bigint" }, ["id"]);
  const TRANSFER = mappingOf("transfer", { id: "uuid", amount: "bigint" }, ["id"]);

  it.each(VERSIONS)("money is neither made nor lost in any window, PostgreSQL %i", async (version) => {
    const { app, source, database, sidecar } = await open(
      version,
      `CREATE TABLE account (id bigint PRIMARY KEY, balance bigint NOT NULL);
       CREATE TABLE transfer (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), amount bigint)`,
      [ACCOUNT, TRANSFER],
    );
    const copy = new Copy([ACCOUNT, TRANSFER]);
    await app.query("INSERT INTO account SELECT n, $1::int FROM generate_series(1, $2::int) n", [
      EACH,
      ACCOUNTS,
    ]);
    const until = performance.now() + effort(1_500, 4_000);
    const writers = await Promise.all(
      [0, 1, 2, 3].map(async (n) => ({ n, client: await database.client() })),
    );
    let windows = 0;
    const outcomes = writers.map(async ({ n, client }) => {
      const random = generator(SEED + n);
      let done = 0;
      while (performance.now() < until || windows < ENOUGH)
        done += await transfer(client, random, ACCOUNTS, n % 2 === 1);
      return done;
    });
    const signal = new AbortController().signal;
    const writing = Promise.all(outcomes).then((done) => done.reduce((sum, count) => sum + count, 0));
    let over = false;
    void writing.finally(() => {
      over = true;
    });
    for (let quiet = false; !(over && quiet); ) {
      quiet = (await copy.follow(source)) === 0;
      if (quiet) await source.wait(100, signal);
      else windows++;
      const total = copy.rows("account").reduce((sum, [, balance]) => sum + Number(balance), 0);
      expect(total, `seed ${SEED}, window ${windows}`).toBe(ACCOUNTS * EACH);
    }
    // What was committed between the last look and the writers' end.
    while ((await copy.follow(source)) > 0) windows++;
    console.log(`seed ${SEED}: ${await writing} transfers, ${windows} windows`);
    expect(windows).toBeGreaterThanOrEqual(ENOUGH);
    for (const mapping of [ACCOUNT, TRANSFER]) {
      expect(copy.rows(mapping.table.name)).toEqual(await present(sidecar, mapping));
    }
    expect(copy.rows("transfer").length).toBe(await writing);
    expect(await source.newest()).toBe(copy.position);
  });
});

/** One transfer between two accounts, sometimes slow, sometimes rolled back; 1 when it was committed. */
async function transfer(
  client: pg.Client,
  random: () => number,
  accounts: number,
  repeatable: boolean,
): Promise<number> {
  const account = () => 1 + Math.floor(random() * accounts);
  const [from, to, amount] = [account(), account(), Math.floor(random() * 10)];
  try {
    await client.query(repeatable ? "BEGIN ISOLATION LEVEL REPEATABLE READ" : "BEGIN");
    await client.query("UPDATE account SET balance = balance - $2 WHERE id = $1", [from, amount]);
    if (random() < 0.1) await pause(random() * 20);
    await client.query("UPDATE account SET balance = balance + $2 WHERE id = $1", [to, amount]);
    await client.query("INSERT INTO transfer (amount) VALUES ($1)", [amount]);
    const { command } = await client.query(random() < 0.1 ? "ROLLBACK" : "COMMIT");
    return command === "COMMIT" ? 1 : 0;
  } catch (error) {
    // Deadlocks and serialization failures are the writers' own affair.
    if (!/^40/.test(String((error as { code?: unknown }).code))) throw error;
    await client.query("ROLLBACK");
    return 0;
  }
}

describe(`values come in the form that encode gives, seed ${SEED}`, () => {
  const AFFINITIES: readonly Affinity[] = ["INTEGER", "NUMERIC", "REAL", "TEXT", "BLOB"];
  const TYPES = [
    ...[
      "bigint",
      "integer",
      "smallint",
      "double precision",
      "real",
      "numeric",
      "numeric(10,2)",
      "numeric(4,4)",
    ],
    ...["text", "varchar(5)", "char(3)", "boolean", "date", "time", "timestamp", "timestamptz", "uuid"],
    ...["jsonb", "json", "bytea", "any"],
  ].map((type) => ({ type, spelling: undefined }));
  const KINDS = [...TYPES, { type: "boolean", spelling: "no/yes" }, { type: "uuid", spelling: "upper" }];

  it.each(KINDS)("$type $spelling", async ({ type, spelling }) => {
    const kinds = AFFINITIES.map((affinity) => ({
      type,
      affinity,
      ...(spelling === undefined ? {} : { spelling }),
    }));
    const tables = kinds.map((spec, i) => mappingOf(`v${i}`, { id: "bigint", v: spec }, ["id"]));
    // json has no equality and so no key.
    const keyed =
      type === "json" ? [] : kinds.map((spec, i) => mappingOf(`k${i}`, { v: spec, n: "bigint" }, ["v"]));
    const sqlType = codecFor({ type, affinity: "BLOB" }).type;
    const ddl = [
      ...tables.map(({ target }) => `CREATE TABLE ${target} (id bigint PRIMARY KEY, v ${sqlType})`),
      ...keyed.map(({ target }) => `CREATE TABLE ${target} (v ${sqlType} PRIMARY KEY, n bigint DEFAULT 1)`),
    ].join(";");
    const { app, source } = await open(18, ddl, [...tables, ...keyed]);
    const copy = new Copy([...tables, ...keyed]);
    // The application's session prints as it likes.
    await app.query(
      "SET DateStyle = 'SQL, DMY'; SET TimeZone = 'Asia/Tokyo'; SET bytea_output = 'escape'; SET extra_float_digits = 0",
    );
    let held = 0;
    for (const [i, spec] of kinds.entries()) {
      const codec = codecFor(spec);
      const texts = new Map<string, string>();
      for (const [id, value] of randomValues(SEED + i, effort(300, 2_000)).entries()) {
        if (value === null || value instanceof InvalidText) continue;
        const text = codec.encode(storedAs(value, spec.affinity));
        if (typeof text === "string") texts.set(String(id), text);
      }
      held += texts.size;
      const values = [[...texts.keys()], [...texts.values()]];
      // What the sessions' settings would misread is read as the interchange form before.
      const reader = await here?.database.client();
      await reader?.query("SET TimeZone = 'UTC'; SET DateStyle = 'ISO, MDY'");
      await reader?.query(
        `INSERT INTO v${i} SELECT id, v::${sqlType} FROM unnest($1::bigint[], $2::text[]) AS x(id, v)`,
        values,
      );
      await copy.follow(source);
      const found = new Map(copy.rows(`v${i}`).map(([id, v]) => [id, v]));
      for (const [id, text] of texts) expect(found.get(id), `${JSON.stringify(spec)} ${text}`).toBe(text);
      expect(found.size).toBe(texts.size);
      if (type === "json") continue;

      await reader?.query(
        `INSERT INTO k${i} SELECT DISTINCT v::${sqlType} FROM unnest($1::text[]) AS x(v) WHERE length(v) < 2000 ON CONFLICT DO NOTHING`,
        [[...texts.values()]],
      );
      await copy.follow(source);
      const all = new Set(texts.values());
      const keys = copy.rows(`k${i}`);
      for (const [key] of keys) expect(all, `${JSON.stringify(spec)} ${key}`).toContain(key);
      await app.query(`UPDATE k${i} SET n = 2`);
      await copy.follow(source);
      expect(copy.rows(`k${i}`)).toEqual(keys.map(([key]) => [key, "2"]));
      await app.query(`DELETE FROM k${i}`);
      await copy.follow(source);
      expect(copy.rows(`k${i}`)).toEqual([]);
    }
    expect(held).toBeGreaterThan(0);
  });

  it("what SQLite cannot hold stays as PostgreSQL prints it, for the target to refuse", async () => {
    const T = mappingOf(
      "t",
      { id: "bigint", n: { type: "numeric", affinity: "NUMERIC" }, d: "double precision" },
      ["id"],
    );
    const { app, source } = await open(
      18,
      "CREATE TABLE t (id bigint PRIMARY KEY, n numeric, d double precision)",
      [T],
    );
    const copy = new Copy([T]);
    await app.query("INSERT INTO t VALUES (1, 12345678901234567890.12345, 'NaN'), (2, 1.500, 1e15)");
    await copy.follow(source);
    expect(copy.rows("t")).toEqual([
      ["1", "12345678901234567890.12345", "NaN"],
      ["2", "1.5", "1000000000000000"],
    ]);
    expect(codecFor({ type: "double precision", affinity: "REAL" }).decode("NaN")).toBeInstanceOf(Refusal);
  });
});

describe("waiting", () => {
  const never = new AbortController().signal;
  const waited = async (source: PostgresSource, ms: number, signal = never) => {
    const started = performance.now();
    await source.wait(ms, signal);
    return performance.now() - started;
  };

  it("ends with a commit, the time or the signal, and a commit during a window is not lost", async () => {
    const { app, source } = await open(18, ITEM_DDL, [ITEM]);
    expect(await waited(source, 60)).toBeGreaterThan(50);
    const copy = new Copy([ITEM]);
    const woken = waited(source, 10_000);
    await app.query("INSERT INTO item VALUES (1, 'a')");
    expect(await woken).toBeLessThan(1_000);

    const window = await source.window(0, SCOPE);
    await app.query("INSERT INTO item VALUES (2, 'b')");
    await pause(50);
    if (window) await copy.apply(window);
    expect(await waited(source, 10_000)).toBeLessThan(1_000);
    expect(await copy.follow(source)).toBe(1);
    expect(await waited(source, 60)).toBeGreaterThan(50);

    const control = new AbortController();
    setTimeout(() => control.abort(), 50);
    expect(await waited(source, 10_000, control.signal)).toBeLessThan(1_000);
    expect(await waited(source, 10_000, control.signal)).toBeLessThan(50);
  });

  it("asleep after a while, a write wakes it by a notification, and no one notifies while it is awake", async () => {
    const { app, source, sidecar } = await open(18, ITEM_DDL, [ITEM]);
    const sleepers = async () => (await sidecar.query("SELECT 1 FROM switchback.sleeper")).rowCount;
    let notified = 0;
    sidecar.on("notification", () => {
      notified += 1;
    });
    await sidecar.query("LISTEN switchback");
    const copy = new Copy([ITEM]);
    await app.query("INSERT INTO item VALUES (1, 'a')");
    await source.wait(10_000, never);
    await copy.follow(source);
    expect([await sleepers(), notified]).toEqual([0, 0]);

    const woken = source.wait(60_000, never);
    for (let tries = 0; (await sleepers()) === 0 && tries < 100; tries++) await pause(50);
    expect(await sleepers()).toBe(1);
    // Long enough for the poll behind to be between two looks.
    await pause(100);
    const started = performance.now();
    await app.query("INSERT INTO item VALUES (2, 'b')");
    await woken;
    expect(performance.now() - started).toBeLessThan(1_000);
    expect(await copy.follow(source)).toBeGreaterThan(0);
    expect([await sleepers(), notified]).toEqual([0, 1]);
  });

  it("a watching session that ended says so immediately, and ever after", async () => {
    const { source, sidecar } = await open(18, ITEM_DDL, [ITEM]);
    const woken = codeOf(source.wait(10_000, never));
    await sidecar.query(
      "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'switchback watch s'",
    );
    expect(await woken).toBe("POSTGRES_UNREACHABLE");
    expect(await codeOf(source.wait(10_000, never))).toBe("POSTGRES_UNREACHABLE");
  });

  const COMMITS = effort(300, 1_000);
  it("a commit is in a window within milliseconds", async () => {
    const { app, source } = await open(18, ITEM_DDL, [ITEM]);
    const copy = new Copy([ITEM]);
    const lagsMs: number[] = [];
    const windowsMs: number[] = [];
    const committed = new Map<string, number>();
    let over = false;
    const writing = (async () => {
      for (let id = 1; id <= COMMITS; id++) {
        await app.query("INSERT INTO item VALUES ($1, 'x')", [id]);
        committed.set(String(id), performance.now());
        await pause(2);
      }
      over = true;
    })();
    const seen = new Set<string>();
    while (!over || seen.size < COMMITS) {
      const started = performance.now();
      const window = await source.window(copy.position, SCOPE);
      if (!window) {
        await source.wait(1_000, never);
        continue;
      }
      const now = performance.now();
      windowsMs.push(now - started);
      for await (const [id] of eachRow(window.tables[0]?.rows ?? { kind: "values", values: [] })) {
        seen.add(id ?? "");
        lagsMs.push(Math.max(0, now - (committed.get(id ?? "") ?? now)));
      }
      await copy.apply(window);
    }
    await writing;
    const at = (list: number[], share: number) =>
      list.sort((a, b) => a - b)[Math.floor(list.length * share)]?.toFixed(2);
    console.log(
      `commit to window p50 ${at(lagsMs, 0.5)} ms, p99 ${at(lagsMs, 0.99)} ms; reading a window p50 ${at(windowsMs, 0.5)} ms, p99 ${at(windowsMs, 0.99)} ms`,
    );
    expect(Number(at(lagsMs, 0.5))).toBeLessThan(100);
  });
});
