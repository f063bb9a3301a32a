// The library behind a pooler: it leaves no setting in a session that others use next, and needs none that it left.
import pg from "pg";
import { afterEach, beforeEach, expect, test } from "vitest";
import { isLost } from "#switchback/client/errors.js";
import { connect, type Handle } from "#switchback/client/index.js";
import { type Flips, flipping } from "./flips.js";

const PID = Object.getOwnPropertyDescriptor(pg.Client.prototype, "processID");

let flips: Flips;
let db: Handle;

beforeEach(async () => {
  flips = await flipping();
  // A pooler tells its clients numbers of its own.
  Object.defineProperty(pg.Client.prototype, "processID", {
    configurable: true,
    get: () => 1,
    set: () => {},
  });
});
afterEach(async () => {
  if (PID) Object.defineProperty(pg.Client.prototype, "processID", PID);
  else Reflect.deleteProperty(pg.Client.prototype, "processID");
  await db?.close();
  await flips.remove();
});

test("every transaction, and every read, brings its own settings", async () => {
  const { name } = flips.database;
  await flips.database.query(`ALTER DATABASE ${name} SET TimeZone = 'Asia/Tokyo'`);
  await flips.database.query(
    `CREATE SCHEMA apart; CREATE TABLE apart.stamp (id int PRIMARY KEY, at timestamptz)`,
  );
  await flips.cutover();
  db = connect({
    sqlite: flips.file.path,
    postgres: flips.database.url,
    route: flips.route,
    schema: "apart",
    connectionsMax: 1,
  });
  await db.execute("INSERT INTO stamp VALUES (1, '2026-01-02T03:04:05Z')");
  const stamped = { id: 1, at: "2026-01-02T03:04:05.000Z" };
  expect(await db.query("SELECT * FROM stamp")).toEqual([stamped]);
  expect(await db.transaction((tx) => tx.query("SELECT * FROM stamp"))).toEqual([stamped]);
  await expect(db.query("SELECT * FROM nowhere")).rejects.toThrow(/nowhere/);
  expect(await db.query("SELECT * FROM stamp")).toEqual([stamped]);
  // No transaction is left open.
  const sessions = await flips.database.query(
    "SELECT state, query FROM pg_stat_activity WHERE application_name = 'switchback client' AND datname = current_database()",
  );
  expect(sessions).toEqual([{ state: "idle", query: "COMMIT" }]);
});

test("a pool by statement is refused immediately, and not waited for as a server that is away", () => {
  const said = (message: string) => Object.assign(new Error(message), { code: "08P01" });
  expect(isLost(said("transaction blocks not allowed in statement pooling mode"))).toBe(false);
  expect(isLost(said("query_wait_timeout"))).toBe(true);
});
