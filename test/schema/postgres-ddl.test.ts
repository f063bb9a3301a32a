// The target's DDL in real servers, the oldest and the newest: it runs as printed, defaults give what SQLite's
// give, constraints refuse what SQLite's refuse, names survive. And what stands in a target already is judged.
import Database from "better-sqlite3";
import type pg from "pg";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import type { SourceConfig, TableConfig } from "#switchback/config/config.js";
import { decideMappings } from "#switchback/mapping/decide.js";
import { inspectTarget } from "#switchback/postgres/ddl/inspect.js";
import { buildTargetSchema, type TargetSchema, type TargetTable } from "#switchback/postgres/ddl/tables.js";
import { readSchema } from "#switchback/sqlite/schema.js";
import { type TestDatabase, testDatabase } from "../support/servers.js";

const LONG = "a_name_that_is_longer_than_the_sixty_three_bytes_that_postgresql_holds";

const SCHEMA = `
  CREATE TABLE "Mixed Case"("Id" INTEGER PRIMARY KEY AUTOINCREMENT, "say ""hi""" TEXT, "select" TEXT, "Ünï côde" REAL, ctid TEXT);
  CREATE TABLE "order"("user" INTEGER PRIMARY KEY, "from" TEXT);
  CREATE TABLE defaults(id INTEGER PRIMARY KEY, n NUMERIC DEFAULT false, b BOOLEAN DEFAULT 0, b1 BOOLEAN NOT NULL DEFAULT true,
    z TEXT DEFAULT 'null', o TEXT DEFAULT open, ts TEXT DEFAULT CURRENT_TIMESTAMP, dt TEXT DEFAULT (datetime('now')),
    d TEXT DEFAULT (date('now')), f TEXT DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')), i INTEGER DEFAULT -5, h INTEGER DEFAULT 0x10,
    x BLOB DEFAULT x'00ff', e REAL DEFAULT 1.5e3, p DECIMAL(10,2) DEFAULT 1.50, t TEXT DEFAULT 'back\\slash ''quote''',
    u INTEGER DEFAULT (unixepoch()), ms INTEGER DEFAULT (CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER)), any_ DEFAULT 'a',
    hexed TEXT DEFAULT (lower(hex(randomblob(16)))), none TEXT DEFAULT NULL, sum INTEGER DEFAULT (60 * 60));
  CREATE TABLE ${LONG}_one(${LONG}_a INTEGER PRIMARY KEY, ${LONG}_b TEXT, ${LONG}_c TEXT UNIQUE);
  CREATE TABLE ${LONG}_two(id INTEGER PRIMARY KEY, a INTEGER REFERENCES ${LONG}_one);
  CREATE INDEX ${LONG}_index_b ON ${LONG}_one(${LONG}_b);
  CREATE INDEX ${LONG}_index_c ON ${LONG}_one(${LONG}_c DESC);
  CREATE TABLE item(id INTEGER PRIMARY KEY, sku TEXT COLLATE NOCASE UNIQUE, name TEXT, price REAL CHECK (price >= 0), stock INT,
    gone BOOLEAN NOT NULL DEFAULT 0 CHECK (gone IN (0, 1)), kind TEXT CONSTRAINT kinds CHECK (kind IN ('a', 'b')),
    total REAL AS (price * stock), label TEXT AS (upper(name) || '#' || id) STORED, year AS (strftime('%Y', name)), hash TEXT COLLATE RTRIM,
    CHECK (length(name) < 10), CHECK (name NOT LIKE '%DROP%'), CONSTRAINT odd CHECK (printf('%s', name) <> 'x'), UNIQUE(name, kind));
  CREATE UNIQUE INDEX item_live ON item(name) WHERE gone = 0;
  CREATE INDEX item_down ON item(price DESC, name COLLATE NOCASE);
  CREATE INDEX item_lower ON item(lower(name), stock + 1);
  CREATE INDEX item_year ON item(strftime('%Y', name));
  CREATE INDEX item_hash ON item(hash);
  CREATE INDEX item_label ON item(label);
  CREATE TABLE item_pkey(id INTEGER PRIMARY KEY);
  CREATE TABLE place(country TEXT, city TEXT, PRIMARY KEY(country, city)) WITHOUT ROWID;
  CREATE TABLE visit(id INTEGER PRIMARY KEY, country TEXT, city TEXT, item INTEGER REFERENCES item ON DELETE SET NULL, sku TEXT REFERENCES item(sku),
    wrong TEXT REFERENCES item(id), FOREIGN KEY(country, city) REFERENCES place ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED);
  CREATE TABLE tag(name TEXT COLLATE NOCASE PRIMARY KEY);
  CREATE TABLE nulls(code TEXT PRIMARY KEY, v, parent TEXT REFERENCES nulls(code));
  CREATE TABLE exact(id INTEGER PRIMARY KEY, i INT NOT NULL, r REAL, t TEXT, b BLOB, a ANY) STRICT;
  CREATE TABLE keyless("a b", c INTEGER);
  CREATE TABLE named(id INTEGER PRIMARY KEY, a TEXT NOT NULL CONSTRAINT named_a_not_null CHECK (a IS NOT NULL), "" TEXT, "a""b" INT UNIQUE,
    b INT CONSTRAINT named_pkey CHECK (b > 0) CONSTRAINT named_b_key CHECK (b > 1) UNIQUE, c INTEGER REFERENCES named(b) CONSTRAINT named_c_fkey CHECK (c > 0));
  CREATE TABLE wide(${Array.from({ length: 40 }, (_, n) => `c${n}`).join(", ")}, UNIQUE(${Array.from({ length: 33 }, (_, n) => `c${n}`).join(", ")}));
  INSERT INTO nulls VALUES (NULL, 1, NULL), (NULL, 2, NULL), ('a', 3, 'a');
  INSERT INTO defaults(id) VALUES (1);`;

