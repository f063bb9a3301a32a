// deploy/examples/route_writer.py as its user runs it, with the machine's psycopg2 where there is one.
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { type Outside, python } from "./sqlite.js";

const EXAMPLE = readFileSync(new URL("../../deploy/examples/route_writer.py", import.meta.url), "utf8");
const DRIVER = fileURLToPath(new URL("./python", import.meta.url));

export interface Example {
  /** Has a row written; what the example printed. */
  say(body: string): Promise<string>;
  /** Throws what the example failed with, if it did. */
  finish(): Promise<void>;
  kill(): void;
}

/**
 * `driver`: "any" takes the machine's psycopg2 before the stand-in, which is for machines that have none; `into` is
 * the table and the column that the example calls note (body).
 */
export function routeWriter(
  [file, url, route]: readonly [string, string, string],
  { driver = "any", into = "note (body)" }: { driver?: "any" | "stand-in"; into?: string } = {},
): Example {
  const path = `import sys; sys.path.insert(${driver === "any" ? "len(sys.path)" : 0}, ${JSON.stringify(DRIVER)})\n`;
  const outside: Outside = python(path + EXAMPLE.replace("note (body)", into), [file, url, route]);
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
