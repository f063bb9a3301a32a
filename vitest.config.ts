import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    include: ["test/**/*.test.ts"],
    // A power cut is made with a preloaded library, as only Linux has it.
    exclude: [
      "test/soak/**",
      "node_modules/**",
      ...(process.platform === "linux" ? [] : ["test/crash/power*.test.ts"]),
    ],
    globalSetup: ["test/support/servers.ts"],
    testTimeout: 60_000,
    hookTimeout: 60_000,
    // Two cores: two files at a time keep the PostgreSQL servers busy without starving timing-sensitive tests.
    maxWorkers: 2,
    pool: "forks",
  },
});
