// switchback's own records, in both stores: installed step by step, upgraded from the first schema, and refused when
// they are newer than the program.
import Database from "better-sqlite3";
import { expect, test } from "vitest";
import { latestOf, migrationsOf, pendingOf } from "#switchback/migrations.js";
import * as postgres from "#switchback/postgres/migrate.js";
import { sql } from "#switchback/sql-files.js";
import * as sqlite from "#switchback/sqlite/migrate.js";
import { testDatabase } from "../support/servers.js";

/** Every object of switchback's, with its definition. */
const OBJECTS = `
  SELECT format('%s.%s %s %s %s', c.relname, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull,
                pg_get_expr(d.adbin, d.adrelid)) AS x
    FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
    LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
   WHERE c.relnamespace = 'switchback'::regnamespace
  UNION ALL
  SELECT pg_get_functiondef(oid) FROM pg_proc WHERE pronamespace = 'switchback'::regnamespace
  UNION ALL
  SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE connamespace = 'switchback'::regnamespace
  ORDER BY 1`;

test("migrations are numbered without a gap, in both stores", () => {
  for (const store of ["postgres", "sqlite"] as const) {
    expect(migrationsOf(store).map(({ number }) => number)).toEqual(
      Array.from({ length: latestOf(store) }, (_, i) => i + 1),
    );
    expect(pendingOf(store, latestOf(store), "here")).toEqual([]);
  }
});

test("PostgreSQL: the first schema is upgraded to what a fresh installation has", async () => {
  const [old, fresh] = [await testDatabase(15), await testDatabase(15)];
  try {
    const client = await old.client();
    expect(await postgres.postgresRecordsVersion(client)).toBe(0);
    await client.query(sql("postgres/migrations/0001_records"));
    await client.query(
      "INSERT INTO switchback.source (name, identity, file, schema) VALUES ('a', 'i', 'f', 's')",
    );
    expect(await postgres.postgresRecordsVersion(client)).toBe(1);
    for (const one of [client, await fresh.client()]) {
      await one.query("BEGIN");
      await postgres.migratePostgres(one);
      await one.query("COMMIT");
      expect(await postgres.postgresRecordsVersion(one)).toBe(latestOf("postgres"));
      expect(await postgres.assertCurrent(one)).toBe(true);
    }
    expect(await old.query(OBJECTS)).toEqual(await fresh.query(OBJECTS));
    expect(await old.query("SELECT name, identity FROM switchback.source")).toEqual([
      { name: "a", identity: "i" },
    ]);
  } finally {
    await old.drop();
    await fresh.drop();
  }
});

test("PostgreSQL: records of a later program are refused, and so are commands on older ones", async () => {
  const database = await testDatabase(15);
  try {
    const client = await database.client();
    await client.query("BEGIN");
    await postgres.migratePostgres(client);
    await client.query("COMMIT");
    await client.query("INSERT INTO switchback.migration VALUES (1000, 'of a later program')");
    await expect(postgres.assertCurrent(client)).rejects.toMatchObject({ code: "RECORDS_NEWER" });
    await client.query("BEGIN");
    await expect(postgres.migratePostgres(client)).rejects.toMatchObject({ code: "RECORDS_NEWER" });
    await client.query("ROLLBACK");
  } finally {
    await database.drop();
  }
});

test("SQLite: the first schema is upgraded to what a fresh installation has, a later one is refused", () => {
  const [old, fresh] = [new Database(":memory:"), new Database(":memory:")];
  const objects = (db: Database.Database) =>
    db.prepare("SELECT type, name, tbl_name FROM sqlite_schema ORDER BY 1, 2").all();
  const columns = (db: Database.Database) =>
    db
      .prepare(
        "SELECT m.name AS t, c.name, c.type FROM sqlite_schema m, pragma_table_xinfo(m.name) c ORDER BY 1, 2",
      )
      .all();
  expect(sqlite.sqliteRecordsVersion(old)).toBe(0);
  old.exec(sql("sqlite/migrations/0001_records"));
  old.exec("INSERT INTO _switchback_log (t, k1) VALUES (1, 7)");
  expect(sqlite.sqliteRecordsVersion(old)).toBe(1);
  for (const db of [old, fresh]) {
    sqlite.migrateSqlite(db);
    expect(sqlite.sqliteRecordsVersion(db)).toBe(latestOf("sqlite"));
    expect(sqlite.isCurrent(db)).toBe(true);
  }
  expect(columns(old)).toEqual(columns(fresh));
  expect(objects(old)).toEqual(objects(fresh));
  expect(old.prepare("SELECT k1 FROM _switchback_log").pluck().all()).toEqual([7]);
  old.exec("INSERT INTO _switchback_migration VALUES (1000, 'of a later program')");
  expect(() => sqlite.migrateSqlite(old)).toThrow(expect.objectContaining({ code: "RECORDS_NEWER" }));
});
