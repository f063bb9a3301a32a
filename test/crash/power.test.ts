// The power goes in the middle of flips, under writers that follow the route: SQLite keeps what was synchronised,
// PostgreSQL what its log has on the disk.
import { expect, test } from "vitest";
import { figures, type Kill, runFlipKilling } from "../support/flip-killing.js";

const CUTS: readonly Kill["when"][] = ["decided", "decided", "paused", "random"];

test.each(["wal", "delete"] as const)(
  "journal mode %s: no acknowledged write is lost or doubled and both stores end equal",
  async (journal) => {
    const kills = CUTS.map((when): Kill => ({ what: "power", when }));
    const result = await runFlipKilling(kills, Math.random, journal);
    process.stdout.write(`${figures(result)}\n`);
    expect(result.wrong).toEqual([]);
    expect(result.differences).toEqual([]);
    expect(result.epoch).toBeGreaterThanOrEqual(kills.length + 1);
    expect(result.acknowledged).toBeGreaterThan(50);
  },
);
