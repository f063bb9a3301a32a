// Runs the unit tests and the demo on other versions of Node, in copies of this checkout: `npm run test:node`, or with
// versions of your own, `npm run test:node -- 22 24`. Each Node comes from the npm package that carries it, with the
// headers that better-sqlite3 is compiled against where there is no binary for it. The version of better-sqlite3 is the
// one that npm picks for that Node, not the locked one. Each step is printed as it ends. For one that fails, the end of
// its output is printed too, and the exit code is 1.
import { execFileSync, spawnSync } from "node:child_process";
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));
const VERSIONS = ["22", "24", "26"];
/** Compiling better-sqlite3 takes a minute on two free cores, and half an hour on a machine that does much else. */
const STEP_MS = 60 * 60_000;
/** How much of a failed step's output is printed. */
const TAIL_LINES = 60;

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
    unlock(checkout, "better-sqlite3");
    const environment = {
      ...process.env,
      PATH: `${join(node, "bin")}${delimiter}${process.env.PATH}`,
      npm_config_nodedir: node,
      JOBS: "max",
      NO_COLOR: "1",
    };
    const steps = { version: run("node", ["--version"], checkout, environment).text.trim() };
    for (const [name, args] of [
      ["install", ["install", "--no-audit", "--no-fund"]],
      ["unit", ["run", "test:unit"]],
      ["demo", ["run", "demo"]],
    ]) {
      const result = run("npm", args, checkout, environment);
      steps[name] = result.ok ? `${result.seconds} s` : `failed: ${reason(name, result)}`;
      if (name === "install" && result.ok) steps["better-sqlite3"] = installed(checkout, "better-sqlite3");
      console.log(`${steps.version} ${name}: ${steps[name]}`);
      if (result.ok) continue;
      console.error(result.text.trim().split("\n").slice(-TAIL_LINES).join("\n"));
      break;
    }
    return steps;
  } catch (error) {
    return { version, install: `failed: no Node ${version} from npm: ${lastLine(String(error.message))}` };
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

/** The working tree without what git ignores. */
function copyCheckout(folder) {
  const checkout = join(folder, "checkout");
  const listing = ["ls-files", "-z", "--cached", "--others", "--exclude-standard"];
  const files = execFileSync("git", listing, { cwd: ROOT, encoding: "utf8" }).split("\0");
  for (const file of files.filter((name) => name !== "" && existsSync(join(ROOT, name)))) {
    mkdirSync(dirname(join(checkout, file)), { recursive: true });
    cpSync(join(ROOT, file), join(checkout, file));
  }
  return checkout;
}

/** As for an application that installs the package: its Node decides which version a range of majors means. */
function unlock(checkout, name) {
  const file = join(checkout, "package-lock.json");
  const lock = JSON.parse(readFileSync(file, "utf8"));
  delete lock.packages[`node_modules/${name}`];
  writeFileSync(file, JSON.stringify(lock));
}

function run(command, args, cwd, env) {
  const began = Date.now();
  const options = { cwd, env, encoding: "utf8", timeout: STEP_MS, maxBuffer: 2 ** 28 };
  const { status, error, stdout, stderr } = spawnSync(command, args, options);
  const seconds = Math.round((Date.now() - began) / 1_000);
  return { ok: status === 0, late: error?.code === "ETIMEDOUT", text: `${stdout}${stderr}`, seconds };
}

function installed(checkout, name) {
  return JSON.parse(readFileSync(join(checkout, "node_modules", name, "package.json"), "utf8")).version;
}

/** Why a step failed, in a few words. */
function reason(step, { late, text, seconds }) {
  if (step === "install" && /better-sqlite3/.test(text)) return "better-sqlite3 could not be built for this Node";
  return late ? `it was not done within ${seconds} s` : "its output is above";
}

function lastLine(text) {
  return text.trim().split("\n").at(-1)?.slice(0, 120) ?? "";
}
