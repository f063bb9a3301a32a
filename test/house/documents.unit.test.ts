// The documents say what the product does: every command, option, configuration, link, path, metric, error code and
// variable in them exists, and what exists is documented. And they keep to plain, short sentences.
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { COMMANDS, HELP_REFERENCE } from "#switchback/cli/commands.js";
import { buildProgram } from "#switchback/cli/program.js";
import { loadConfig } from "#switchback/config/config.js";
import { ERRORS } from "#switchback/errors.js";
import { METRICS } from "#switchback/telemetry/metrics.js";
import { anchors, blocks, inlineCode, links, type Page, pages, ROOT, sentences } from "../support/pages.js";
import { LONGEST, UNPLAIN } from "../support/prose.js";

const all = pages();
const manual = all.filter(({ path }) => path.startsWith("docs/") || path === "README.md");
const page = (path: string): Page => {
  const found = all.find((one) => one.path === path);
  if (!found) throw new Error(`there is no ${path}`);
  return found;
};
const everywhere = <T>(find: (page: Page) => readonly T[]): [string, T][] =>
  all.flatMap((one) => find(one).map((found): [string, T] => [one.path, found]));
const unique = <T>(values: readonly T[]): T[] => [...new Set(values)];

test("the tests look at something", () => {
  expect(all.length).toBeGreaterThan(20);
  expect(unique(manual.flatMap(commandLines)).length).toBeGreaterThan(20);
  expect(manual.flatMap(blocks).filter(({ language }) => language === "yaml").length).toBeGreaterThan(2);
});

// ---- commands

/** How the command may be spelled in a document, before its own arguments. */
const CALL = /^(?:[A-Z_]+=\S+ )*(?:npx --no-install switchback|switchback|node dist\/cli\.js)(?= |$)/;
/** Options of other programs that stand in the documents. */
const FOREIGN = [
  "--global",
  "--no-install",
  "--no-save",
  "--quick",
  "--only",
  "--now",
  "--delete",
  "--allow-scripts",
];

