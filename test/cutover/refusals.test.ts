// Why the writes may not move now: every refusal says its reason, exits 1 and changes nothing.
import { mkdirSync, rmdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { Sidecar } from "../support/cli.js";
import { ask, drained, expectRoute, move, type Store, verify } from "../support/flips.js";
import { differences } from "../support/rows.js";
import { type TestDatabase, testDatabase } from "../support/servers.js";
import { type TestFile, testFile } from "../support/sqlite.js";

const SCHEMA = `
  CREATE TABLE person(id INTEGER PRIMARY KEY, name TEXT UNIQUE COLLATE NOCASE, age INTEGER, made DATETIME,
    CHECK (typeof(age) IN ('integer', 'null') AND ifnull(age, 0) NOT BETWEEN 200 AND 300));
  INSERT INTO person VALUES (1, 'Ann', 30, '2024-01-02 03:04:05'), (2, 'Bob', 40, '2024-01-02 03:04:06');`;

let file: TestFile;
let database: TestDatabase;
let sidecar: Sidecar;

beforeEach(async () => {
  file = testFile(SCHEMA);
  database = await testDatabase(18);
});
afterEach(async () => {
  await sidecar.remove();
  await database.drop();
  file.remove();
});

async function streaming(top: Readonly<Record<string, unknown>> = {}): Promise<void> {
  sidecar = await Sidecar.streaming({ sqlite: file.path, url: database.url, top });
}

/** Asks in vain; the route stays. */
async function expectRefused(to: Store, reason: RegExp, epoch = 0): Promise<void> {
  const { code, document } = await ask(sidecar, to);
  expect(document).toMatchObject({ flipped: false, reason: expect.stringMatching(reason) });
  expect(code).toBe(1);
  await expectRoute(sidecar, file.path, database, to === "postgres" ? "sqlite" : "postgres", epoch);
  expect((await sidecar.metrics()).get('switchback_flips_total{source="app",result="flipped"}') ?? 0).toBe(
    epoch,
  );
}

describe("a cutover is refused", () => {
  test("without a verification, and after one that found a difference", async () => {
    await streaming();
    await expectRefused("postgres", /never verified: run `switchback verify`/);
    const words = await sidecar.cli(["cutover"]);
    expect([words.code, words.stdout]).toEqual([
      1,
      expect.stringMatching(/^app: not moved: .*never verified/),
    ]);
    await database.query("SET switchback.apply = 'on'; UPDATE person SET age = 31 WHERE id = 1");
    expect((await sidecar.cli(["verify"])).code).toBe(1);
    await expectRefused("postgres", /verification of app found 1 row that differs .*run it again/);
    expect((await sidecar.cli(["verify", "--repair"])).code).toBe(0);
    await verify(sidecar);
    await move(sidecar, "postgres");
  });

  test("after a verification that is too old", async () => {
    await streaming({ cutover: { require_verify: "1s" } });
    await verify(sidecar);
    await new Promise((resolve) => setTimeout(resolve, 1_100));
    await expectRefused("postgres", /verification of app is .* old, and cutover\.require_verify is 1 s/);
  });

  test("while a row is quarantined, and not any more when it is repaired", async () => {
    file.writer().exec("INSERT INTO person VALUES (3, 'nul' || char(0) || 'inside', 1, NULL)");
    await streaming();
    await sidecar.cli(["verify"]);
    await expectRefused("postgres", /person/);
    file.writer().exec("UPDATE person SET name = 'mended' WHERE id = 3");
    await drained(sidecar, "sqlite");
    await verify(sidecar);
    await move(sidecar, "postgres");
    expect(await differences(file.path, database.url)).toEqual([]);
  });

  test("while the route cannot be published", async () => {
    await streaming();
    await verify(sidecar);
    const route = join(sidecar.folder, "route.json");
    rmSync(route);
    // In the way of every user, root as well.
    mkdirSync(route);
    await sidecar.waitFor("a problem", ({ problems }) =>
      JSON.stringify(problems).includes("ROUTE_UNWRITABLE"),
    );
    const { code, document } = await ask(sidecar, "postgres");
    expect([code, document]).toEqual([
      1,
      {
        flipped: false,
        epoch: 0,
        pauseMs: 0,
        reason: expect.stringMatching(/route\.json cannot be written/),
        sources: ["app"],
      },
    ]);
    rmdirSync(route);
    await sidecar.waitFor("the route", ({ problems }) => problems.length === 0);
    await move(sidecar, "postgres");
  });

  test("while PostgreSQL is too far behind", async () => {
    await streaming({ cutover: { max_lag: "500ms" } });
    await verify(sidecar);
    const locker = await database.client();
    await locker.query("BEGIN; LOCK TABLE person IN ACCESS EXCLUSIVE MODE");
    file.writer().exec("UPDATE person SET age = age + 1");
    await sidecar.waitFor("a lag", ({ sources }) => (sources[0]?.lag.seconds ?? 0) > 0.6);
    const { code, document } = await ask(sidecar, "postgres");
    expect(document).toMatchObject({
      flipped: false,
      reason: expect.stringMatching(/behind, and cutover\.max_lag is 0\.5 s/),
    });
    expect(code).toBe(1);
    await locker.query("ROLLBACK");
    await drained(sidecar, "sqlite");
    await move(sidecar, "postgres");
  });

  test("while history is still being copied", async () => {
    file
      .writer()
      .exec(
        "CREATE TABLE big(id INTEGER PRIMARY KEY, v); WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 200000) INSERT INTO big SELECT i, hex(randomblob(40)) FROM n",
      );
    sidecar = await Sidecar.prepare({ sqlite: file.path, url: database.url });
    sidecar.start();
    await sidecar.waitPhase("backfilling");
    await expectRefused("postgres", /phase is (backfilling|starting), not streaming|never verified/);
  });
});

test("asked for what is so already, the answer is yes, and nothing moves", async () => {
  await streaming();
  const reverted = await ask(sidecar, "sqlite");
  expect([reverted.code, reverted.document]).toEqual([
    0,
    { flipped: false, epoch: 0, reason: "writes already go to SQLite", sources: ["app"] },
  ]);
  await verify(sidecar);
  await move(sidecar, "postgres");
  const moved = await ask(sidecar, "postgres");
  expect([moved.code, moved.document]).toEqual([
    0,
    { flipped: false, epoch: 1, reason: "writes already go to PostgreSQL", sources: ["app"] },
  ]);
});
