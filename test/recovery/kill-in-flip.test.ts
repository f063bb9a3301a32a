// Kill -9 in the middle of flips, under writers that follow the route: of the sidecar, of PostgreSQL, of both.
import { expect, test } from "vitest";
import { figures, type Kill, runFlipKilling } from "../support/flip-killing.js";

const KILLS: readonly Kill[] = [
  { what: "sidecar", when: "paused" },
  { what: "sidecar", when: "decided" },
  { what: "server", when: "paused" },
  { what: "both", when: "paused" },
  { what: "sidecar", when: "random" },
  { what: "both", when: "decided" },
];

test("killed during six flips, no acknowledged write is lost or doubled and both stores end equal", async () => {
  const result = await runFlipKilling(KILLS, Math.random);
  process.stdout.write(`${figures(result)}\n`);
  expect(result.wrong).toEqual([]);
  expect(result.differences).toEqual([]);
  // Each kill's flip happened, before it or after it, and one more.
  expect(result.epoch).toBeGreaterThanOrEqual(KILLS.length + 1);
  expect(result.acknowledged).toBeGreaterThan(100);
});
