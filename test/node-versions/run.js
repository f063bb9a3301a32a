// Runs the unit tests and the demo on other versions of Node, in copies of this checkout: `npm run test:node`, or with
// versions of your own, `npm run test:node -- 22 24`. Each Node comes from the npm package that carries it, with the
// headers that better-sqlite3 is compiled against. What could not be built or run is said, and the exit code is 1.
import { execFileSync, spawnSync } from "node:child_process";
import { cpSync, mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));
const VERSIONS = ["22", "24", "26"];
/** Compiling better-sqlite3 takes minutes where there is no binary for that Node. */
const STEP_MS = 15 * 60_000;

const chosen = process.argv.slice(2);
const results = (chosen.length > 0 ? chosen : VERSIONS).map(tryVersion);
console.table(Object.fromEntries(results.map(({ version, ...steps }) => [version, steps])));
if (results.some((steps) => Object.values(steps).some((outcome) => outcome.startsWith("failed")))) process.exitCode = 1;

/** Installs one Node and runs every step with it, until one fails. */
function tryVersion(version) {
  const folder = mkdtempSync(join(tmpdir(), "switchback-node-"));
  try {
    const node = installNode(version, folder);
    const checkout = copyCheckout(folder);
    const environment = {
      ...process.env,
      PATH: `${join(node, "bin")}${delimiter}${process.env.PATH}`,
      npm_config_nodedir: node,
    };
    const steps = { version: run("node", ["--version"], checkout, environment).text.trim() };
    for (const [name, args] of [
      ["install", ["ci", "--no-audit", "--no-fund"]],
      ["unit", ["run", "test:unit"]],
      ["demo", ["run", "demo"]],
    ]) {
      const { ok, text, seconds } = run("npm", args, checkout, environment);
      steps[name] = ok ? `${seconds} s` : `failed: ${lastLine(text)}`;
      if (!ok) break;
    }
    return steps;
  } catch (error) {
    return { version, install: `failed: ${lastLine(String(error.message))}` };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** The folder of that Node: bin/node and include/node. */
function installNode(version, folder) {
  const name = `node-${process.platform}-${process.arch}`;
  execFileSync("npm", ["install", "--silent", "--prefix", folder, "--no-save", `${name}@${version}`], { stdio: "pipe" });
  return join(folder, "node_modules", name);
}

/** What git tracks, as it is in the working tree. */
function copyCheckout(folder) {
  const checkout = join(folder, "checkout");
  const files = execFileSync("git", ["ls-files", "-z"], { cwd: ROOT, encoding: "utf8" }).split("\0").filter(Boolean);
  for (const file of files) {
    mkdirSync(dirname(join(checkout, file)), { recursive: true });
    cpSync(join(ROOT, file), join(checkout, file));
  }
  return checkout;
}

function run(command, args, cwd, env) {
  const began = Date.now();
  const { status, stdout, stderr } = spawnSync(command, args, { cwd, env, encoding: "utf8", timeout: STEP_MS });
  return { ok: status === 0, text: `${stdout}${stderr}`, seconds: Math.round((Date.now() - began) / 1_000) };
}

function lastLine(text) {
  return text.trim().split("\n").at(-1)?.slice(0, 120) ?? "";
}
