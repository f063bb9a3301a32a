// What operators meet on ordinary days: a table's name in another case, a status without a sidecar or of one that
// has halted, a column that has our own name.
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { Heartbeat } from "#switchback/cutover/heartbeat-file.js";
import { command } from "../support/cli.js";
import { type TestDatabase, testDatabase } from "../support/servers.js";
import { type TestFile, testFile } from "../support/sqlite.js";

let database: TestDatabase;
let file: TestFile;
const at = (...args: string[]) =>
  command([...args, "--sqlite", file.path, "--postgres", database.url], {
    cwd: file.folder,
    env: { SWITCHBACK_HTTP: "off", SWITCHBACK_ROUTE: join(file.folder, "route.json") },
  });

beforeAll(async () => {
  file = testFile(`
    CREATE TABLE Orders(id INTEGER PRIMARY KEY, v TEXT);
    CREATE TABLE keyless(_switchback_rowid TEXT, v TEXT);
    INSERT INTO Orders VALUES (1, 'one');
    INSERT INTO keyless VALUES ('mine', 'one'), ('mine', 'two');`);
  database = await testDatabase();
});
afterAll(async () => {
  await database.drop();
  file.remove();
});

test("status before anything is installed is refused with the next step", async () => {
  const { code, stderr } = await at("status");
  expect([code, stderr]).toEqual([4, expect.stringContaining("NOT_INSTALLED")]);
});

test("a column with the name of ours becomes a finding and another column", async () => {
  const { code, stdout } = await at("check", "--json");
  expect(code).toBe(0);
  expect((JSON.parse(stdout) as { findings: unknown[] }).findings).toContainEqual(
    expect.objectContaining({ code: "column-renamed", table: "keyless", column: "_switchback_rowid" }),
  );
  expect((await at("backfill")).code).toBe(0);
  expect(
    await database.query(
      "SELECT _switchback_rowid::int AS id, _switchback_rowid_own AS own, v FROM keyless ORDER BY 1",
    ),
  ).toEqual([
    { id: 1, own: "mine", v: "one" },
    { id: 2, own: "mine", v: "two" },
  ]);
  expect((await at("verify", "--json")).code).toBe(0);
});

test("verify takes a table's name in any case, and names those that an unknown one may mean", async () => {
  const { code, stdout } = await at("verify", "--table", "oRDERS", "--json");
  expect([code, JSON.parse(stdout)]).toMatchObject([0, { equal: true, tables: [{ name: "Orders" }] }]);
  const near = await at("verify", "--table", "order");
  expect([near.code, near.stderr]).toEqual([2, expect.stringContaining("did you mean Orders?")]);
  expect((await at("verify", "--table", "elsewhere")).stderr).toContain("there are Orders, keyless");
});

test("without a sidecar the status says so first; one that has halted is not called absent", async () => {
  const alone = await at("status");
  expect(alone.code).toBe(0);
  expect(alone.stdout).toMatch(/^no sidecar is running \(recorded phase streaming\) · writes go to sqlite/);
  expect(alone.stdout).toContain("! NOT_RUNNING");
  const served = { sources: [], database: { address: "h:1/d", id: null } };
  const sign = new Heartbeat([join(file.folder, "route.json")], () => served);
  try {
    sign.start();
    sign.halt({ code: "SQLITE_CORRUPT", message: "the file is damaged", hint: "Restore a backup." });
    const halted = await at("status");
    expect(halted.stdout).toMatch(/^phase halted/);
    expect(halted.stdout).toContain("! SQLITE_CORRUPT the sidecar has halted: the file is damaged");
    expect(halted.stdout).not.toContain("NOT_RUNNING");
  } finally {
    sign.stop();
  }
});