const source = (tables: Record<string, TableConfig> = {}): SourceConfig => ({
  name: "app",
  sqlite: "/nowhere",
  schema: "public",
  target: "create",
  lengths: "drop",
  include: ["*"],
  exclude: [],
  tables,
});

let sqlite: Database.Database;
let built: TargetSchema;
const databases: TestDatabase[] = [];

function buildFrom(db: Database.Database, config: SourceConfig = source()): TargetSchema {
  return buildTargetSchema(decideMappings(db, readSchema(db), config).mappings);
}

beforeAll(() => {
  sqlite = new Database(":memory:");
  sqlite.exec(SCHEMA);
  built = buildFrom(sqlite);
});
afterEach(async () => {
  for (const database of databases.splice(0)) await database.drop();
});
afterAll(() => {
  sqlite.close();
});

async function freshClient(version: 15 | 18 = 18): Promise<pg.Client> {
  const database = await testDatabase(version);
  databases.push(database);
  return database.client();
}

function statements({ tables }: TargetSchema): string[] {
  return [
    ...tables.map((table) => table.create),
    ...tables.flatMap((table) => [table.primaryKey, ...table.indexes].map((statement) => statement.sql)),
    ...tables.flatMap((table) => table.foreignKeys.map((key) => key.sql)),
  ];
}

function tableOf(schema: TargetSchema, name: string): TargetTable {
  const table = schema.tables.find((t) => t.mapping.table.name === name);
  if (!table) throw new Error(`no table ${name}`);
  return table;
}

const refusal = (client: pg.Client, sql: string): Promise<string> =>
  client.query(sql).then(
    () => "accepted",
    (error: { code?: string }) => error.code ?? "?",
  );

test.each([15, 18] as const)(
  "every statement runs in PostgreSQL %i, and reads as one script",
  async (version) => {
    const client = await freshClient(version);
    for (const sql of statements(built)) await client.query(sql);
    const again = await freshClient(version);
    await again.query(`${statements(built).join(";\n")};`);
  },
);

test("the same mappings give the same statements, with names that are unique and fit", () => {
  expect(statements(buildFrom(sqlite))).toEqual(statements(built));
  const names = built.tables.flatMap((t) => [
    t.mapping.target,
    t.primaryKey.name,
    ...t.indexes.map((index) => index.name),
  ]);
  expect(new Set(names).size).toBe(names.length);
  for (const name of names) expect(Buffer.byteLength(name)).toBeLessThanOrEqual(63);
  // The table item_pkey has the name that item's primary key would have had.
  expect(tableOf(built, "item").primaryKey.name).toMatch(/^item_pkey_[0-9a-f]{8}$/);
  expect(tableOf(built, "item").indexes.map((index) => index.name)).toContain("item_live");
});

test("what has no exact counterpart is named, each once, and nothing else", () => {
  expect(built.oddities.map((oddity) => `${oddity.kind}: ${oddity.table}.${oddity.name}`).sort()).toEqual([
    "check: item.odd",
    "column: item.hash",
    "column: item.sku",
    "column: tag.name",
    "foreign key: visit.sku",
    "foreign key: visit.wrong",
    "generated column: item.year",
    "index: item.item_hash",
    "index: item.item_year",
    "index: wide.sqlite_autoindex_wide_1",
  ]);
});

