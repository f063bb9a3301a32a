import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    include: ["test/**/*.test.ts"],
    exclude: ["test/soak/**", "node_modules/**"],
    globalSetup: ["test/support/servers.ts"],
    testTimeout: 60_000,
    hookTimeout: 60_000,
    // Two cores: two files at a time keep the PostgreSQL servers busy without starving timing-sensitive tests.
    maxWorkers: 2,
    pool: "forks",
  },
});
