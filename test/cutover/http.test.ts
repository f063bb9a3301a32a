// Flips asked for over HTTP: the token opens, and the answers are the commands' documents.
import { readFileSync, writeFileSync } from "node:fs";
import { afterEach, beforeEach, expect, test } from "vitest";
import { Sidecar } from "../support/cli.js";
import { expectRoute, flagOf, type Store, verify } from "../support/flips.js";
import { type TestDatabase, testDatabase } from "../support/servers.js";
import { type TestFile, testFile } from "../support/sqlite.js";

let file: TestFile;
let database: TestDatabase;
let sidecar: Sidecar;

beforeEach(async () => {
  file = testFile("CREATE TABLE t(id INTEGER PRIMARY KEY, v TEXT); INSERT INTO t VALUES (1, 'a')");
  database = await testDatabase(18);
});
afterEach(async () => {
  await sidecar.remove();
  await database.drop();
  file.remove();
});

async function streaming(): Promise<void> {
  sidecar = await Sidecar.streaming({ sqlite: file.path, url: database.url });
  await verify(sidecar);
}

function waitWrites(store: Store) {
  return sidecar.waitFor(
    `writes in ${store}`,
    ({ phase, route }) => route.writes === store && /streaming$/.test(phase),
    10_000,
  );
}

const post = (path: string, token?: string) =>
  fetch(`http://127.0.0.1:${sidecar.port}${path}`, {
    method: "POST",
    headers: token === undefined ? {} : { authorization: `Bearer ${token}` },
  });

test("the token opens, and the answer is the command's document", async () => {
  await streaming();
  expect((await post("/cutover")).status).toBe(401);
  expect((await post("/cutover", "wrong")).status).toBe(401);
  await expectRoute(sidecar, file.path, database, "sqlite", 0);
  const moved = await post("/cutover", "test-token");
  expect([moved.status, await moved.json()]).toEqual([
    200,
    { flipped: true, epoch: 1, pauseMs: expect.any(Number), sources: ["app"] },
  ]);
  await expectRoute(sidecar, file.path, database, "postgres", 1);
  expect(readFileSync(flagOf(sidecar), "utf8").trim()).toBe("postgres");
  const again = await post("/cutover", "test-token");
  expect([again.status, await again.json()]).toMatchObject([200, { flipped: false, epoch: 1 }]);
  await waitWrites("postgres");
  expect((await post("/revert", "test-token")).status).toBe(200);
  await waitWrites("sqlite");
  await expectRoute(sidecar, file.path, database, "sqlite", 2);
});

test("a refusal is 409 with its reason; without a token all is 403", async () => {
  sidecar = await Sidecar.streaming({ sqlite: file.path, url: database.url });
  const refused = await post("/cutover", "test-token");
  expect([refused.status, await refused.json()]).toMatchObject([
    409,
    { flipped: false, reason: expect.stringContaining("never verified") },
  ]);
  expect((await post("/verify", "test-token")).status).toBe(200);
  expect((await post("/cutover", "test-token")).status).toBe(200);
  await sidecar.remove();
  sidecar = await Sidecar.prepare({ sqlite: file.path, url: database.url, token: null });
  writeFileSync(flagOf(sidecar), "postgres");
  sidecar.start();
  await waitWrites("postgres");
  for (const path of ["/cutover", "/revert", "/verify"]) {
    expect((await post(path)).status).toBe(403);
    expect((await post(path, "test-token")).status).toBe(403);
  }
  await expectRoute(sidecar, file.path, database, "postgres", 1);
});

test("a sidecar that has just found out who has the writes takes the wish", async () => {
  await streaming();
  const flips: unknown[] = [];
  for (const path of ["/cutover", "/revert"]) {
    await sidecar.term();
    sidecar.start();
    // The route is known some time before the links are set up.
    const known = async () => (await sidecar.get("/route").catch(() => null))?.status === 200;
    while (!(await known()));
    flips.push(await (await post(path, "test-token")).json());
    await waitWrites(path === "/cutover" ? "postgres" : "sqlite");
  }
  expect(flips).toMatchObject([{ flipped: true }, { flipped: true }]);
});
