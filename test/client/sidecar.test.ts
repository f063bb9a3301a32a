// The application's library beside a real sidecar: flips, a sidecar that is killed in the middle of one, and flips
// that are given up. The application sees no error, loses nothing and doubles nothing.
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type pg from "pg";
import { afterEach, beforeEach, expect, test } from "vitest";
import { Application, expectAllThere, SHOP_SCHEMA } from "../support/application.js";
import { Sidecar } from "../support/cli.js";
import { type Example, routeWriter } from "../support/example.js";
import { ask, drained, expectRoute, flagOf, move, routeFile, type Store, verify } from "../support/flips.js";
import { type TestDatabase, testDatabase } from "../support/servers.js";
import { type TestFile, testFile } from "../support/sqlite.js";

const FLIPS = 6;
const LOOPS = 6;

let file: TestFile;
let database: TestDatabase;
let sidecar: Sidecar;
let applications: Application[];
let example: Example | null;

beforeEach(async () => {
  file = testFile(`${SHOP_SCHEMA} CREATE TABLE line(id INTEGER PRIMARY KEY, body TEXT);`);
  database = await testDatabase(18);
  sidecar = await Sidecar.streaming({ sqlite: file.path, url: database.url });
  applications = [];
  example = null;
  await verify(sidecar);
});
afterEach(async () => {
  example?.kill();
  // Those that wait for a route end with an error, which by now no one minds.
  await Promise.all(applications.map(({ db }) => db.close()));
  await Promise.all(applications.map((application) => application.stop()));
  await sidecar.remove();
  await database.drop();
  file.remove();
});

function application(name: string, loops: number, route = join(sidecar.folder, "route.json")): Application {
  const made = new Application(name, { sqlite: file.path, postgres: database.url, route }, loops);
  applications.push(made);
  return made;
}

async function finished(): Promise<void> {
  const store = routeFile(sidecar)?.writes as Store;
  await Promise.all(applications.map((one) => one.stop()));
  await drained(sidecar, store);
  for (const { errors } of applications) expect(errors).toEqual([]);
  await expectAllThere(file.path, database, applications);
}

/** Keeps a cutover from being decided, and so the pause open, until rolled back. */
async function holdDecision(): Promise<pg.Client> {
  const holder = await database.client();
  await holder.query("BEGIN; SELECT 1 FROM switchback.route FOR UPDATE");
  return holder;
}

async function until(what: string, condition: () => boolean | Promise<boolean>): Promise<void> {
  for (const giveUp = Date.now() + 15_000; !(await condition()); await sleep(2)) {
    if (Date.now() > giveUp) throw new Error(`waited for ${what}; log:\n${sidecar.log().slice(-1_500)}`);
  }
}

const paused = () => until("the pause", () => routeFile(sidecar)?.writes === "paused");

/** The example in Python, which writes line after line; it ends, and what it failed with comes out, by `stop`. */
function exampleAtWork() {
  const paths = [file.path, database.url, join(sidecar.folder, "route.json")] as const;
  example = routeWriter(paths, { into: "line (body)" });
  const { say, finish } = example;
  const said: string[] = [];
  let going = true;
  const work = (async () => {
    for (let n = 0; going; n++) said.push(await say(`line-${n}`));
  })();
  work.catch(() => {});
  return {
    said,
    reached: (store: Store) => until(`lines in ${store}`, () => said.at(-1)?.startsWith(store) ?? false),
    async stop() {
      going = false;
      await work;
      await finish();
    },
  };
}

/** Every application has been told of more writes than before. */
async function goOn(): Promise<void> {
  const before = applications.map(({ acknowledged }) => acknowledged);
  // More than the loops had under way.
  await until("writes", () =>
    applications.every(({ acknowledged }, i) => acknowledged > (before[i] ?? 0) + 2 * LOOPS),
  );
}

