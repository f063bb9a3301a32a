// SQLite files and writers as applications have them: better-sqlite3 with recursive triggers off, as every other
// language has it, and Python's sqlite3 in another process with another SQLite library.
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { join } from "node:path";
import Database from "better-sqlite3";
import { temporaryFolder } from "./scratch.js";

export interface TestFile {
  readonly path: string;
  readonly folder: string;
  /** A new connection that writes as other languages do; closed by `remove`. */
  writer(): Database.Database;
  remove(): void;
}

/** A fresh database with that schema, in WAL mode unless told otherwise. */
export function testFile(schema: string, journal: "wal" | "delete" = "wal"): TestFile {
  const { folder, remove } = temporaryFolder();
  const path = join(folder, "app.db");
  const open: Database.Database[] = [];
  const writer = () => {
    const database = openWriter(path);
    open.push(database);
    return database;
  };
  const database = openWriter(path);
  database.pragma(`journal_mode = ${journal}`);
  database.exec(schema);
  database.close();
  return {
    path,
    folder,
    writer,
    remove() {
      for (const database of open) database.close();
      remove();
    },
  };
}

/**
 * better-sqlite3 is compiled with recursive triggers on, under which REPLACE logs what elsewhere it does not, and
 * with foreign keys enforced, which elsewhere each connection has to ask for.
 */
export function openWriter(path: string): Database.Database {
  const database = new Database(path, { timeout: 10_000 });
  database.pragma("recursive_triggers = OFF");
  database.pragma("foreign_keys = OFF");
  database.pragma("synchronous = NORMAL");
  return database;
}

// ---- Python

export interface Outside {
  /** Its next line of output. */
  line(): Promise<string>;
  /** Lets it continue to its end; everything it printed, by line. Throws when it failed. */
  finish(): Promise<string[]>;
  /** Closes its standard input, which the scripts here take as the sign to stop. */
  stop(): void;
  kill(): void;
  readonly process: ChildProcess;
}

/** Runs a Python program in another process; `sys.argv[1:]` are the arguments. */
export function python(
  script: string,
  args: readonly string[] = [],
  interpreter = "python3",
  environment: Readonly<Record<string, string>> = {},
): Outside {
  const child = spawn(interpreter, ["-u", "-c", script, ...args], {
    stdio: ["pipe", "pipe", "pipe"],
    env: { ...process.env, ...environment },
  });
  const lines: string[] = [];
  const waiting: ((line: string) => void)[] = [];
  let rest = "";
  let errors = "";
  let read = 0;
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    const parts = (rest + text).split("\n");
    rest = parts.pop() ?? "";
    for (const line of parts) {
      lines.push(line);
      const next = waiting.shift();
      if (next) {
        read += 1;
        next(line);
      }
    }
  });
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    errors += text;
  });
  // It may be gone before it is told to stop.
  child.stdin.on("error", () => {});
  const ended = new Promise<number | null>((resolve, reject) => {
    child.once("error", reject);
    child.once("close", resolve);
  });
  ended.catch(() => {});
  const failed = ended.then((code) =>
    Promise.reject(new Error(`python ended with ${code}: ${errors.slice(-1500)}`)),
  );
  failed.catch(() => {});
  return {
    process: child,
    line() {
      const ready = lines[read];
      if (ready !== undefined) {
        read += 1;
        return Promise.resolve(ready);
      }
      return Promise.race([new Promise<string>((resolve) => waiting.push(resolve)), failed]);
    },
    stop: () => child.stdin.end(),
    kill: () => child.kill("SIGKILL"),
    async finish() {
      child.stdin.end();
      const code = await ended;
      if (code !== 0) throw new Error(`python ended with ${code}: ${errors.slice(-1500)}`);
      return lines;
    },
  };
}

/** Runs a short Python program, with the standard library only, to its end and returns what it printed. */
export function pythonNow(script: string, args: readonly string[] = []): string {
  const { status, stdout, stderr } = spawnSync("python3", ["-I", "-S", "-", ...args], {
    input: script,
    encoding: "utf8",
    maxBuffer: 1 << 30,
  });
  if (status !== 0) throw new Error(`python ended with ${status}: ${stderr.slice(-1500)}`);
  return stdout;
}
