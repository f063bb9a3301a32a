// The demo's child processes: the real command line with a configuration file, and the shop's tills. This
// file ends every process that it starts.
import { type ChildProcess, spawn } from "node:child_process";
import { closeSync, openSync, readFileSync } from "node:fs";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import type { Status } from "../status.js";
import type { TillReport, WriterEvent } from "./ledger.js";

const CLI = fileURLToPath(new URL("../cli.js", import.meta.url));
const WRITER = fileURLToPath(new URL("./writer.js", import.meta.url));
const END_MS = 15_000;

export type Move = Extract<WriterEvent, { kind: "moved" }>;

/** Our own environment may name other stores than the demo's. */
function environment(): NodeJS.ProcessEnv {
  const foreign = /^(PG|POSTGRES_|SWITCHBACK_|SQLITE_DATABASE_PATH|DATABASE_URL)/;
  return Object.fromEntries(Object.entries(process.env).filter(([name]) => !foreign.test(name)));
}

function ended(child: ChildProcess): boolean {
  return child.exitCode !== null || child.signalCode !== null;
}

async function end(child: ChildProcess, signal: NodeJS.Signals | null): Promise<number | null> {
  if (ended(child)) return child.exitCode;
  // All output has been read by then.
  const exit = new Promise<number | null>((resolve) => child.once("close", resolve));
  if (signal) child.kill(signal);
  const late = setTimeout(() => child.kill("SIGKILL"), END_MS);
  const code = await exit;
  clearTimeout(late);
  return code;
}

export class SidecarProcess {
  readonly #child: ChildProcess;
  readonly #logFile: string;
  readonly #port: number;

  constructor(folder: string, config: string, port: number) {
    this.#logFile = `${folder}/sidecar.log`;
    this.#port = port;
    const log = openSync(this.#logFile, "w");
    this.#child = spawn(process.execPath, [CLI, "run", "--config", config], {
      cwd: folder,
      env: environment(),
      stdio: ["ignore", log, log],
    });
    closeSync(log);
  }

  /** Null while it does not answer yet; throws when it has ended. */
  async status(): Promise<Status | null> {
    if (ended(this.#child))
      throw new Error(`the sidecar ended with code ${this.#child.exitCode}:\n${this.log()}`);
    try {
      const response = await fetch(`http://127.0.0.1:${this.#port}/status`, {
        signal: AbortSignal.timeout(2_000),
      });
      return (await response.json()) as Status;
    } catch {
      return null;
    }
  }

  log(): string {
    return readFileSync(this.#logFile, "utf8").trimEnd().split("\n").slice(-12).join("\n");
  }

  /** SIGTERM; the exit code. */
  stop(): Promise<number | null> {
    return end(this.#child, "SIGTERM");
  }
}

interface TillOptions {
  readonly file: string;
  readonly routeFile: string;
  readonly postgresUrl: string;
  readonly till: number;
}

export class TillProcess {
  readonly #child: ChildProcess;
  readonly #moves: Move[] = [];
  #report: TillReport | null = null;
  #errors = "";

  constructor({ file, routeFile, postgresUrl, till }: TillOptions) {
    this.#child = spawn(process.execPath, [WRITER, file, routeFile, String(till)], {
      // The URL holds a password, and every user can read a process's arguments.
      env: { ...environment(), SHOP_DATABASE_URL: postgresUrl },
      stdio: ["pipe", "pipe", "pipe"],
    });
    const { stdin, stdout, stderr } = this.#child;
    if (stdout) {
      createInterface({ input: stdout }).on("line", (line) => {
        const event = JSON.parse(line) as WriterEvent;
        if (event.kind === "moved") this.#moves.push(event);
        else this.#report = event;
      });
    }
    stderr?.setEncoding("utf8").on("data", (text: string) => {
      this.#errors += text;
    });
    // It may have failed before this request to stop.
    stdin?.on("error", () => {});
  }

  /** The move to the other store by that number, 0 for the first; null before it happened. */
  move(n: number): Move | null {
    if (ended(this.#child)) throw this.#failure();
    return this.#moves[n] ?? null;
  }

  /** Lets it finish its transaction and returns its acknowledgements. Throws when a statement failed. */
  async stop(): Promise<TillReport> {
    this.#child.stdin?.end();
    const code = await end(this.#child, null);
    if (code !== 0 || !this.#report) throw this.#failure();
    return this.#report;
  }

  kill(): Promise<unknown> {
    return end(this.#child, "SIGKILL");
  }

  #failure(): Error {
    return new Error(`a till failed: ${this.#errors.trim().split("\n").slice(-6).join("\n")}`);
  }
}

/** Runs one command; its exit code and what it printed. */
export async function command(
  folder: string,
  args: readonly string[],
): Promise<{ code: number | null; stdout: string; stderr: string }> {
  const child = spawn(process.execPath, [CLI, ...args], {
    cwd: folder,
    env: environment(),
    stdio: ["ignore", "pipe", "pipe"],
  });
  let stdout = "";
  let stderr = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    stdout += text;
  });
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    stderr += text;
  });
  const code = await new Promise<number | null>((resolve) => child.once("close", resolve));
  return { code, stdout, stderr };
}