test(`${FLIPS} flips under a handle that follows the file, one that follows HTTP, and the example in Python`, async () => {
  const byFile = application("file", LOOPS);
  const byHttp = application("http", 2, `http://127.0.0.1:${sidecar.port}/route`);
  await goOn();
  const lines = exampleAtWork();
  const pauses: number[] = [];
  for (let epoch = 1; epoch <= FLIPS; epoch++) {
    const to: Store = epoch % 2 === 1 ? "postgres" : "sqlite";
    const { pauseMs } = await move(sidecar, to);
    pauses.push(pauseMs ?? 0);
    await expectRoute(sidecar, file.path, database, to, epoch);
    await goOn();
    await lines.reached(to);
  }
  await lines.stop();
  await finished();
  expect(file.writer().prepare("SELECT body FROM line ORDER BY id").pluck().all()).toEqual(
    lines.said.map((line) => line.split(" ")[1]),
  );
  for (const { db } of [byFile, byHttp]) {
    const { sqlite, postgres, moves, waits, outcomesAsked } = db.getMetrics();
    expect([moves, outcomesAsked, sqlite.errors, postgres.errors]).toEqual([FLIPS, 0, 0, 0]);
    expect(
      Math.min(sqlite.writes, postgres.writes, sqlite.transactions, postgres.transactions),
    ).toBeGreaterThan(FLIPS);
    expect(waits.now).toBe(0);
    expect(sqlite.fences + postgres.fences + waits.count).toBeGreaterThan(0);
    expect(waits.longestMs).toBeLessThan(5_000);
  }
  process.stdout.write(
    `${byFile.acknowledged + byHttp.acknowledged} writes acknowledged; the longest call took ` +
      `${byFile.longestMs.toFixed(0)} ms by file, ${byHttp.longestMs.toFixed(0)} ms by HTTP; of that waiting for the ` +
      `route ${[byFile, byHttp].map(({ db }) => db.getMetrics().waits.longestMs.toFixed(0)).join(" and ")} ms; ` +
      `pauses ${pauses.map((ms) => ms.toFixed(0)).join(", ")} ms\n`,
  );
}, 60_000);

test("cutovers that are given up, and a sidecar killed in the pause of one, cost a wait and no error", async () => {
  const byFile = application("file", LOOPS);
  const byHttp = application("http", 2, `http://127.0.0.1:${sidecar.port}/route`);
  const waiting = () =>
    until("calls that wait", () => applications.every(({ db }) => db.getMetrics().waits.now > 0));
  await goOn();
  const holder = await holdDecision();
  // By its timeout.
  const { code, document } = await ask(sidecar, "postgres", "500ms");
  expect([code, document.flipped]).toEqual([1, false]);
  await goOn();
  // By the operator.
  writeFileSync(flagOf(sidecar), "postgres\n");
  await paused();
  await waiting();
  writeFileSync(flagOf(sidecar), "sqlite\n");
  await goOn();
  await expectRoute(sidecar, file.path, database, "sqlite", 0);
  for (const { db } of applications) expect(db.getMetrics().moves).toBe(0);
  // Until it has seen for a while that nothing is wanted, the sidecar lets some seconds pass after a retreat.
  await sleep(300);
  // By no one.
  writeFileSync(flagOf(sidecar), "postgres\n");
  await paused();
  await sidecar.kill9();
  await waiting();
  // Reads continue where the writes were last.
  expect(await byFile.db.queryOne("SELECT count(*) AS n FROM account")).toEqual({ n: 6 });
  await holder.query("ROLLBACK");
  sidecar.start();
  await sidecar.waitPhase("reverse_streaming");
  await goOn();
  await finished();
  for (const { db } of [byFile, byHttp]) {
    const { moves, sqlite, postgres, waits } = db.getMetrics();
    expect([moves, sqlite.errors, postgres.errors]).toEqual([1, 0, 0]);
    expect(waits.longestMs).toBeGreaterThan(50);
  }
}, 60_000);
