// switchback as an operator meets it: the built command run as a process, and a sidecar that tests start, watch
// over HTTP, kill and stop. Knows the product by its contract only.
import { type ChildProcess, spawn } from "node:child_process";
import { createWriteStream, readFileSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { main } from "#switchback/cli/main.js";
import { freePort } from "#switchback/embedded/cluster.js";
import { committed, type Store, type Stores } from "./committed.js";
import { temporaryFolder } from "./scratch.js";

export const CLI = fileURLToPath(new URL("../../dist/cli.js", import.meta.url));
const POLL_MS = 25;
const STREAMING = { sqlite: "streaming", postgres: "reverse_streaming" } as const;

export interface Result {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface RunOptions {
  readonly env?: Readonly<Record<string, string>>;
  readonly cwd?: string;
  readonly timeoutMs?: number;
  /** For `command`: someone reads along. */
  readonly terminal?: boolean;
}

/** Runs one command in a process of its own to its end; a command that takes longer than `timeoutMs` is killed, and `code` is null. */
export async function cli(args: readonly string[], options: RunOptions = {}): Promise<Result> {
  const child = spawn(process.execPath, [CLI, ...args], {
    env: cleanEnvironment(options.env),
    cwd: options.cwd ?? tmpdir(),
    stdio: ["ignore", "pipe", "pipe"],
  });
  const timer = setTimeout(() => child.kill("SIGKILL"), options.timeoutMs ?? 60_000);
  let stdout = "";
  let stderr = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    stdout += text;
  });
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    stderr += text;
  });
  const code = await new Promise<number | null>((resolve, reject) => {
    child.once("error", reject);
    child.once("close", resolve);
  });
  clearTimeout(timer);
  return { code, stdout, stderr };
}

class GivenUp extends Error {
  override readonly name = "AbortError";
}

/**
 * Runs one command in this process: a third of a second less than a process of its own. What a process adds (signals,
 * help, a crash) is for `cli`.
 */
export async function command(args: readonly string[], options: RunOptions = {}): Promise<Result> {
  const stdout: string[] = [];
  const stderr: string[] = [];
  const late = new AbortController();
  const timer = setTimeout(() => late.abort(new GivenUp("out of time")), options.timeoutMs ?? 60_000);
  const code = await main(args, {
    env: cleanEnvironment(options.env),
    cwd: options.cwd ?? tmpdir(),
    terminal: options.terminal ?? false,
    signal: late.signal,
    stdoutClosed: () => false,
    screen: () => ({ write: (text) => void stderr.push(text) }),
    out: (line) => void stdout.push(`${line}\n`),
    err: (line) => void stderr.push(`${line}\n`),
  });
  clearTimeout(timer);
  return { code: late.signal.aborted ? null : code, stdout: stdout.join(""), stderr: stderr.join("") };
}

/** The tester's own settings must not reach the product. */
function cleanEnvironment(extra: Readonly<Record<string, string>> = {}): NodeJS.ProcessEnv {
  const foreign = /^(PG|POSTGRES_|SWITCHBACK_|SQLITE_|DATABASE_URL|NODE_OPTIONS|VITEST)/;
  const kept = Object.entries(process.env).filter(([name]) => !foreign.test(name));
  return { ...Object.fromEntries(kept), ...extra };
}

// ---- the sidecar

export interface TableStatus {
  readonly name: string;
  readonly target: string;
  readonly state: string;
  readonly copied: number;
  readonly estimated: number;
  readonly quarantined: number;
}

export interface Status {
  readonly phase: string;
  readonly route: { readonly writes: string; readonly epoch: number };
  readonly sources: readonly {
    readonly name: string;
    readonly position: number | null;
    readonly applied: number | null;
    readonly lag: { readonly changes: number; readonly seconds: number };
    readonly tables: readonly TableStatus[];
  }[];
  readonly verify: { readonly at: string; readonly equal: boolean } | null;
  readonly problems: readonly unknown[];
}

export interface SidecarOptions {
  readonly sqlite: string;
  readonly url: string;
  /** More keys of the one source in the configuration file: schema, exclude, tables … */
  readonly source?: Readonly<Record<string, unknown>>;
  /** More keys at the configuration's top. */
  readonly top?: Readonly<Record<string, unknown>>;
  /** What the sidecar asks of actions over HTTP; null for none. */
  readonly token?: string | null;
  /** In the environment of the sidecar and of every command beside it. */
  readonly environment?: Readonly<Record<string, string>>;
}

export class Sidecar {
  readonly folder: string;
  readonly config: string;
  readonly port: number;
  #process: ChildProcess | null = null;
  #starts = 0;
  readonly #remove: () => void;
  readonly #environment: Readonly<Record<string, string>>;
  readonly #shared: Readonly<Record<string, string>>;
  readonly #stores: Stores;

  private constructor(options: SidecarOptions, port: number) {
    const { folder, remove } = temporaryFolder();
    this.folder = folder;
    this.port = port;
    const { token = "test-token", environment = {} } = options;
    this.#shared = environment;
    this.#environment = token === null ? environment : { ...environment, SWITCHBACK_TOKEN: token };
    this.#remove = remove;
    this.config = join(folder, "switchback.yaml");
    const configuration: Record<string, unknown> & Pick<Stores, "sources"> = {
      sources: [{ name: "app", sqlite: options.sqlite, ...options.source }],
      postgres: { url: options.url },
      flag: join(folder, "flag"),
      route: join(folder, "route.json"),
      http: { listen: `127.0.0.1:${port}` },
      // A second thread costs a tenth of a second at each start, and small tables have nothing for it.
      backfill: { workers: 1 },
      ...options.top,
    };
    this.#stores = { sources: configuration.sources, url: options.url };
    // JSON is YAML
    writeFileSync(this.config, JSON.stringify(configuration));
  }

