// PostgreSQL crashes, comes back and hangs under load: the sidecar stays up, says so, and ends equal.
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, expect, test } from "vitest";
import { Sidecar } from "../support/cli.js";
import { differences } from "../support/rows.js";
import { type OwnServer, ownServer, type TestDatabase } from "../support/servers.js";
import { type Outside, python, type TestFile, testFile } from "../support/sqlite.js";

const WRITER = `
import select, sqlite3, sys, time
db = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=20)
n = 0
while not select.select([sys.stdin], [], [], 0)[0]:
    db.execute("BEGIN IMMEDIATE")
    db.execute("INSERT INTO t(v) VALUES (?)", ("new %d" % n,))
    db.execute("UPDATE t SET v = v || '.' WHERE id = ?", (n * 7919 % 100000,))
    db.execute("DELETE FROM t WHERE id = ?", (n * 31 % 100000,))
    db.execute("COMMIT")
    n += 1
    time.sleep(0.002)
`;

let server: OwnServer;
let database: TestDatabase;
let file: TestFile;
let sidecar: Sidecar;
let writer: Outside;

beforeAll(async () => {
  server = await ownServer(15);
  database = await server.database();
  file = testFile(`
    CREATE TABLE t(id INTEGER PRIMARY KEY, v TEXT, pad TEXT);
    WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 200000)
      INSERT INTO t SELECT i, 'v' || i, hex(randomblob(50)) FROM n;`);
  sidecar = await Sidecar.prepare({ sqlite: file.path, url: database.url });
  writer = python(WRITER, [file.path]);
});
afterAll(async () => {
  writer?.kill();
  await sidecar?.remove();
  await server?.remove();
  file?.remove();
});

async function ready(): Promise<boolean> {
  return (await sidecar.get("/readyz")).status === 200;
}

async function waitReady(wanted: boolean): Promise<void> {
  for (const giveUp = Date.now() + 15_000; (await ready()) !== wanted; await sleep(50)) {
    if (Date.now() > giveUp) throw new Error(`readyz did not become ${wanted ? "ready" : "not ready"}`);
  }
}

test("a server that crashes while history is copied: the copy continues when it is back", async () => {
  sidecar.start();
  await sidecar.waitFor(
    "a copy under way",
    ({ phase, sources }) => phase === "streaming" || (sources[0]?.tables[0]?.copied ?? 0) > 0,
  );
  await server.stop("immediate");
  await sleep(500);
  expect(sidecar.running, sidecar.log()).toBe(true);
  await server.start();
  await sidecar.waitPhase("streaming");
  await waitReady(true);
});

test("a server that crashes while the sidecar tails: not ready but healthy meanwhile, and equal afterwards", async () => {
  for (let crash = 0; crash < 2; crash++) {
    await server.stop("immediate");
    await waitReady(false);
    expect((await sidecar.get("/healthz")).status).toBe(200);
    const [source] = (
      await sidecar.waitFor("a growing lag", (status) => (status.sources[0]?.lag.changes ?? 0) > 0)
    ).sources;
    expect(source?.name).toBe("app");
    await server.start();
    await waitReady(true);
  }
});

test("a server that hangs: the sidecar waits and ends equal", async () => {
  server.pause();
  await waitReady(false);
  expect((await sidecar.get("/healthz")).status).toBe(200);
  server.resume();
  await waitReady(true);
  await writer.finish();
  await sidecar.waitDrained();
  expect(await differences(file.path, database.url)).toEqual([]);
  expect(await sidecar.term()).toBe(0);
});
