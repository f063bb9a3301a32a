// The examples under deploy/ say what the product understands: they parse, and the configuration, the commands
// and the variables in them exist.
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { parseAllDocuments } from "yaml";
import { COMMANDS, HELP_REFERENCE } from "#switchback/cli/commands.js";
import { loadConfig } from "#switchback/config/config.js";

const DEPLOY = fileURLToPath(new URL("../../deploy", import.meta.url));
const files = readdirSync(DEPLOY, { withFileTypes: true })
  .filter((entry) => entry.isFile())
  .map(({ name }) => [name, readFileSync(join(DEPLOY, name), "utf8")] as const);
const text = (name: string) => files.find(([file]) => file === name)?.[1] ?? "";

test("YAML parses", () => {
  const yaml = files.filter(([name]) => /\.ya?ml$/.test(name));
  expect(yaml.length).toBeGreaterThanOrEqual(4);
  for (const [name, content] of yaml) {
    for (const document of parseAllDocuments(content))
      expect([name, document.errors, document.warnings]).toEqual([name, [], []]);
  }
});

test("the configuration in the ConfigMap is accepted", () => {
  const maps = parseAllDocuments(text("kubernetes.yaml")).map((document) => document.toJS());
  const config: string = maps.find((map) => map.data?.["switchback.yaml"]).data["switchback.yaml"];
  const folder = mkdtempSync(join(tmpdir(), "switchback-deploy-"));
  try {
    writeFileSync(join(folder, "token"), "a-token");
    writeFileSync(
      join(folder, "switchback.yaml"),
      config.replace(/token_file: [^ }]+/, "token_file: ./token"),
    );
    const loaded = loadConfig({}, { DATABASE_URL: "postgres://app@db/app" }, folder);
    expect(loaded).toMatchObject({
      flagFile: "/etc/switchback/flag/flag",
      token: "a-token",
      http: { host: "0.0.0.0", port: 9464 },
    });
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test("every switchback command named in an example exists", () => {
  const named = files.flatMap(([name, content]) =>
    [...content.matchAll(/`switchback ([a-z]+)|cli\.js ([a-z]+)/g)].map((m) => [name, m[1] ?? m[2]]),
  );
  expect(named.length).toBeGreaterThan(4);
  const known = new Set([...COMMANDS.map((entry) => entry.name), "cutover", "revert"]);
  expect(named.filter(([, command]) => !known.has(command ?? ""))).toEqual([]);
});

test("every variable of ours in an example is in the help", () => {
  const named = files.flatMap(
    ([, content]) => content.match(/\b(SWITCHBACK|SQLITE|DATABASE)_[A-Z_]+/g) ?? [],
  );
  expect(named).toContain("SWITCHBACK_HTTP");
  expect(named.filter((name) => !HELP_REFERENCE.includes(name.replace(/_FILE$/, "")))).toEqual([]);
});
