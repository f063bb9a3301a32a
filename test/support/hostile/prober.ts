// Starts the process of probing.js and hears what it says.
import { spawn } from "node:child_process";
import { fileURLToPath } from "node:url";

const SCRIPT = fileURLToPath(new URL("./probing.js", import.meta.url));

export interface Counted {
  readonly sqlite: number;
  readonly postgres: number;
  readonly none: number;
}

export interface Prober {
  /** Returns when it asks nothing and has no store open. */
  pause(): Promise<void>;
  resume(): Promise<void>;
  /** The answers so far; it pauses for that. */
  asked(): Promise<Counted>;
  /** How often each store alone took the write, and how often neither did. */
  end(): Promise<Counted>;
}

export function startProber(file: string, url: string, found: (violation: string) => void): Prober {
  const child = spawn(process.execPath, [SCRIPT, file, url], { stdio: ["pipe", "pipe", "inherit"] });
  const ended = new Promise<void>((resolve) => child.once("close", () => resolve()));
  let heard: ((said: string) => void)[] = [];
  let counted: Counted = { sqlite: 0, postgres: 0, none: 0 };
  let rest = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    const lines = (rest + text).split("\n");
    rest = lines.pop() ?? "";
    for (const line of lines) {
      const said = JSON.parse(line) as { violation?: string; said?: string; at?: string; counted?: Counted };
      if (said.violation) found(`${said.at}: ${said.violation}`);
      if (said.counted) counted = said.counted;
      for (const hear of heard) hear(said.said ?? "");
    }
  });
  let last = "resume";
  const tell = async (word: string) => {
    if (word === last) return;
    last = word;
    const answer = new Promise<void>((resolve) => {
      heard.push((said) => said === word && resolve());
    });
    child.stdin.write(`${word}\n`);
    await Promise.race([answer, ended]);
    heard = [];
  };
  return {
    pause: () => tell("pause"),
    resume: () => tell("resume"),
    async asked() {
      await tell("pause");
      await tell("resume");
      return counted;
    },
    async end() {
      await tell("end");
      await ended;
      return counted;
    },
  };
}
