// The servers that the other tests stand on.
import { afterAll, expect, test } from "vitest";
import { type OwnServer, ownServer, templateDatabase, testDatabase } from "../support/servers.js";

let own: OwnServer | undefined;
afterAll(() => own?.remove());

test.each([15, 18] as const)("PostgreSQL %i answers", async (version) => {
  const database = await testDatabase(version);
  const [row] = await database.query("SHOW server_version_num");
  expect(Math.floor(Number(row?.server_version_num) / 10_000)).toBe(version);
  await database.drop();
});

test("a template's copies hold its rows and do not share them", async () => {
  const copy = await templateDatabase(15, async (client) => {
    await client.query("CREATE TABLE t AS SELECT 1 AS a");
  });
  const [one, two] = await Promise.all([copy(), copy()]);
  await one.query("INSERT INTO t VALUES (2)");
  expect(await one.query("SELECT count(*)::int AS n FROM t")).toEqual([{ n: 2 }]);
  expect(await two.query("SELECT count(*)::int AS n FROM t")).toEqual([{ n: 1 }]);
});

test("a server of one's own survives a crash, and freezes and thaws", async () => {
  own = await ownServer(18);
  const database = await own.database();
  await database.query("CREATE TABLE t AS SELECT 1 AS a");
  await own.stop("immediate");
  await expect(database.client()).rejects.toThrow(/ECONNREFUSED/);
  await own.start();
  const client = await database.client();
  own.pause();
  let answered = false;
  const answer = client.query("SELECT a FROM t").then(({ rows }) => {
    answered = true;
    return rows;
  });
  await new Promise((resolve) => setTimeout(resolve, 300));
  expect(answered).toBe(false);
  own.resume();
  expect(await answer).toEqual([{ a: 1 }]);
});
