// Forty power cuts in the middle of flips, ten at a time, in both journal modes in turn; SWITCHBACK_KILLS sets how many.
import { expect, test } from "vitest";
import { figures, type Kill, runFlipKilling } from "../support/flip-killing.js";

const CUTS = Number(process.env.SWITCHBACK_KILLS ?? 40);
const AT_A_TIME = 10;
const WHEN = ["decided", "random", "paused"] as const;

for (let done = 0; done < CUTS; done += AT_A_TIME) {
  const journal = (done / AT_A_TIME) % 2 === 0 ? "wal" : "delete";
  test(`cuts ${done + 1} to ${Math.min(done + AT_A_TIME, CUTS)}, journal mode ${journal}`, async () => {
    const cuts = Array.from({ length: Math.min(AT_A_TIME, CUTS - done) }, (_, n): Kill => {
      return { what: "power", when: WHEN[(done + n) % WHEN.length] ?? "random" };
    });
    const result = await runFlipKilling(cuts, Math.random, journal);
    process.stdout.write(`${figures(result)}\n`);
    expect(result.wrong).toEqual([]);
    expect(result.differences).toEqual([]);
    expect(result.epoch).toBeGreaterThanOrEqual(cuts.length + 1);
  });
}
