// The command line around the commands: usage, help, errors, exit codes, signals, a closed pipe. What a command
// itself does is tested elsewhere; where one is needed, a copy of the build carries one that does as it is told.
import { type ChildProcess, spawn } from "node:child_process";
import {
  chmodSync,
  cpSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, expect, test } from "vitest";
import { ERRORS } from "#switchback/errors.js";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));
const CLI = join(ROOT, "dist/cli.js");
const folder = mkdtempSync(join(tmpdir(), "switchback-cli-"));
const ACTOR = join(folder, "copy/dist/cli.js");
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** `status` of the copy: does what the variable ACT says. */
const ACT = `
import { SwitchbackError } from "../errors.js";
const forever = () => new Promise(() => setInterval(() => {}, 1000));
const acts = {
  answer: (c) => { c.out(JSON.stringify({ sources: c.config.sources.length })); return 0; },
  no: () => 1,
  refused: () => { throw new SwitchbackError("TARGET_TAKEN", "held by postgres://u:hunter2@h/d", { source: "app" }); },
  away: () => { throw new SwitchbackError("POSTGRES_UNREACHABLE", "no answer"); },
  bug: () => { throw new TypeError("x is not\\n a function, password=hunter2"); },
  late: () => { setTimeout(() => { Promise.reject(new Error("too late")); }, 10); return forever(); },
  log: (c) => { c.log.info({ url: "postgres://u:hunter2@h/d" }, "hello"); return 0; },
  wait: (c) => { c.out("waiting"); const timer = setInterval(() => {}, 1000); return new Promise((r) => c.signal.addEventListener("abort", () => { clearInterval(timer); r(0); })); },
  aborted: (c) => { c.out("waiting"); const timer = setInterval(() => {}, 1000); return new Promise((_, r) => c.signal.addEventListener("abort", () => { clearInterval(timer); r(c.signal.reason); })); },
  hang: (c) => { c.out("waiting"); return forever(); },
  flood: async (c) => { for (;;) { c.signal.throwIfAborted(); c.out("x".repeat(1000)); await new Promise((r) => setImmediate(r)); } },
  server: (c) => { c.out(JSON.stringify(c.config.postgres)); return 0; },
  long: (c) => { c.out("x".repeat(1_000_000)); return 0; },
};
export const status = async (context) => acts[process.env.ACT](context);
`;

beforeAll(() => {
  const copy = join(folder, "copy");
  mkdirSync(copy);
  cpSync(join(ROOT, "dist"), join(copy, "dist"), { recursive: true });
  cpSync(join(ROOT, "package.json"), join(copy, "package.json"));
  symlinkSync(join(ROOT, "node_modules"), join(copy, "node_modules"));
  writeFileSync(join(copy, "dist/cli/status.js"), ACT);
});

interface Result {
  readonly code: number | null;
  readonly signal: string | null;
  readonly stdout: string;
  readonly stderr: string;
}

function begin(script: string, args: readonly string[], env: Record<string, string> = {}): ChildProcess {
  return spawn(process.execPath, [script, ...args], {
    cwd: folder,
    env: { PATH: process.env.PATH, ...env },
    stdio: ["ignore", "pipe", "pipe"],
  });
}

function ended(child: ChildProcess): Promise<Result> {
  let stdout = "";
  let stderr = "";
  child.stdout?.on("data", (part) => {
    stdout += part;
  });
  child.stderr?.on("data", (part) => {
    stderr += part;
  });
  return new Promise((resolve) =>
    child.on("close", (code, signal) => resolve({ code, signal, stdout, stderr })),
  );
}

const run = (...args: string[]) => ended(begin(CLI, args));

const SETTINGS = ["--sqlite", "a.db", "--postgres", "postgres://u:hunter2@h/d"];
const start = (act: string, ...args: string[]) =>
  begin(ACTOR, ["status", ...SETTINGS, ...args], { ACT: act });
const act = (name: string, ...args: string[]) => ended(start(name, ...args));

/** Resolves when the command has said something. */
const speaking = (child: ChildProcess) =>
  new Promise<void>((resolve) => child.stdout?.once("data", () => resolve()));