/** The arguments of every switchback command in a page, one text per command. */
function commandLines(one: Page): string[] {
  const shell = blocks(one)
    .filter(({ language }) => /^(sh|text)$/.test(language))
    .flatMap(({ language, text }) =>
      text
        .split("\n")
        .flatMap((line) => (language === "sh" ? [line] : line.startsWith("$ ") ? [line.slice(2)] : [])),
    )
    .flatMap((line) => line.replace(/(^| )#.*$/, "").split("&&"))
    .map((line) => line.replace(/^\s*docker run .*? switchback /, "switchback "));
  return [...shell, ...inlineCode(one)]
    .map((line) => line.trim())
    .filter((line) => CALL.test(line))
    .map((line) =>
      line
        .replace(CALL, "")
        .replace(/\s*(>.*|&)$/, "")
        .trim(),
    )
    .filter((line) => !line.includes("…"));
}

/** Why the real parser refuses these arguments, or null. */
async function refusal(line: string): Promise<string | null> {
  const args = line.split(/\s+/).filter((arg) => !["", "--help", "--version", "COMMAND"].includes(arg));
  if (args.length === 0) return null;
  let ran = false;
  const program = buildProgram(async () => {
    ran = true;
  });
  try {
    await program.parseAsync(args, { from: "user" });
    return ran ? null : "no command";
  } catch (error) {
    return (error as Error).message;
  }
}

test("every switchback command parses", async () => {
  const refused: string[] = [];
  for (const [path, line] of everywhere(commandLines)) {
    const why = await refusal(line);
    if (why !== null) refused.push(`${path}: switchback ${line}: ${why}`);
  }
  expect(refused).toEqual([]);
});

test("the check of commands finds what is wrong", async () => {
  expect(await refusal("cutver")).toContain("unknown command");
  expect(await refusal("cutover --tiemout 5s")).toContain("unknown option");
  expect(await refusal("teardown --keep mysql")).toContain("Allowed choices");
});

const OPTIONS = [
  ...["--config", "--sqlite", "--postgres", "--embedded", "--json", "--log-level", "--help", "--version"],
  ...COMMANDS.flatMap(({ options = [] }) => options.map(({ flags }) => flags.split(" ", 1)[0] ?? "")),
];

test("every option exists, and cli.md has every command and option", () => {
  const named = everywhere((one) =>
    inlineCode(one).flatMap((code) => code.match(/(?<=^|\s)--[a-z][a-z-]*/g) ?? []),
  );
  expect(named.filter(([, option]) => ![...OPTIONS, ...FOREIGN].includes(option))).toEqual([]);
  const cli = page("docs/cli.md").text;
  expect(unique(OPTIONS).filter((option) => !cli.includes(option))).toEqual([]);
  expect(COMMANDS.filter(({ name }) => !cli.includes(`\`${name}\``)).map(({ name }) => name)).toEqual([]);
});

test("every npm script exists", () => {
  const { scripts } = JSON.parse(readFileSync(join(ROOT, "package.json"), "utf8"));
  const named = everywhere(({ text }) =>
    [...text.matchAll(/npm (?:run (?:--silent )?([\w:]+)|(test)\b)/g)].map((m) => m[1] ?? m[2]),
  );
  expect(named.length).toBeGreaterThan(5);
  expect(named.filter(([, script]) => !Object.hasOwn(scripts, script ?? ""))).toEqual([]);
});

// ---- configuration

test("every configuration is accepted", () => {
  const folder = mkdtempSync(join(tmpdir(), "switchback-documents-"));
  const wrong: string[] = [];
  try {
    writeFileSync(join(folder, "secret"), "a-secret");
    for (const [path, { text }] of everywhere((one) =>
      blocks(one).filter(({ language }) => language === "yaml"),
    )) {
      const file = join(folder, "switchback.yaml");
      writeFileSync(file, text.replaceAll(/((?:token|password)_file: )[^ }\n]+/g, "$1./secret"));
      try {
        loadConfig({ config: file }, { DATABASE_URL: "postgres://app@db/app" }, folder, {
          sources: true,
          postgres: true,
        });
      } catch (error) {
        wrong.push(`${path}: ${(error as Error).message}`);
      }
    }
  } finally {
    rmSync(folder, { recursive: true });
  }
  expect(wrong).toEqual([]);
});

/** Variables of the tests and of libpq, and what HELP_REFERENCE abbreviates. */
const VARIABLES = [
  "DATABASE_TYPE",
  "SWITCHBACK_SEED",
  "SWITCHBACK_SEEDS",
  "SWITCHBACK_KILLS",
  "SWITCHBACK_HOSTILE",
  "SWITCHBACK_TRACE",
  "SWITCHBACK_STEP",
  "PGPASSWORD",
  "PGSSLMODE",
  "PGSSLROOTCERT",
];

test("every variable is in the help, and configuration.md has every one of them", () => {
  const pattern = /\b(?:(?:SWITCHBACK|SQLITE_DATABASE|DATABASE|POSTGRES)_[A-Z_]+|PG[A-Z]{4,})\b/g;
  const helped = unique(HELP_REFERENCE.match(pattern) ?? []);
  const known = [...helped, ...VARIABLES, ...Object.keys(ERRORS)];
  const named = everywhere(({ text }) => text.match(pattern) ?? []);
  expect(named.filter(([, name]) => !known.includes(name.replace(/_FILE$/, "")))).toEqual([]);
  const documented = page("docs/configuration.md").text;
  expect(helped.filter((name) => !documented.includes(`\`${name}\``))).toEqual([]);
});

// ---- links, paths

test("every link and anchor leads somewhere", () => {
  const broken = everywhere(links).filter(([, { page: target, anchor }]) => {
    if (!existsSync(join(ROOT, target))) return true;
    const found = all.find(({ path }) => path === target);
    return anchor !== "" && !(found && anchors(found).has(anchor));
  });
  expect(broken).toEqual([]);
});

test("the README leads to every page", () => {
  const linked = links(page("README.md")).map((link) => link.page);
  expect(
    all.map(({ path }) => path).filter((path) => path !== "README.md" && !linked.includes(path)),
  ).toEqual([]);
});

test("every path exists", () => {
  const named = everywhere(
    ({ text }) => text.match(/(?<![\w/.-])(?:src|test|sql|deploy|docs|\.ci)\/[\w./-]*\w/g) ?? [],
  );
  expect(named.length).toBeGreaterThan(80);
  expect(
    unique(named.filter(([, path]) => !existsSync(join(ROOT, path))).map((found) => found.join(": "))),
  ).toEqual([]);
});

// ---- metrics, errors

test("every metric exists, and monitoring.md has every one of them", () => {
  // Not the names of triggers (`switchback_*`) and of tables (`_switchback_…`).
  const pattern = /(?<![\w])switchback_[a-z][a-z_]*/g;
  const named = everywhere(({ text }) => text.match(pattern) ?? []);
  const known = new Set<string>(Object.keys(METRICS));
  expect(named.filter(([, name]) => !known.has(name.replace(/_(bucket|sum|count)$/, "")))).toEqual([]);
  const documented = new Set(page("docs/monitoring.md").text.match(pattern));
  expect(Object.keys(METRICS).filter((name) => !documented.has(name))).toEqual([]);
});

/** Constants that look like codes of ours. */
const CONSTANTS = [
  "SQLITE_CONSTRAINT_TRIGGER",
  "SQLITE_DBCONFIG_ENABLE_TRIGGER",
  "ROUTE_TIMEOUT",
  "NOT_RUNNING",
  "NAME_FILE",
  "DATABASE_TYPE",
  "GROUP_CONCAT",
];

test("every error code that a page names exists", () => {
  const variables = HELP_REFERENCE.match(/[A-Z]+(_[A-Z]+)+/g) ?? [];
  const known = [...Object.keys(ERRORS), ...CONSTANTS, ...variables, ...VARIABLES];
  const named = everywhere((one) =>
    inlineCode(one).flatMap((code) => code.match(/\b[A-Z]{2,}(?:_[A-Z]+)+\b/g) ?? []),
  );
  expect(named.length).toBeGreaterThan(40);
  expect(
    named.filter(([, code]) => !known.includes(code.replace(/(?<=.)_FILE$/, "")) && !known.includes(code)),
  ).toEqual([]);
});

// ---- language

test("the README is a page", () => {
  expect(Buffer.byteLength(page("README.md").text)).toBeLessThanOrEqual(8192);
});

test(`no sentence has more than ${LONGEST} words`, () => {
  const long = everywhere((one) =>
    sentences(one).filter((sentence) => sentence.split(/\s+/).length > LONGEST),
  );
  expect(long.map(([path, sentence]) => `${path}: ${sentence}`)).toEqual([]);
});

test("plain words", () => {
  const found = everywhere(({ text }) => text.split("\n").filter((line) => UNPLAIN.test(line)));
  expect(found.map(([path, line]) => `${path}: ${line.slice(0, 120)}`)).toEqual([]);
});
