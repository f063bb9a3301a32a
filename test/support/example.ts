// deploy/examples/route_writer.py as its user runs it, with the machine's psycopg2 where there is one.
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { python } from "./sqlite.js";

const EXAMPLE = readFileSync(new URL("../../deploy/examples/route_writer.py", import.meta.url), "utf8");
const DRIVER = fileURLToPath(new URL("./python", import.meta.url));

export interface Example {
  /** Has a row written; what the example printed. */
  say(body: string): Promise<string>;
  /** Throws what the example failed with, if it did. */
  finish(): Promise<void>;
  kill(): void;
}

/** Debian's own Python has Debian's psycopg2, and need not be the first one in the path. */
const withDriver = ["python3", "/usr/bin/python3"].find(
  (interpreter) => spawnSync(interpreter, ["-c", "import psycopg2"]).status === 0,
);

/**
 * `driver`: "any" is the machine's psycopg2, or where it has none the stand-in; `into` is the table and the column
 * that the example calls note (body).
 */
export function routeWriter(
  [file, url, route]: readonly [string, string, string],
  { driver = "any", into = "note (body)" }: { driver?: "any" | "stand-in"; into?: string } = {},
): Example {
  const real = driver === "any" ? withDriver : undefined;
  const path = real ? "" : `import sys; sys.path.insert(0, ${JSON.stringify(DRIVER)})\n`;
  const script = path + EXAMPLE.replace("note (body)", into);
  const outside = python(script, [file, url, route], real);
  return {
    say(body) {
      outside.process.stdin?.write(`${body}\n`);
      return outside.line();
    },
    async finish() {
      await outside.finish();
    },
    kill: () => outside.kill(),
  };
}
