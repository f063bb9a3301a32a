// The demo's child processes: the real command line with a configuration file, and the shop's writer. Everything
// that is started here is ended here.
import { type ChildProcess, spawn } from "node:child_process";
import { closeSync, openSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import type { Status } from "../status.js";

const CLI = fileURLToPath(new URL("../cli.js", import.meta.url));
const WRITER = fileURLToPath(new URL("./writer.js", import.meta.url));
const END_MS = 15_000;

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
  const exit = new Promise<number | null>((resolve) => child.once("exit", resolve));
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

export class WriterProcess {
  readonly #child: ChildProcess;
  #output = "";

  constructor(file: string) {
    this.#child = spawn(process.execPath, [WRITER, file], {
      env: environment(),
      stdio: ["pipe", "pipe", "pipe"],
    });
    for (const stream of [this.#child.stdout, this.#child.stderr]) {
      stream?.setEncoding("utf8").on("data", (text: string) => {
        this.#output += text;
      });
    }
    // It may have failed before it is told to stop.
    this.#child.stdin?.on("error", () => {});
  }

  /** Lets it finish its transaction; returns how many it committed. Throws when any statement of it failed. */
  async stop(): Promise<number> {
    this.#child.stdin?.end();
    const code = await end(this.#child, null);
    if (code !== 0)
      throw new Error(`the shop failed: ${this.#output.trim().split("\n").slice(-6).join("\n")}`);
    return Number(this.#output);
  }

  kill(): Promise<unknown> {
    return end(this.#child, "SIGKILL");
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