  /** A configured sidecar that does not run yet. */
  static async prepare(options: SidecarOptions): Promise<Sidecar> {
    return new Sidecar(options, await freePort());
  }

  /** A running sidecar that streams. */
  static async streaming(options: SidecarOptions, timeoutMs = 30_000): Promise<Sidecar> {
    const sidecar = await Sidecar.prepare(options);
    sidecar.start();
    await sidecar.waitPhase("streaming", timeoutMs);
    return sidecar;
  }

  start(): void {
    if (this.running) throw new Error("the sidecar already runs");
    this.#starts += 1;
    const child = spawn(process.execPath, [CLI, "run", "--config", this.config], {
      env: cleanEnvironment(this.#environment),
      cwd: this.folder,
      stdio: ["ignore", "pipe", "pipe"],
    });
    const log = createWriteStream(this.#logFile);
    child.stdout?.pipe(log, { end: false });
    child.stderr?.pipe(log, { end: false });
    this.#process = child;
  }

  get running(): boolean {
    const child = this.#process;
    return child !== null && child.exitCode === null && child.signalCode === null;
  }

  /** The process id of the running sidecar. */
  get pid(): number {
    const pid = this.#process?.pid;
    if (pid === undefined || !this.running) throw new Error("the sidecar does not run");
    return pid;
  }

  get #logFile(): string {
    return join(this.folder, `log.${this.#starts}`);
  }

  /** What the present run has logged. */
  log(): string {
    return readFileSync(this.#logFile, "utf8");
  }

  /** Another command with the sidecar's configuration, in the tests' own process. */
  cli(args: readonly string[], options: RunOptions = {}): Promise<Result> {
    return command([...args, "--config", this.config], this.#beside(options));
  }

  /** The same in a process of its own, for tests of what only a process shows. */
  spawned(args: readonly string[], options: RunOptions = {}): Promise<Result> {
    return cli([...args, "--config", this.config], this.#beside(options));
  }

  #beside(options: RunOptions): RunOptions {
    return { cwd: this.folder, ...options, env: { ...this.#shared, ...options.env } };
  }

  async get(path: string): Promise<{ status: number; text: string }> {
    const response = await fetch(`http://127.0.0.1:${this.port}${path}`, {
      signal: AbortSignal.timeout(5_000),
    });
    return { status: response.status, text: await response.text() };
  }

  /** The present status, or null while no one answers. */
  async status(): Promise<Status | null> {
    try {
      const { status, text } = await this.get("/status");
      return status === 200 ? (JSON.parse(text) as Status) : null;
    } catch {
      return null;
    }
  }

  /** Every sample by its name with labels, as in `switchback_lag_changes{source="app"}`. */
  async metrics(): Promise<Map<string, number>> {
    const { text } = await this.get("/metrics");
    const samples = text.split("\n").filter((line) => line !== "" && !line.startsWith("#"));
    return new Map(
      samples.map((line) => [
        line.slice(0, line.lastIndexOf(" ")),
        Number(line.slice(line.lastIndexOf(" ") + 1)),
      ]),
    );
  }

  /** Waits until the status satisfies `condition`; throws when the sidecar ends first, or too late. */
  async waitFor(what: string, condition: (status: Status) => boolean, timeoutMs = 30_000): Promise<Status> {
    let last: Status | null = null;
    for (const giveUp = Date.now() + timeoutMs; Date.now() < giveUp; await sleep(POLL_MS)) {
      if (!this.running)
        throw new Error(
          `the sidecar ended with ${this.#ending()} before ${what}:\n${this.log().slice(-1500)}`,
        );
      last = await this.status();
      if (last !== null && condition(last)) return last;
      // It waits for the operator: nothing will come any more.
      if (last?.phase === "halted") break;
    }
    throw new Error(`waited for ${what}; status ${JSON.stringify(last)}; log:\n${this.log().slice(-1500)}`);
  }

  waitPhase(phase: string, timeoutMs = 30_000): Promise<Status> {
    return this.waitFor(`phase ${phase}`, (status) => status.phase === phase, timeoutMs);
  }

  /** Waits until everything committed so far to the store that has the writes is applied; writers may continue. */
  async waitDrained(to: Store = "sqlite", timeoutMs = 30_000): Promise<Status> {
    const until = Date.now() + timeoutMs;
    const streaming = ({ phase }: Status) => phase === STREAMING[to];
    await this.waitFor(`${to} to have the writes`, streaming, timeoutMs);
    const positions = await committed(this.#stores, to);
    const what = `a drained backlog while ${to} has the writes`;
    const reached = ({ name, applied }: Status["sources"][number]) =>
      applied !== null && applied >= (positions.get(name) ?? 0);
    return this.waitFor(
      what,
      (status) => streaming(status) && status.sources.every(reached),
      until - Date.now(),
    );
  }

  kill9(): Promise<void> {
    return this.#end("SIGKILL").then(() => {});
  }

  /** SIGTERM; the exit code, or null when it had to be killed after all. */
  term(): Promise<number | null> {
    return this.#end("SIGTERM");
  }

  /** Kills it if it runs, and deletes its folder. */
  async remove(): Promise<void> {
    await this.kill9();
    this.#remove();
  }

  async #end(signal: NodeJS.Signals): Promise<number | null> {
    const child = this.#process;
    if (!child || !this.running) return child?.exitCode ?? null;
    const ended = new Promise<number | null>((resolve) => child.once("exit", resolve));
    child.kill(signal);
    const late = setTimeout(() => child.kill("SIGKILL"), 20_000);
    const code = await ended;
    clearTimeout(late);
    return code;
  }

  #ending(): string {
    return `code ${this.#process?.exitCode} signal ${this.#process?.signalCode}`;
  }
}
