// PostgreSQL crashes while it has the writes: what it forgot of the windows that it had handed over is carried over
// once more. What it forgot of the application's own writes, because they did not wait for its disk, SQLite holds.
// Then the revert ends with an error, and the two are never unequal without one.
import { setTimeout as sleep } from "node:timers/promises";
import pg from "pg";
import { afterEach, beforeEach, expect, test } from "vitest";
import { Sidecar } from "../support/cli.js";
import { move, verify } from "../support/flips.js";
import { differences } from "../support/rows.js";
import { type OwnServer, ownServer, type TestDatabase } from "../support/servers.js";
import { type TestFile, testFile } from "../support/sqlite.js";

let server: OwnServer;
let database: TestDatabase;
let file: TestFile;
let sidecar: Sidecar;

beforeEach(async () => {
  // Commits that do not wait for the disk are a long time on their way there.
  server = await ownServer(18, ["wal_writer_delay=10s"]);
  database = await server.database();
  file = testFile(`
    CREATE TABLE op(name TEXT PRIMARY KEY);
    CREATE TABLE hot(id INTEGER PRIMARY KEY, n INTEGER NOT NULL);
    INSERT INTO hot VALUES (0, 0), (1, 0);`);
  sidecar = await Sidecar.streaming({ sqlite: file.path, url: database.url });
  await verify(sidecar);
  await move(sidecar, "postgres");
});
afterEach(async () => {
  await sidecar.remove();
  await server.remove();
  file.remove();
});

/** Writes until the server is gone; how many transactions were acknowledged. */
async function write(round: number, writer: number, synchronous: "on" | "off"): Promise<number> {
  const client = new pg.Client({ connectionString: database.url });
  client.on("error", () => {});
  await client.connect();
  await client.query(`SET synchronous_commit = ${synchronous}`);
  for (let n = 0; ; n++) {
    try {
      await client.query("BEGIN");
      await client.query("INSERT INTO op VALUES ($1)", [`${round}-${writer}-${n}`]);
      await client.query("UPDATE hot SET n = n + 1 WHERE id = $1", [writer % 2]);
      await client.query("COMMIT");
    } catch {
      return n;
    }
  }
}

/** A crash in the midst of four writers; how many transactions they were told of. */
async function crash(round: number, synchronous: "on" | "off"): Promise<number> {
  const writers = [0, 1, 2, 3].map((writer) => write(round, writer, synchronous));
  await sleep(400);
  await server.stop("immediate");
  const acknowledged = await Promise.all(writers);
  await server.start();
  return acknowledged.reduce((sum, n) => sum + n, 0);
}

const equal = () => expect.poll(() => differences(file.path, database.url), { timeout: 20_000 }).toEqual([]);

test("with the application's commits on its disk, it continues exactly", async () => {
  let acknowledged = 0;
  for (let round = 0; round < 2; round++) {
    acknowledged += await crash(round, "on");
    await equal();
  }
  const client = new pg.Client({ connectionString: database.url });
  await client.connect();
  const { rows } = await client.query<{ n: number }>("SELECT count(*)::int AS n FROM op");
  await client.end();
  // One of each writer and round may have been committed without an answer.
  expect(rows[0]?.n).toBeGreaterThanOrEqual(acknowledged);
  expect(rows[0]?.n).toBeLessThanOrEqual(acknowledged + 8);
  expect((await sidecar.status())?.phase).toBe("reverse_streaming");
  await move(sidecar, "sqlite");
});

test("with commits that did not wait for it, the copy that knows more is named", async () => {
  await crash(0, "off");
  const more = new pg.Client({ connectionString: database.url });
  await more.connect();
  await more.query("INSERT INTO op SELECT 'more ' || n FROM generate_series(1, 3000) AS n");
  await more.end();
  const { phase, problems } = await sidecar.waitFor(
    "the server again",
    (status) => status.phase === "halted" || (status.sources[0]?.applied ?? 0) > 3_000,
  );
  if (phase === "halted") expect(problems).toMatchObject([{ code: "SPLIT" }]);
  else await equal();
});
