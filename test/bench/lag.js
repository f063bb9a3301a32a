// How long until a committed row is visible in PostgreSQL, seen from outside, at a steady rate of transactions.
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import Database from "better-sqlite3";
import { freePort } from "../../dist/embedded/cluster.js";
import { connect, quantile, sleep, start, statusAt, switchback } from "./measure.js";

const POLL_MS = 2;
const WARM_UP_MS = 2_000;

/** One row per transaction, stamped just before; falls back to as fast as it can when it is late. */
const WRITER = `
import sqlite3, sys, time
db = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=10)
db.execute("PRAGMA synchronous = NORMAL")
gap, end = 1 / float(sys.argv[2]), time.time() + float(sys.argv[3])
turn = time.time()
while time.time() < end:
    db.execute("INSERT INTO t(at, pad) VALUES (?, ?)", (time.time(), "p" * 100))
    turn += gap
    time.sleep(max(0, turn - time.time()))
`;

/** @param {import("./measure.js").Server} server @param {{ perSecond: number, seconds: number }} sizes */
export async function benchLag(server, { perSecond, seconds }) {
  const file = join(server.folder, "lag.db");
  const database = new Database(file);
  database.pragma("journal_mode = WAL");
  database.exec("CREATE TABLE t(id INTEGER PRIMARY KEY, at REAL, pad TEXT)");
  database.close();
  const url = await server.database();
  const port = await freePort();
  const config = join(server.folder, "lag.yaml");
  writeFileSync(
    config,
    JSON.stringify({
      sources: [{ name: "lag", sqlite: file }],
      postgres: { url },
      flag: join(server.folder, "lag.flag"),
      route: join(server.folder, "lag.route.json"),
      http: { listen: `127.0.0.1:${port}` },
    }),
  );
  const sidecar = switchback(["run", "--config", config, "--log-level", "error"], server.folder);
  // It runs until it is told to stop; a failure shows below as no rows.
  sidecar.ended.catch(() => {});
  try {
    for (let waited = 0; (await statusAt(port))?.phase !== "streaming"; waited += 50) {
      if (waited > 30_000) throw new Error("the sidecar did not stream");
      await sleep(50);
    }
    const writer = start("python3", [
      "-c",
      WRITER,
      file,
      String(perSecond),
      String(seconds + WARM_UP_MS / 1000 + 0.5),
    ]);
    await sleep(WARM_UP_MS);
    const lags = await observe(url, seconds);
    await writer.ended;
    sidecar.child.kill("SIGTERM");
    const { peakMiB } = await sidecar.ended;
    return {
      wantedPerSecond: perSecond,
      perSecond: lags.length / seconds,
      rows: lags.length,
      p50Ms: quantile(lags, 0.5),
      p99Ms: quantile(lags, 0.99),
      maxMs: Math.max(...lags),
      peakMiB,
    };
  } finally {
    sidecar.child.kill("SIGKILL");
  }
}

/** @param {string} url @param {number} seconds */
async function observe(url, seconds) {
  const client = await connect(url);
  /** @type {number[]} */
  const lags = [];
  let last = Number((await client.query("SELECT coalesce(max(id), 0) AS id FROM t")).rows[0].id);
  for (const end = performance.now() + seconds * 1000; performance.now() < end; await sleep(POLL_MS)) {
    const { rows } = await client.query("SELECT id, at FROM t WHERE id > $1 ORDER BY id", [last]);
    const now = Date.now();
    for (const row of rows) {
      last = Number(row.id);
      lags.push(now - row.at * 1000);
    }
  }
  await client.end();
  return lags;
}
