// The long runs: `npm run soak`. SWITCHBACK_SEEDS, SWITCHBACK_KILLS and SWITCHBACK_STEP set how long. The files of the
// short run that do a part of their work there, by support/effort.ts, are run here in full.
import { readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { defineConfig } from "vitest/config";

const root = fileURLToPath(new URL("../..", import.meta.url));
const inFull = readdirSync(`${root}/test`, { recursive: true, encoding: "utf8" })
  .map((file) => `test/${file}`)
  .filter((file) => file.endsWith(".test.ts"))
  .filter((file) => readFileSync(`${root}/${file}`, "utf8").includes('from "../support/effort.js"'));

export default defineConfig({
  test: {
    root,
    include: ["test/soak/**/*.soak.ts", ...inFull],
    // As in the short run.
    exclude: process.platform === "linux" ? [] : ["test/soak/power.soak.ts"],
    globalSetup: ["test/support/servers.ts"],
    env: { SWITCHBACK_FULL: "1" },
    // As in the short run.
    server: { deps: { external: [/\/dist\//] } },
    testTimeout: 600_000,
    hookTimeout: 60_000,
    maxWorkers: 2,
    pool: "forks",
  },
});
