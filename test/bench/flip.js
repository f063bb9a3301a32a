// Two things about moving the writes, seen from outside by processes of their own. One is how long no one can write,
// under four writers at a steady rate. The other is how far SQLite's warm copy is behind while PostgreSQL has the
// writes.
import { fileURLToPath } from "node:url";
import Database from "better-sqlite3";
import { requestFlip } from "../../dist/cutover/request.js";
import { connect, makeApp, median, phase, quantile, sleep, start, switchback, withSidecar } from "./measure.js";

const WRITER = fileURLToPath(new URL("./flip-writer.js", import.meta.url));
const WRITERS = 4;
const WARM_UP_MS = 2_000;
const BETWEEN_MS = 700;
const POLL_MS = 2;
/** Rows below the newest that may still be missing, since commits need not come in the order of their ids. */
const LOOK_BACK = 500;

/** @typedef {{ tables: number, foreignKeys: number }} Shape */
/** @typedef {"sqlite" | "postgres"} Store */

/**
 * @param {import("./measure.js").Server} server
 * @param {{ flips: number, perSecond: number, shapes: Shape[] }} sizes
 */
export async function benchFlip(server, { flips, perSecond, shapes }) {
  const runs = [];
  for (const shape of shapes) {
    runs.push(await verified(server, shape, (app) => pauses(app, shape, flips, perSecond)));
  }
  return { flips, perSecond, writers: WRITERS, runs };
}

/** @param {import("./measure.js").Server} server @param {{ perSecond: number, seconds: number }} sizes */
export async function benchReverseLag(server, { perSecond, seconds }) {
  return verified(server, { tables: 2, foreignKeys: 0 }, async (app) => {
    const outcome = await move(app, "postgres");
    if (!outcome.flipped) throw new Error(`no cutover: ${outcome.reason}`);
    const writers = startWriters(app, perSecond, 1);
    await sleep(WARM_UP_MS);
    const seen = await observe(app.file, seconds);
    const acknowledged = await Promise.all(writers.map(stopWriter));
    const lags = [...seen].map(([name, atMs]) => {
      const [writer = "", n = ""] = name.split(" ");
      return atMs - (acknowledged[Number(writer)]?.[Number(n)] ?? Number.NaN);
    });
    if (lags.some(Number.isNaN)) throw new Error("SQLite holds a row that no one was told of");
    return {
      wantedPerSecond: perSecond,
      perSecond: lags.length / seconds,
      rows: lags.length,
      p50Ms: quantile(lags, 0.5),
      p99Ms: quantile(lags, 0.99),
      maxMs: Math.max(...lags),
    };
  });
}

/** @typedef {import("./measure.js").App} App */

/**
 * An application that was copied, is followed and was verified. @template T
 * @param {import("./measure.js").Server} server @param {Shape} shape @param {(app: App) => Promise<T>} work
 */
async function verified(server, shape, work) {
  const app = await makeApp(server, `flip-${shape.tables}-${++apps}`);
  makeTables(app.file, shape);
  const { result } = await withSidecar(app, async () => {
    await switchback(["verify", "--config", app.config, "--log-level", "error"], server.folder).ended;
    return work(app);
  });
  return result;
}

let apps = 0;

/** Two tables that are written to, and others beside them. @param {string} file @param {Shape} shape */
function makeTables(file, { tables, foreignKeys }) {
  const database = new Database(file);
  database.pragma("journal_mode = WAL");
  for (const table of ["t0", "t1"]) {
    database.exec(
      `CREATE TABLE ${table}(id INTEGER PRIMARY KEY AUTOINCREMENT, writer TEXT NOT NULL, n INTEGER NOT NULL, pad TEXT)`,
    );
  }
  for (let i = 2; i < tables; i++) {
    const parent = i > 2 && i <= 2 + foreignKeys ? ` REFERENCES x${i - 1}(id)` : "";
    database.exec(
      `CREATE TABLE x${i}(id INTEGER PRIMARY KEY, name TEXT, other INTEGER${parent}); INSERT INTO x${i} VALUES (1, 'one', 1)`,
    );
  }
  database.close();
}