test("a row of defaults is what SQLite makes of it", async () => {
  const client = await freshClient();
  const table = tableOf(built, "defaults");
  await client.query(table.create);
  await client.query("SET TIME ZONE 'Asia/Tokyo'; INSERT INTO defaults(id) VALUES (1)");
  const [row] = (
    await client.query<Record<string, string>>({
      text: "SELECT * FROM defaults",
      types: { getTypeParser: () => String },
    })
  ).rows;
  const [own] = sqlite.prepare<[], Record<string, never>>("SELECT * FROM defaults").safeIntegers().all();
  const clock = new Set(["ts", "dt", "d", "f", "u", "ms", "hexed"]);
  for (const { column, target, codec } of table.mapping.columns) {
    if (column === null || clock.has(column)) continue;
    expect(row?.[target] ?? null, column).toEqual(printed(codec.encode(own?.[column] ?? null)));
  }
  const shape = (value: unknown): string => String(value).replace(/\d/g, "9");
  for (const name of ["ts", "dt", "d", "f", "u", "ms"])
    expect(shape(row?.[name]), name).toBe(shape(own?.[name]));
  expect(row?.hexed).toMatch(/^[0-9a-f]{32}$/);
  const minute = 60_000;
  for (const name of ["ts", "dt"])
    expect(Math.abs(Date.parse(`${row?.[name]}Z`) - Date.now())).toBeLessThan(minute);
  expect(Math.abs(Number(row?.u) * 1000 - Date.now())).toBeLessThan(minute);
  expect(Math.abs(Number(row?.ms) - Date.now())).toBeLessThan(minute);
});

/** As PostgreSQL prints the codec's text for the types of the table. */
function printed(text: unknown): unknown {
  if (text === "true" || text === "false") return text === "true" ? "t" : "f";
  return text;
}

test("constraints and unique indexes refuse what SQLite's refuse", async () => {
  const client = await freshClient();
  for (const sql of statements(built)) await client.query(sql);
  const insert = "INSERT INTO item(id, sku, name, price, stock, gone, kind) VALUES";
  const both = async (values: string): Promise<[boolean, string]> => {
    const inSqlite = values.replaceAll("false", "0").replaceAll("true", "1");
    let accepted = true;
    try {
      sqlite.exec(`${insert} ${inSqlite}`);
    } catch {
      accepted = false;
    }
    return [accepted, await refusal(client, `${insert} ${values}`)];
  };
  expect(await both("(1, 'A-1', 'chair', 2.5, 3, false, 'a')")).toEqual([true, "accepted"]);
  expect(await both("(2, 'a-1', 'table', 1, 1, false, 'a')")).toEqual([false, "23505"]);
  expect(await both("(3, 'É', 'chair', 1, 1, false, 'b')")).toEqual([false, "23505"]);
  expect(await both("(3, 'É', 'chair', 1, 1, true, 'b')")).toEqual([true, "accepted"]);
  expect(await both("(4, 'é', 'chair', 1, 1, true, NULL)")).toEqual([true, "accepted"]);
  expect(await both("(5, 'é5', 'chair', 1, 1, true, NULL)")).toEqual([true, "accepted"]);
  expect(await both("(6, NULL, 'chair', -0.1, 1, true, NULL)")).toEqual([false, "23514"]);
  expect(await both("(7, NULL, 'a drop it', 1, 1, true, NULL)")).toEqual([false, "23514"]);
  expect(await both("(8, NULL, '0123456789', 1, 1, true, NULL)")).toEqual([false, "23514"]);
  expect(await both("(9, NULL, NULL, NULL, NULL, true, 'c')")).toEqual([false, "23514"]);
  const query = "SELECT id, total, label FROM item ORDER BY id";
  expect((await client.query(query)).rows.map((r) => [Number(r.id), r.total, r.label])).toEqual(
    sqlite.prepare(query).raw().all(),
  );
});

test("foreign keys act as declared, and SQLite's NULLs in a key live on under a unique constraint", async () => {
  const client = await freshClient();
  for (const sql of statements(built)) await client.query(sql);
  await client.query(
    "INSERT INTO nulls VALUES (NULL, '1', NULL, 1), (NULL, '2', NULL, 2), ('a', '3', 'a', 3)",
  );
  expect(await refusal(client, "INSERT INTO nulls VALUES ('a', '4', NULL, 4)")).toBe("23505");
  expect(await refusal(client, "INSERT INTO nulls VALUES ('b', '4', 'nobody', 4)")).toBe("23503");
  // Deferred: the child may come first.
  await client.query(
    "BEGIN; INSERT INTO visit(id, country, city) VALUES (1, 'ar', 'ba'); INSERT INTO place VALUES ('ar', 'ba'); COMMIT",
  );
  await client.query("DELETE FROM place");
  expect((await client.query("SELECT * FROM visit")).rows).toEqual([]);
  await client.query("INSERT INTO tag VALUES ('A')");
  expect(await refusal(client, "INSERT INTO tag VALUES ('a')")).toBe("23505");
});