test("--version is the package's, --help teaches, both succeed", async () => {
  const { version } = JSON.parse(readFileSync(join(ROOT, "package.json"), "utf8"));
  expect(await run("--version")).toMatchObject({ code: 0, stdout: `${version}\n`, stderr: "" });
  const help = await run("--help");
  expect([help.code, help.stderr]).toEqual([0, ""]);
  for (const part of [
    "Examples:",
    "Exit codes:",
    "Environment",
    "DATABASE_URL",
    "SWITCHBACK_TOKEN",
    "70",
    "--embedded",
  ]) {
    expect(help.stdout).toContain(part);
  }
  const commands = [
    ...help.stdout.matchAll(/^ {2}([a-z]+)(?: \[options\])?(?: \[command\.\.\.\])? {2,}/gm),
  ].map(([, name]) => name);
  for (const name of ["check", "plan", "backfill", "run", "status", "verify", "teardown", "exec", "demo"]) {
    expect(commands).toContain(name);
  }
});

test("each command's own help has its options, the common ones and examples", async () => {
  const own = {
    plan: "--suggest",
    verify: "--repair",
    status: "--watch",
    teardown: "--keep",
    run: "SIGTERM",
    exec: "legacy_alter_table",
  };
  for (const [name, part] of Object.entries(own)) {
    const help = await run(name, "--help");
    expect(help.code).toBe(0);
    for (const text of [part, "--log-level", "Examples:", `switchback ${name}`, "Exit codes:"])
      expect(help.stdout).toContain(text);
  }
});

test("without a command: the help, as an error", async () => {
  const result = await run();
  expect([result.code, result.stdout]).toEqual([2, ""]);
  expect(result.stderr).toContain("Usage: switchback");
});

test.each([
  [["nope"], "unknown command 'nope'"],
  [["verfy"], "unknown command 'verfy' (Did you mean verify?)"],
  [["status", "--wath"], "unknown option '--wath' (Did you mean --watch?)"],
  [["--nope", "status"], "unknown option '--nope'"],
  [["status", "extra"], "too many arguments for 'status'. Expected 0 arguments but got 1."],
  [["--config"], "option '--config <file>' argument missing"],
  [["status", "--log-level", "loud"], "argument 'loud' is invalid"],
  [["teardown", "--keep", "mysql"], "argument 'mysql' is invalid"],
])("usage: %j is exit code 2 and one line", async (args, message) => {
  const result = await run(...args);
  expect([result.code, result.stdout]).toEqual([2, ""]);
  const lines = result.stderr.trimEnd().split("\n");
  expect(lines).toEqual([expect.stringContaining("switchback: USAGE "), expect.stringMatching(/^ {2}→ /)]);
  expect(lines[0]).toContain(message);
});

test("options stand before or after the command", async () => {
  for (const args of [
    ["--json", ...SETTINGS, "status"],
    ["status", "--json", ...SETTINGS],
    [...SETTINGS.slice(0, 2), "status", ...SETTINGS.slice(2), "--sqlite", "b.db"],
  ]) {
    const result = await ended(begin(ACTOR, args, { ACT: "answer" }));
    expect(result).toMatchObject({
      code: 0,
      stdout: `{"sources":${args.includes("b.db") ? 2 : 1}}\n`,
      stderr: "",
    });
  }
});

test("a wrong configuration: exit code 2, every line, no secret; with --json one document", async () => {
  writeFileSync(
    join(folder, "bad.yaml"),
    "sources: [{ sqlite: a.db, x: 1 }]\npostgres: { passwrod: hunter2 }\n",
  );
  const person = await run("status", "--config", "bad.yaml");
  expect([person.code, person.stdout]).toEqual([2, ""]);
  expect(person.stderr.split("\n")).toHaveLength(5);
  expect(person.stderr).toMatch(
    /^switchback: CONFIG_INVALID 2 problems in .*bad\.yaml\n {2}sources\[0\]\.x: /,
  );
  const script = await run("--json", "--config", "bad.yaml", "status");
  expect(script.code).toBe(2);
  expect(JSON.parse(script.stdout).error).toMatchObject({ code: "CONFIG_INVALID", where: {} });
  expect(person.stderr + script.stdout + script.stderr).not.toContain("hunter2");
  expect((await run("status", "--config", "absent.yaml")).stderr).toContain("CONFIG_MISSING");
});

