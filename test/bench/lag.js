// How long until a committed row is visible in PostgreSQL, seen from outside, at a steady rate of transactions.
import Database from "better-sqlite3";
import { connect, makeApp, quantile, sleep, start, withSidecar } from "./measure.js";

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
  const app = await makeApp(server, "lag");
  const database = new Database(app.file);
  database.pragma("journal_mode = WAL");
  database.exec("CREATE TABLE t(id INTEGER PRIMARY KEY, at REAL, pad TEXT)");
  database.close();
  const { result: lags, peakMiB } = await withSidecar(app, async () => {
    const writing = [String(perSecond), String(seconds + WARM_UP_MS / 1000 + 0.5)];
    const writer = start("python3", ["-c", WRITER, app.file, ...writing]);
    await sleep(WARM_UP_MS);
    const seen = await observe(app.url, seconds);
    await writer.ended;
    return seen;
  });
  return {
    wantedPerSecond: perSecond,
    perSecond: lags.length / seconds,
    rows: lags.length,
    p50Ms: quantile(lags, 0.5),
    p99Ms: quantile(lags, 0.99),
    maxMs: Math.max(...lags),
    peakMiB,
  };
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
