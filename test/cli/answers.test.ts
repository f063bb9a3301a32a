// What commands say where an operator would otherwise look in the wrong place: at which server a command works, and
// remedies that the next command accepts.
import { mkdirSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { ERRORS } from "#switchback/errors.js";
import { command, type Result } from "../support/cli.js";
import { type TestDatabase, testDatabase } from "../support/servers.js";
import { type TestFile, testFile } from "../support/sqlite.js";

let database: TestDatabase;
let file: TestFile;
let configuration: string;

beforeEach(async () => {
  database = await testDatabase();
  file = testFile(
    "CREATE TABLE orders(id INTEGER PRIMARY KEY, status TEXT); INSERT INTO orders VALUES (1, 'new')",
  );
  configuration = join(file.folder, "switchback.yaml");
});
afterEach(async () => {
  await database.drop();
  file.remove();
});

function run(name: string, sources: object, env: Record<string, string> = {}): Promise<Result> {
  writeFileSync(
    configuration,
    JSON.stringify({
      sources: [{ name: "app", sqlite: file.path, ...sources }],
      postgres: { url: database.url },
      http: { listen: "off" },
    }),
  );
  return command([name, "--config", configuration], { env, cwd: file.folder, terminal: true });
}

test("every command says which server and database it works on, and what in the shell replaced the configuration", async () => {
  const { hostname, port, username, pathname } = new URL(database.url);
  const configured = `PostgreSQL is ${username}@${hostname}:${port}${pathname}`;
  for (const name of ["check", "plan", "backfill", "verify", "status", "teardown"])
    expect((await run(name, {})).stderr, name).toContain(configured);
  const replaced = await run("backfill", {}, { PGHOST: "127.0.0.1", PGPORT: "9", PGUSER: "someone" });
  expect(replaced.code).toBe(3);
  expect(replaced.stderr).toContain("PostgreSQL is someone@127.0.0.1:9/");
  expect(replaced.stderr).toMatch(/PGHOST.* in the environment replaced the section of .*switchback\.yaml/);
});

test("a column of the application's own type is to be altered, not mapped to a type that no configuration takes", async () => {
  await database.query(
    "CREATE TYPE state AS (name text); CREATE TABLE orders(id bigint PRIMARY KEY, status state)",
  );
  const { stdout, stderr } = await run("check", { target: "adopt" });
  const said = stdout + stderr;
  expect(said).toContain("Alter the column to text.");
  expect(said).not.toMatch(/\{ type: [^}]*state/);
});

test("another file at the same path is called another one, not the same path twice", async () => {
  expect((await run("backfill", {})).code).toBe(0);
  const other = testFile("CREATE TABLE orders(id INTEGER PRIMARY KEY, status TEXT)", "delete");
  renameSync(other.path, file.path);
  const { code, stderr } = await run("backfill", {});
  expect([code, stderr]).toEqual([4, expect.stringContaining("TARGET_FOREIGN")]);
  expect(stderr.split("TARGET_FOREIGN")[1]?.split("\n")[0]?.split(file.path)).toHaveLength(2);
  other.remove();
});

test("what cannot be read or written for want of a permission names the permission", async () => {
  mkdirSync(configuration);
  const { code, stderr } = await command(["check", "--config", configuration]);
  expect([code, stderr]).toEqual([2, expect.stringContaining("give this user read permission on it")]);
  expect(ERRORS.FLAG_READ_ONLY.hint).toMatch(/^Give this user write permission/);
});