/** Flips to and fro under load. @param {App} app @param {Shape} shape @param {number} flips @param {number} perSecond */
async function pauses(app, shape, flips, perSecond) {
  const writers = startWriters(app, perSecond, 2);
  await sleep(WARM_UP_MS);
  const began = wallMs();
  /** @type {{ to: Store, fromMs: number, toMs: number, pauseMs: number }[]} */
  const done = [];
  for (let n = 0; n < flips; n++) {
    const to = n % 2 === 0 ? "postgres" : "sqlite";
    const fromMs = wallMs();
    const outcome = await move(app, to);
    if (!outcome.flipped) throw new Error(`flip ${n + 1} to ${to}: ${outcome.reason}`);
    await sleep(BETWEEN_MS);
    done.push({ to, fromMs, toMs: wallMs(), pauseMs: outcome.pauseMs ?? Number.NaN });
  }
  const seconds = (wallMs() - began) / 1_000;
  const acknowledged = await Promise.all(writers.map(stopWriter));
  const felt = done.map(({ fromMs, toMs }) =>
    Math.max(...acknowledged.map((times) => longestGapMs(times, fromMs, toMs))),
  );
  const written = acknowledged.reduce((sum, times) => sum + times.length, 0);
  const between = acknowledged.flat().filter((at) => at >= began).length;
  const of = (/** @type {Store} */ to) => {
    const chosen = done.map((_, n) => n).filter((n) => done[n]?.to === to);
    const sidecarMs = chosen.map((n) => done[n]?.pauseMs ?? Number.NaN);
    const feltMs = chosen.map((n) => felt[n] ?? Number.NaN);
    return { sidecarMs: median(sidecarMs), feltMs: median(feltMs) };
  };
  return {
    ...shape,
    perSecond: between / seconds,
    sidecarMedianMs: median(done.map(({ pauseMs }) => pauseMs)),
    sidecarWorstMs: Math.max(...done.map(({ pauseMs }) => pauseMs)),
    feltMedianMs: median(felt),
    feltWorstMs: Math.max(...felt),
    /** What the writers wait for without any flip. */
    quietWorstMs: Math.max(...acknowledged.map((times) => longestGapMs(times, began - WARM_UP_MS / 2, began))),
    cutover: of("postgres"),
    revert: of("sqlite"),
    acknowledged: written,
    found: await rowsIn(app),
    all: done.map(({ to, pauseMs }, n) => ({ to, pauseMs, feltMs: felt[n] })),
  };
}

/** Asks for the flip once it may be. @param {App} app @param {Store} to */
async function move(app, to) {
  await phase(app, to === "postgres" ? "streaming" : "reverse_streaming");
  const { flagFile, routeFile } = app;
  return requestFlip({ flagFile, routeFile, to, timeoutMs: 10_000, signal: new AbortController().signal });
}

/** @param {App} app @param {number} perSecond @param {number} tables */
function startWriters(app, perSecond, tables) {
  return Array.from({ length: WRITERS }, (_, n) =>
    start(
      process.execPath,
      [WRITER, app.file, app.routeFile, `t${n % tables}`, String(n), String(perSecond / WRITERS)],
      {
        env: { ...process.env, BENCH_DATABASE_URL: app.url },
      },
    ),
  );
}

/** @param {ReturnType<typeof start>} writer @returns {Promise<number[]>} */
async function stopWriter(writer) {
  writer.child.stdin.end();
  return JSON.parse((await writer.ended).output);
}

/** @param {readonly number[]} times @param {number} fromMs @param {number} toMs */
function longestGapMs(times, fromMs, toMs) {
  let longest = 0;
  for (let n = 1; n < times.length; n++) {
    const [before = 0, after = 0] = [times[n - 1], times[n]];
    if (after >= fromMs && before <= toMs) longest = Math.max(longest, after - before);
  }
  return longest;
}

/** When each row was first seen in the file, by writer and number. @param {string} file @param {number} seconds */
async function observe(file, seconds) {
  const database = new Database(file, { readonly: true });
  const select = database.prepare("SELECT id, writer, n FROM t0 WHERE id > ? ORDER BY id").raw();
  /** @type {Map<string, number>} */
  const seen = new Map();
  let newest = Number(database.prepare("SELECT coalesce(max(id), 0) FROM t0").pluck().get());
  const known = new Set(select.all(newest - LOOK_BACK).map((row) => /** @type {unknown[]} */ (row)[0]));
  for (const end = performance.now() + seconds * 1000; performance.now() < end; await sleep(POLL_MS)) {
    const rows = /** @type {[number, string, number][]} */ (select.all(newest - LOOK_BACK));
    const now = wallMs();
    for (const [id, writer, n] of rows) {
      newest = Math.max(newest, id);
      if (known.has(id)) continue;
      known.add(id);
      seen.set(`${writer} ${n}`, now);
    }
  }
  database.close();
  return seen;
}

/** How many rows of the writers' tables each store holds, once they agree. @param {App} app */
async function rowsIn(app) {
  const COUNT = "SELECT (SELECT count(*) FROM t0) + (SELECT count(*) FROM t1) AS n";
  const database = new Database(app.file, { readonly: true });
  const client = await connect(app.url);
  const counts = { sqlite: 0, postgres: -1 };
  for (let tries = 0; tries < 100 && counts.sqlite !== counts.postgres; tries++) {
    if (tries > 0) await sleep(50);
    counts.sqlite = Number(database.prepare(COUNT).pluck().get());
    counts.postgres = Number((await client.query(COUNT)).rows[0].n);
  }
  await client.end();
  database.close();
  return counts;
}

function wallMs() {
  return performance.timeOrigin + performance.now();
}
