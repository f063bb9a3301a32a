import { fileURLToPath } from "node:url";
import { defineConfig } from "vitest/config";
import { SlowestFirst } from "./test/support/slowest-first.js";

const SOURCES = fileURLToPath(new URL("src/", import.meta.url));

export default defineConfig({
  test: {
    sequence: { sequencer: SlowestFirst },
    projects: [
      {
        // No server, no build: the sources as they stand. `npm run test:unit`, or `npm run test:watch`.
        resolve: { alias: [{ find: /^#switchback\/(.*)\.js$/, replacement: `${SOURCES}$1.ts` }] },
        test: {
          name: "unit",
          include: ["test/**/*.unit.test.ts"],
          pool: "threads",
          testTimeout: 60_000,
          isolate: false,
          maxWorkers: 2,
          // Groups run one after the other. Projects with different numbers of workers cannot share one.
          sequence: { groupOrder: 0 },
        },
      },
      {
        // Real PostgreSQL servers and the built command.
        test: {
          name: "integration",
          include: ["test/**/*.test.ts"],
          // A power cut is made with a preloaded library, as only Linux has it.
          exclude: [
            "test/**/*.unit.test.ts",
            ...(process.platform === "linux" ? [] : ["test/recovery/power*.test.ts"]),
          ],
          globalSetup: ["test/support/servers.ts"],
          // The built files are imported as Node does it.
          server: { deps: { external: [/\/dist\//] } },
          testTimeout: 60_000,
          hookTimeout: 60_000,
          // Two cores: much of a test is waiting, and a third file uses that time.
          maxWorkers: 3,
          pool: "forks",
          sequence: { groupOrder: 1 },
        },
      },
    ],
  },
});
