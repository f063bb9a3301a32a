// PostgreSQL freezes before, in and after a flip. The flip is given up in time, the store that had the writes takes
// them again, nothing is lost, and after the thaw exactly one store is open.
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from "vitest";
import { Sidecar } from "../support/cli.js";
import { ask, drained, expectRoute, move, routeFile, type Store, verify } from "../support/flips.js";
import { expectNothingLost, ROUTE_SCHEMA, type RouteWriter, routeWriters } from "../support/route-writers.js";
import { type OwnServer, ownServer, type TestDatabase } from "../support/servers.js";
import { type TestFile, testFile } from "../support/sqlite.js";

let server: OwnServer;
let file: TestFile;
let database: TestDatabase;
let sidecar: Sidecar;
let writers: RouteWriter[];

beforeAll(async () => {
  server = await ownServer(18);
});
afterAll(() => server?.remove());
beforeEach(async () => {
  file = testFile(ROUTE_SCHEMA);
  database = await server.database();
  sidecar = await Sidecar.streaming({ sqlite: file.path, url: database.url });
  writers = routeWriters(sidecar, file.path, database.url, 2);
  await verify(sidecar);
});
afterEach(async () => {
  for (const writer of writers) writer.kill();
  server.resume();
  await sidecar.remove();
  await database.drop();
  file.remove();
});

const newest = () => Math.max(...writers.map(({ atMs }) => atMs.at(-1) ?? 0));

/** Both stores as the application finds them, by a write that changes nothing. */
async function open(): Promise<Store[]> {
  const stores: Store[] = [];
  try {
    file.writer().exec("UPDATE counter SET value = value WHERE writer = 3");
    stores.push("sqlite");
  } catch (error) {
    expect(String(error)).toContain("switchback: writes have moved");
  }
  await database.query("UPDATE counter SET value = value WHERE writer = 3").then(
    () => stores.push("postgres"),
    (error: { code: string }) => expect(error.code).toBe("25006"),
  );
  return stores;
}

async function settled(store: Store): Promise<void> {
  for (const writer of writers) await writer.stop();
  await drained(sidecar, store);
  await expectNothingLost(file.path, database, writers);
}

test("a cutover to a frozen server retreats within its timeout, and SQLite takes writes all along", async () => {
  server.pause();
  const startedMs = performance.now();
  const { code, document } = await ask(sidecar, "postgres", "2s");
  const tookMs = performance.now() - startedMs;
  expect(document.flipped).toBe(false);
  expect(code).toBe(1);
  expect(document.reason).toMatch(/ 2 s/);
  // The command's own start is not the flip's.
  expect(tookMs).toBeLessThan(5_000);
  const answeredMs = performance.now();
  await sleep(500);
  expect(newest()).toBeGreaterThan(answeredMs);
  for (const writer of writers) {
    const gaps = writer.atMs.slice(1).map((at, i) => at - (writer.atMs[i] ?? at));
    expect(Math.max(...gaps)).toBeLessThan(2_000);
  }
  server.resume();
  await sidecar.waitPhase("streaming");
  expect(await open()).toEqual(["sqlite"]);
  await move(sidecar, "postgres");
  await expectRoute(sidecar, file.path, database, "postgres", 1);
  await settled("postgres");
});

for (const [from, to, delaysMs] of [
  ["sqlite", "postgres", [0, 3]],
  ["postgres", "sqlite", [0]],
] as const) {
  test(`a server that freezes in the middle of a flip to ${to}: nothing lost, one store open after the thaw`, async () => {
    if (from === "postgres") await move(sidecar, "postgres");
    for (const delayMs of delaysMs) {
      const asking = ask(sidecar, to, "2s");
      await paused(sidecar);
      await sleep(delayMs);
      server.pause();
      const { document } = await asking;
      await sleep(300);
      server.resume();
      // The store that the answer names has the writes, or will have them as soon as the stores were asked.
      await sidecar.waitFor(
        "links that run again",
        ({ phase }) => phase === "streaming" || phase === "reverse_streaming",
      );
      const status = await sidecar.status();
      let store = status?.route.writes as Store;
      if (document.flipped) expect(store).toBe(to);
      else expect(document.reason).toMatch(/ 2 s/);
      if (!document.flipped && store === to) {
        // The commit outlived the freeze, but the wish was withdrawn: the sidecar takes the writes back unasked.
        await sidecar.waitPhase(from === "sqlite" ? "streaming" : "reverse_streaming");
        store = from;
      }
      expect(await open()).toEqual([store]);
      const { epoch } = (await sidecar.status())?.route ?? { epoch: -1 };
      await expectRoute(sidecar, file.path, database, store, epoch);
      const acknowledgedMs = performance.now();
      for (let tries = 0; newest() < acknowledgedMs && tries < 100; tries++) await sleep(50);
      expect(newest()).toBeGreaterThan(acknowledgedMs);
      if (store === to) await move(sidecar, from);
    }
    await settled(from);
  });
}

/** Waits until the route file says that no one takes writes; a flip that was too quick to be seen is over. */
async function paused(sidecar: Sidecar): Promise<void> {
  const before = routeFile(sidecar)?.epoch;
  for (;;) {
    const said = routeFile(sidecar);
    if (said?.writes === "paused" || said?.epoch !== before) return;
    await new Promise((resolve) => setImmediate(resolve));
  }
}

test("a revert from a frozen server is given up in time, and PostgreSQL continues after the thaw", async () => {
  await move(sidecar, "postgres");
  await sleep(200);
  server.pause();
  const startedMs = performance.now();
  const { code, document } = await ask(sidecar, "sqlite", "2s");
  expect(performance.now() - startedMs).toBeLessThan(5_000);
  expect([code, document.flipped]).toEqual([1, false]);
  await sleep(200);
  server.resume();
  await sidecar.waitPhase("reverse_streaming");
  expect(await open()).toEqual(["postgres"]);
  await move(sidecar, "sqlite");
  expect(await open()).toEqual(["sqlite"]);
  await settled("sqlite");
});