test("a foreign key can be added beside orphans, and validated once they are gone", async () => {
  const db = new Database(":memory:");
  db.exec("CREATE TABLE p(id INTEGER PRIMARY KEY); CREATE TABLE c(id INTEGER PRIMARY KEY, p REFERENCES p)");
  db.exec("DROP TABLE c; CREATE TABLE c(id INTEGER PRIMARY KEY, p INTEGER REFERENCES p)");
  const { tables } = buildFrom(db);
  const client = await freshClient();
  for (const table of tables) await client.query(table.create);
  for (const table of tables) await client.query(table.primaryKey.sql);
  await client.query("INSERT INTO c VALUES (1, 99)");
  const [key] = tables.flatMap((table) => table.foreignKeys);
  await client.query(key?.sql ?? "");
  const validate = `ALTER TABLE c VALIDATE CONSTRAINT ${key?.name}`;
  expect(await refusal(client, validate)).toBe("23503");
  await client.query("DELETE FROM c");
  expect(await refusal(client, validate)).toBe("accepted");
});

test("texts of any length may refer to each other", async () => {
  const db = new Database(":memory:");
  db.exec(
    "CREATE TABLE p(id VARCHAR(30) PRIMARY KEY NOT NULL); CREATE TABLE c(id INTEGER PRIMARY KEY, p TEXT REFERENCES p)",
  );
  const schema = buildFrom(db, { ...source(), lengths: "keep" });
  const client = await freshClient(15);
  for (const sql of statements(schema)) await client.query(sql);
  expect(tableOf(schema, "c").foreignKeys).toHaveLength(1);
  expect(await refusal(client, "INSERT INTO c VALUES (1, 'x')")).toBe("23503");
});