test.each([
  ["answer", 0],
  ["no", 1],
  ["away", 3],
  ["refused", 4],
  ["bug", 70],
  ["late", 70],
])("a command that ends with %s has exit code %i", async (name, code) => {
  expect(await act(name)).toMatchObject({ code, signal: null });
});

test("an error of ours: one line, the hint, no secret; the same as one JSON document", async () => {
  const person = await act("refused");
  expect([person.stdout, person.stderr]).toEqual([
    "",
    `switchback: TARGET_TAKEN held by postgres://u:***@h/d\n  → ${ERRORS.TARGET_TAKEN.hint}\n`,
  ]);
  const script = await act("refused", "--json");
  expect(JSON.parse(script.stdout)).toEqual({
    error: {
      code: "TARGET_TAKEN",
      message: "held by postgres://u:***@h/d",
      hint: ERRORS.TARGET_TAKEN.hint,
      where: { source: "app" },
    },
  });
});

test("a bug: one line that asks for a report, the stack only at --log-level debug", async () => {
  const plain = await act("bug", "--json");
  expect(plain.stderr.split("\n")).toHaveLength(3);
  expect(plain.stderr).toMatch(
    /^switchback: BUG TypeError: x is not a function, password=\*\*\*\n {2}→ .*[Rr]eport/,
  );
  expect(JSON.parse(plain.stdout).error.code).toBe("BUG");
  const debug = await act("bug", "--log-level", "debug");
  expect(debug.stderr).toMatch(/\n {4}at .*status\.js/);
  expect(debug.stderr).not.toContain("hunter2");
});

test("the log: JSON on stderr when that is no terminal, stdout untouched, at the level asked for", async () => {
  const result = await act("log", "--json", "--log-level", "info");
  expect(JSON.parse(result.stderr.trimEnd().split("\n").at(-1) ?? "")).toMatchObject({
    level: "info",
    msg: "hello",
    url: "postgres://u:***@h/d",
  });
  expect(result.stdout).toBe("");
  expect((await act("log")).stderr).toBe("");
});

test.each(["SIGTERM", "SIGINT"] as const)("%s lets the command finish by itself", async (signal) => {
  const child = start("wait");
  const end = ended(child);
  await speaking(child);
  child.kill(signal);
  expect(await end).toMatchObject({ code: 0, signal: null, stderr: "" });
});

test("a command that gives up when told to stop is not done: exit code 1", async () => {
  const child = start("aborted", "--json");
  const end = ended(child);
  await speaking(child);
  child.kill("SIGTERM");
  const result = await end;
  expect([result.code, result.stderr]).toEqual([
    1,
    "switchback: stopped by SIGTERM before the command was done; run it again to resume\n",
  ]);
});

test("the second signal ends a command that does not stop", async () => {
  const child = start("hang");
  const end = ended(child);
  await speaking(child);
  child.kill("SIGINT");
  await new Promise((resolve) => setTimeout(resolve, 300));
  expect(child.exitCode).toBeNull();
  child.kill("SIGINT");
  expect((await end).code).toBe(130);
});

test("a reader that goes away ends the command quietly", async () => {
  const child = start("flood");
  const end = ended(child);
  await speaking(child);
  child.stdout?.destroy();
  expect(await end).toMatchObject({ code: 0, signal: null, stderr: "" });
});

test("a long answer arrives whole", async () => {
  expect((await act("long")).stdout).toHaveLength(1_000_001);
});

test("--embedded: a server while the command runs, none afterwards", async () => {
  // The server's own user must reach its cluster.
  chmodSync(folder, 0o755);
  const child = begin(ACTOR, ["status", "--sqlite", "a.db", "--embedded"], { ACT: "server" });
  const result = await ended(child);
  expect([result.code, result.stderr]).toEqual([0, ""]);
  const { host, port } = JSON.parse(result.stdout);
  const refused = new Promise((resolve) => connect(port, host).once("error", resolve));
  expect(await refused).toMatchObject({ code: "ECONNREFUSED" });
});

test("the build leaves an executable file", () => {
  expect(statSync(CLI).mode & 0o111).toBe(0o111);
  expect(readFileSync(CLI, "utf8")).toMatch(/^#!\/usr\/bin\/env node\n/);
});
