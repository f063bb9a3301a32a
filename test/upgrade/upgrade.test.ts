// An installation made by an earlier version continues under this one: its records are upgraded at the start, nothing is
// copied again, and writes can move in both directions. The dumps were made by make-dumps.js with the version they
// are named after.
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import Database from "better-sqlite3";
import { afterEach, expect, test } from "vitest";
import { latestOf } from "#switchback/migrations.js";
import { postgresRecordsVersion as versionInPostgres } from "#switchback/postgres/migrate.js";
import { sqliteRecordsVersion as versionInSqlite } from "#switchback/sqlite/migrate.js";
import { Sidecar } from "../support/cli.js";
import { temporaryFolder } from "../support/scratch.js";
import { type TestDatabase, testDatabase, type Version } from "../support/servers.js";
import { openWriter } from "../support/sqlite.js";

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

interface Restored {
  readonly database: TestDatabase;
  readonly file: string;
  readonly writer: Database.Database;
  readonly sidecar: Sidecar;
}

async function restore(name: string, version: Version): Promise<Restored> {
  const text = (store: string) => readFileSync(new URL(`./${name}.${store}.sql`, import.meta.url), "utf8");
  const { folder, remove } = temporaryFolder();
  cleanups.push(remove);
  const file = `${folder}/app.db`;
  const made = new Database(file);
  made.pragma("journal_mode = WAL");
  made.unsafeMode(true);
  made.exec(text("sqlite"));
  made.close();
  const database = await testDatabase(version);
  cleanups.push(() => database.drop());
  const client = await database.client();
  await client.query(text("postgres"));
  const writer = openWriter(file);
  cleanups.push(() => writer.close());
  expect(await versionInPostgres(client)).toBe(1);
  expect(versionInSqlite(writer)).toBe(1);
  const sidecar = await Sidecar.prepare({ sqlite: file, url: database.url });
  cleanups.push(() => sidecar.remove());
  return { database, file, writer, sidecar };
}

/** xmin of every row tells which transaction wrote it: a table that was copied again shows. */
async function untouched(database: TestDatabase): Promise<Record<string, unknown>[]> {
  return database.query("SELECT id::int, xmin::text FROM entry ORDER BY id");
}

async function upgraded({ database, writer }: Restored): Promise<void> {
  expect(await versionInPostgres(await database.client())).toBe(latestOf("postgres"));
  expect(versionInSqlite(writer)).toBe(latestOf("sqlite"));
}

async function equal({ sidecar }: Restored): Promise<void> {
  const { code, stdout } = await sidecar.cli(["verify"]);
  expect(`${code} ${stdout}`).toMatch(/^0 app: equal/);
}

test("streaming: what was logged meanwhile is applied, nothing is copied again, and both flips work", async () => {
  const place = await restore("cf53514-streaming", 15);
  const { database, writer, sidecar } = place;
  const before = await untouched(database);
  sidecar.start();
  await sidecar.waitDrained();
  await upgraded(place);
  expect(await untouched(database)).toEqual(before);
  expect(await database.query("SELECT name FROM account WHERE id = 1")).toEqual([{ name: "Ada L." }]);
  expect(await database.query("SELECT page FROM visit")).toEqual([{ page: "/" }]);
  writer.exec("INSERT INTO entry (account, at, note) VALUES (2, '2024-05-07 00:00:00', 'after the upgrade')");
  await sidecar.waitDrained();
  await equal(place);
  expect((await sidecar.cli(["cutover"])).stdout).toContain("writes go to PostgreSQL (epoch 1)");
  await database.query("INSERT INTO entry (account, note) VALUES (3, 'in PostgreSQL')");
  expect((await sidecar.cli(["revert"])).stdout).toContain("writes go to SQLite (epoch 2)");
  await equal(place);
  expect(await sidecar.term()).toBe(0);
});

test("after a cutover: PostgreSQL keeps the writes, its changes reach SQLite, and the revert works", async () => {
  const place = await restore("cf53514-after-cutover", 18);
  const { database, writer, sidecar } = place;
  const before = await untouched(database);
  writeFileSync(join(sidecar.folder, "flag"), "postgres\n");
  sidecar.start();
  await sidecar.waitPhase("reverse_streaming");
  const name = () => writer.prepare("SELECT name FROM account WHERE id = 2").pluck().get();
  await expect.poll(name, { timeout: 15_000 }).toBe("Grace H.");
  await upgraded(place);
  expect(await untouched(database)).toEqual(before);
  expect(() => writer.exec("DELETE FROM entry")).toThrow("writes have moved to PostgreSQL (epoch 1)");
  await database.query("INSERT INTO entry (account, note) VALUES (3, 'after the upgrade')");
  await equal(place);
  expect((await sidecar.cli(["revert"])).stdout).toContain("writes go to SQLite (epoch 2)");
  writer.exec("INSERT INTO entry (account, note) VALUES (1, 'back in SQLite')");
  await sidecar.waitDrained();
  await equal(place);
  expect(await sidecar.term()).toBe(0);
});
