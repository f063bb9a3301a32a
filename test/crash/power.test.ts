// The power goes in the middle of flips, under writers that follow the route: SQLite keeps what was synchronised,
// PostgreSQL what its log has on the disk. More cuts, with a rollback journal too, in test/soak/power.soak.ts.
import { expect, test } from "vitest";
import { figures, type Kill, runFlipKilling } from "../support/flip-killing.js";

const CUTS: readonly Kill[] = [
  { what: "power", when: "decided" },
  { what: "power", when: "decided" },
  { what: "power", when: "paused" },
];

test("the power goes in three flips: no acknowledged write is lost or doubled and both stores end equal", async () => {
  const result = await runFlipKilling(CUTS, Math.random);
  process.stdout.write(`${figures(result)}\n`);
  expect(result.wrong).toEqual([]);
  expect(result.differences).toEqual([]);
  expect(result.epoch).toBeGreaterThanOrEqual(CUTS.length + 1);
  expect(result.acknowledged).toBeGreaterThan(50);
}, 120_000);
