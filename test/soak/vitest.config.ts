// The long runs: `npm run soak`. SWITCHBACK_SEEDS and SWITCHBACK_KILLS set how long.
import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    root: new URL("../..", import.meta.url).pathname,
    include: ["test/soak/**/*.soak.ts"],
    // As in the short run.
    exclude: process.platform === "linux" ? [] : ["test/soak/power.soak.ts"],
    globalSetup: ["test/support/servers.ts"],
    testTimeout: 600_000,
    hookTimeout: 60_000,
    maxWorkers: 2,
    pool: "forks",
  },
});