describe("inspectTarget", () => {
  const messages = (
    findings: readonly { code: string; table?: string; column?: string; message: string }[],
  ): string[] => findings.map((f) => `${f.code} ${f.table ?? ""}.${f.column ?? ""}: ${f.message}`);

  test("create: an empty database is fine, and so is one with the very same empty tables", async () => {
    const client = await freshClient(15);
    const before = await inspectTarget(client, built.tables, "create", "app");
    expect(before.findings).toEqual([]);
    expect(new Set(before.tables.values())).toEqual(new Set(["absent"]));
    for (const sql of statements(built)) await client.query(sql);
    const after = await inspectTarget(client, built.tables, "create", "app");
    expect(after.findings).toEqual([]);
    expect(new Set(after.tables.values())).toEqual(new Set(["exists"]));
  });

  test("create: tables that differ or hold rows, and names that are taken, block", async () => {
    const client = await freshClient();
    await client.query(`CREATE TABLE "order"("user" integer PRIMARY KEY, extra text NOT NULL);
      CREATE TABLE place(country text NOT NULL, city text NOT NULL); INSERT INTO place VALUES ('a', 'b'), ('c', 'd');
      CREATE VIEW tag AS SELECT 1 AS name; CREATE SEQUENCE item_live`);
    const { findings, tables } = await inspectTarget(client, built.tables, "create", "app");
    expect(messages(findings).sort()).toEqual([
      "target-mismatch order.extra: have text NOT NULL, want no column extra",
      "target-mismatch order.from: have no column from, want text",
      "target-mismatch order.user: have integer NOT NULL, want bigint NOT NULL",
      "target-mismatch tag.: a view, an index or a sequence has the table's name",
      "target-name-taken item.: the name public.item_live, which an index of item needs, belongs to something else",
      "target-not-empty place.: public.place holds 2 rows that were not copied from SQLite",
    ]);
    expect(findings.every((f) => f.severity === "blocker" && f.source === "app" && f.remedy !== "")).toBe(
      true,
    );
    expect([tables.get("order"), tables.get("place"), tables.get("item")]).toEqual([
      "blocked",
      "blocked",
      "absent",
    ]);
  });

  const ADOPTED = `CREATE TABLE a(id INTEGER PRIMARY KEY, n INTEGER, s VARCHAR(20), made TEXT); CREATE TABLE b(id INTEGER PRIMARY KEY, a INTEGER, k TEXT);
    CREATE TABLE c(id INTEGER PRIMARY KEY, v TEXT)`;

  function adopted(): TargetSchema {
    const db = new Database(":memory:");
    db.exec(ADOPTED);
    return buildFrom(db);
  }

  test("adopt: tables that can hold everything pass, with notes about triggers, identities and references", async () => {
    const client = await freshClient();
    await client.query(`CREATE TABLE a(made text, s varchar, id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, n numeric, extra text, more int NOT NULL DEFAULT 1);
      CREATE TABLE b(id bigint PRIMARY KEY, a bigint REFERENCES a(id), k text, twice bigint GENERATED ALWAYS AS (a * 2) STORED);
      CREATE TABLE c(id bigint PRIMARY KEY, v text NOT NULL);
      CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
      CREATE TRIGGER touch BEFORE UPDATE ON a FOR EACH ROW EXECUTE FUNCTION f();
      CREATE TRIGGER switchback_change AFTER UPDATE ON a FOR EACH ROW EXECUTE FUNCTION f()`);
    const { findings, tables } = await inspectTarget(client, adopted().tables, "adopt", "app");
    expect(messages(findings)).toEqual([
      "identity-always a.id: id is GENERATED ALWAYS AS IDENTITY: the copy overrides it, and its sequence is set at the cutover",
      "target-triggers a.: the table's own triggers (touch) are disabled while SQLite has the writes",
      "target-foreign-keys a.: foreign keys on or to the table (b.b_a_fkey) are dropped while SQLite has the writes",
      "target-foreign-keys b.: foreign keys on or to the table (b.b_a_fkey) are dropped while SQLite has the writes",
      "target-not-null c.v: v is NOT NULL in PostgreSQL and not in SQLite: rows with NULL in it cannot follow",
    ]);
    expect([...tables.values()]).toEqual(["exists", "exists", "exists"]);
  });

  test("adopt: what cannot hold every value or name every row blocks", async () => {
    const client = await freshClient(15);
    await client.query(`CREATE TABLE a(id integer PRIMARY KEY, n bigint GENERATED ALWAYS AS (1) STORED, s varchar(5), must text NOT NULL);
      CREATE TABLE b(id bigint, a bigint, k text, PRIMARY KEY (id, k)) PARTITION BY LIST (k)`);
    const { findings, tables } = await inspectTarget(client, adopted().tables, "adopt", "app");
    expect(messages(findings)).toEqual([
      "target-mismatch a.id: PostgreSQL's column is integer, the mapping says bigint",
      "target-mismatch a.n: PostgreSQL computes n by itself, so SQLite's value cannot be written",
      "target-mismatch a.s: PostgreSQL's column is varchar(5), the mapping says text",
      "target-mismatch a.made: have no column made, want text",
      "target-extra-column a.must: must is NOT NULL without a default, and SQLite has no such column",
      "target-key b.: the table is partitioned and its primary key (id, k) is wider than (id), so PostgreSQL could hold a row twice",
      "target-missing c.: the table public.c does not exist",
    ]);
    expect([...tables.values()]).toEqual(["blocked", "blocked", "blocked"]);
  });

  test("a role without rights, and a read-only server, are told what to grant", async () => {
    const client = await freshClient();
    const database = (await client.query<{ d: string }>("SELECT current_database() AS d")).rows[0]?.d ?? "";
    const role = `r_${database}`;
    await client.query(`CREATE ROLE ${role}; REVOKE CREATE ON SCHEMA public FROM public; REVOKE TEMPORARY ON DATABASE ${database} FROM public;
      SET ROLE ${role}; SET default_transaction_read_only = on`);
    const { findings } = await inspectTarget(client, built.tables, "create", "app");
    await client.query("RESET ROLE");
    await client.query("SET default_transaction_read_only = off");
    await client.query(`DROP OWNED BY ${role}`);
    await client.query(`DROP ROLE ${role}`);
    expect(findings.map((f) => [f.code, f.remedy])).toEqual([
      ["postgres-read-only", "Set default_transaction_read_only to off for this role."],
      ["postgres-rights", `GRANT CREATE ON DATABASE "${database}" TO "${role}";`],
      ["postgres-rights", `GRANT USAGE, CREATE ON SCHEMA "public" TO "${role}";`],
      ["postgres-rights", `GRANT TEMPORARY ON DATABASE "${database}" TO "${role}";`],
    ]);
  });
});
