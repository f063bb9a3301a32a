// The rules of the house, for every file: what may lie where, who may know whom, and what may never be
// committed. STYLE and layers are kept by these, not by memory.
import { readdirSync, readFileSync } from "node:fs";
import { basename, dirname, join, normalize } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));
/** Made by tools, kept out of git. */
const MADE = new Set(["node_modules", "dist", ".git", ".switchback"]);

/** Every file under a folder, as paths from the root with slashes. */
function filesIn(folder: string): string[] {
  return readdirSync(join(ROOT, folder), { withFileTypes: true }).flatMap((entry) => {
    if (MADE.has(entry.name)) return [];
    const path = join(folder, entry.name);
    return entry.isDirectory() ? filesIn(path) : [path.replaceAll("\\", "/")];
  });
}

const read = (path: string) => readFileSync(join(ROOT, path), "utf8");
const all = filesIn(".");
const sources = all.filter((path) => path.startsWith("src/") && path.endsWith(".ts"));
const tests = all.filter((path) => path.startsWith("test/") && path.endsWith(".ts"));
/** Everything but pictures and the lock file, which is npm's. */
const texts = all.filter((path) => !/\.(png|ico|woff2?)$/.test(path) && path !== "package-lock.json");

/** The code alone: comments and the insides of plain strings are someone's words. */
function code(path: string): string {
  return read(path)
    .replaceAll(/\/\*[\s\S]*?\*\//g, "")
    .replaceAll(/(^|[^:"'`])\/\/.*$/gm, "$1")
    .replaceAll(/"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*'/g, '""');
}

/** The project's own files that a file imports, statically or not. */
function imports(path: string): string[] {
  const named = read(path).matchAll(/(?:from|import)\s*\(?\s*["']([.#][^"']+)["']/g);
  return [...named].map(([, target = ""]) => {
    const [, aliased] = /^#switchback\/(.*)/.exec(target) ?? [];
    return normalize(aliased ? `src/${aliased}` : join(dirname(path), target)).replaceAll("\\", "/");
  });
}

/** `file:line: text` for every line that the pattern finds. */
function lines(paths: readonly string[], pattern: RegExp, text: (path: string) => string = read): string[] {
  return paths.flatMap((path) =>
    text(path)
      .split("\n")
      .flatMap((line, i) => (pattern.test(line) ? [`${path}:${i + 1}: ${line.trim().slice(0, 100)}`] : [])),
  );
}

test("the rules look at something", () => {
  expect(sources.length).toBeGreaterThan(20);
  expect(tests.length).toBeGreaterThan(8);
  expect(imports("src/cli.ts")).toContain("src/cli/main.js");
  expect(imports("src/cli/commands.ts")).toContain("src/cli/run.js");
});

test("the top level holds what the contract names", () => {
  const named = [
    "package.json",
    "package-lock.json",
    "tsconfig.json",
    "src",
    "sql",
    "test",
    "deploy",
    "docs",
    "README.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    "LICENSE",
  ];
  const tools = ["biome.json", "vitest.config.ts"];
  const found = readdirSync(ROOT).filter((name) => !name.startsWith(".") && !MADE.has(name));
  expect(found.filter((name) => ![...named, ...tools].includes(name))).toEqual([]);
});

test("a file can be held in one's head: at most 400 lines", () => {
  const long = sources
    .map((path) => [path, read(path).split("\n").length - 1] as const)
    .filter(([, count]) => count > 400);
  expect(long).toEqual([]);
});

test("every source file opens with a comment that says what it owns", () => {
  const mute = sources.filter((path) => !/^(#!.*\n)?(\/\/|\/\*)/.test(read(path)));
  expect(mute).toEqual([]);
});

test("no file is named for everything and nothing", () => {
  expect(sources.filter((path) => /(^|[/-])(utils?|helpers?|common|managers?|misc)\b/i.test(path))).toEqual(
    [],
  );
});

test("no any, no non-null assertion by another name", () => {
  expect(lines(sources, /(:|<|,|\||\bas)\s*any\b(?!\s*[:(])|@ts-(ignore|nocheck)/, code)).toEqual([]);
  expect(lines(sources, /@ts-(ignore|nocheck|expect-error)|biome-ignore-all/)).toEqual([]);
});

/** What a file exports by declaring it, not by passing on another file's. */
const EXPORTED =
  /^export (?:declare |abstract |async )*(?:function\*?|const|let|class|interface|type|enum) ([\w$]+)/gm;

test("a name that is exported is exported by one file: one guess is enough", () => {
  const files = new Map<string, Set<string>>();
  for (const path of sources) {
    for (const [, name = ""] of code(path).matchAll(EXPORTED)) {
      files.set(name, (files.get(name) ?? new Set()).add(path));
    }
  }
  expect(files.size).toBeGreaterThan(300);
  const twice = [...files].filter(([, paths]) => paths.size > 1);
  expect(twice.map(([name, paths]) => `${name}: ${[...paths].sort().join(", ")}`).sort()).toEqual([]);
});

test("what is exported is imported somewhere, or is the client library's surface", () => {
  const surface = "src/client/index.ts";
  const scripts = all.filter((path) => path.startsWith("test/") && path.endsWith(".js"));
  const importers = new Map<string, string[]>();
  for (const path of [...sources, ...tests, ...scripts]) {
    for (const target of imports(path)) {
      const source = target.replace(/^dist\//, "src/").replace(/\.js$/, ".ts");
      importers.set(source, [...(importers.get(source) ?? []), code(path)]);
    }
  }
  const idle = sources
    .filter((path) => path !== surface)
    .flatMap((path) =>
      [...code(path).matchAll(EXPORTED)]
        .map(([, name = ""]) => name)
        .filter((name) => !importers.get(path)?.some((text) => new RegExp(`\\b${name}\\b`).test(text)))
        .map((name) => `${path}: ${name}`),
    );
  expect(idle).toEqual([]);
});

/** What a fixed statement begins with. */
const VERB =
  "(?:SELECT|INSERT|UPDATE|DELETE|WITH|CREATE|ALTER|DROP|LOCK|GRANT|REVOKE|TRUNCATE|SET|BEGIN|DO|COPY)";
/** A template with a line break that holds a statement, and at most constants in it: nothing of a schema. */
const FIXED_SQL = new RegExp(String.raw`\x60\s*${VERB}\b(?:[^\x60$]|\$(?!\{)|\$\{[A-Z_]+\})*\x60`, "g");
/** A statement in two strings. */
const JOINED_SQL = new RegExp(String.raw`"${VERB}\b[^"\n]*"\s*\+\s*"`, "g");

test("fixed SQL of more than a line stands in sql/, by name", () => {
  const fixed = (text: string) => [...text.matchAll(FIXED_SQL), ...text.matchAll(JOINED_SQL)];
  expect(fixed(["`SELECT a", " FROM b`"].join("\n"))).toHaveLength(1);
  expect(fixed('"SELECT a " +\n "FROM b"')).toHaveLength(1);
  const standing = sources.flatMap((path) =>
    fixed(read(path))
      .filter(([text]) => text.includes("\n"))
      .map(([text]) => `${path}: ${text.slice(0, 80)}`),
  );
  expect(standing).toEqual([]);
});

test("a file in sql/ is named in the code, and says what it does", () => {
  const statements = all.filter((path) => /^sql\/.*\.sql$/.test(path) && !path.includes("/migrations/"));
  expect(statements.length).toBeGreaterThan(40);
  const whole = sources.map(read).join("\n");
  const idle = statements.filter((path) => !new RegExp(`["'\`/]${basename(path, ".sql")}["'\`]`).test(whole));
  expect(idle).toEqual([]);
  expect(statements.filter((path) => !read(path).startsWith("-- "))).toEqual([]);
});

test("every test runs", () => {
  expect(
    lines(tests, /\b(test|it|describe|suite|context|ctx)\s*\.\s*(?:skip|only|todo|fails|skipIf|runIf)\b/),
  ).toEqual([]);
});

test("nothing is unfinished by its own words", () => {
  const shipped = texts.filter((path) => /^(src|sql|deploy|docs)\/|^[A-Z]+\.md$/.test(path));
  expect(lines(shipped, /\b(TODO|FIXME|XXX)\b|not implemented|\bfor now\b|placeholder value/i)).toEqual([]);
});

test("nothing speaks of the machine it was written on", () => {
  const places = ["work", "farm"].map((name) => `/${name}/`);
  const hosts = ["registry[.]npm", "deb[.]debian", "registry[.]yarn"];
  const pattern = new RegExp([...places, ...hosts, "issue #?[0-9]+", "this [s]ession"].join("|"), "i");
  expect(lines(texts, pattern)).toEqual([]);
  const lock = read("package-lock.json");
  expect(lock.includes(`"${"resolved"}"`)).toBe(false);
  expect(new RegExp([...places, ...hosts].join("|")).test(lock)).toBe(false);
});

test("no database is committed", () => {
  expect(all.filter((path) => /\.(db|sqlite3?)(-wal|-shm|-journal)?$/.test(path))).toEqual([]);
});

/**
 * The rooms of the source, and what each may import besides itself and the files directly under src/. A room stands
 * above every room that it may import, so that no import runs up.
 */
const ROOMS: Readonly<Record<string, readonly string[]>> = {
  schema: [],
  translate: ["schema"],
  codec: ["schema"],
  telemetry: [],
  protocol: [],
  config: ["schema", "telemetry"],
  client: ["config", "telemetry"],
  embedded: ["config"],
  mapping: ["config", "schema", "translate", "codec"],
  sqlite: ["protocol", "mapping", "codec", "schema"],
  postgres: ["protocol", "config", "mapping", "translate", "codec", "schema"],
  cutover: ["sqlite", "postgres", "protocol", "config", "telemetry"],
  sidecar: [
    ...["cutover", "sqlite", "postgres", "protocol", "config", "telemetry"],
    ...["mapping", "codec", "schema"],
  ],
  demo: ["embedded"],
  cli: [
    ...["sidecar", "cutover", "demo", "embedded", "sqlite", "postgres"],
    ...["mapping", "config", "schema", "telemetry"],
  ],
};
/** Files directly under src/ that are no common ground: the entry point. */
const ENTRY = "src/cli.ts";

function roomOf(path: string): string | null {
  const [, room, ...rest] = path.split("/");
  return rest.length === 0 ? null : (room ?? null);
}

test("every folder is a room of the table, and no import runs up", () => {
  const rooms = new Set(sources.map(roomOf).filter((room) => room !== null));
  expect([...rooms].sort()).toEqual(Object.keys(ROOMS).sort());
  const order = Object.keys(ROOMS);
  for (const [room, below] of Object.entries(ROOMS)) {
    expect(below.filter((other) => order.indexOf(other) >= order.indexOf(room))).toEqual([]);
  }
  const broken = sources
    .filter((path) => path !== ENTRY)
    .flatMap((path) => {
      const own = roomOf(path);
      const may = own === null ? [] : [own, ...(ROOMS[own] ?? [])];
      return imports(path)
        .filter((target) => roomOf(target) !== null && !may.includes(roomOf(target) ?? ""))
        .map((target) => `${path} → ${target}`);
    });
  expect(broken).toEqual([]);
});

test("the protocol names no engine", () => {
  const protocol = sources.filter((path) => path.startsWith("src/protocol/"));
  expect(protocol.length).toBeGreaterThan(5);
  // The contract has to say which form rows travel in.
  const algorithms = protocol.filter((path) => path !== "src/protocol/contract.ts");
  expect(lines(algorithms, /sqlite|postgres/i)).toEqual([]);
});

test("only cli.ts ends the process and handles signals", () => {
  // The demo's writer is the sample application, a program of its own.
  const others = sources.filter((path) => path !== "src/cli.ts" && path !== "src/demo/writer.ts");
  expect(lines(others, /\bprocess\s*\.\s*(exit|abort|reallyExit)\b(?!Code)/, code)).toEqual([]);
  expect(lines(others, /\bprocess\s*\.\s*(?:on|once)\(\s*["']SIG/)).toEqual([]);
});
