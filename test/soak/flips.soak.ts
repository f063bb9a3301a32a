// Fifty kills in the middle of flips, ten at a time; SWITCHBACK_KILLS sets how many.
import { expect, test } from "vitest";
import { figures, type Kill, runFlipKilling } from "../support/flip-killing.js";

const KILLS = Number(process.env.SWITCHBACK_KILLS ?? 50);
const AT_A_TIME = 10;
const WHAT = ["sidecar", "sidecar", "server", "both"] as const;
const WHEN = ["random", "paused", "decided"] as const;

for (let done = 0; done < KILLS; done += AT_A_TIME) {
  test(`kills ${done + 1} to ${Math.min(done + AT_A_TIME, KILLS)}`, async () => {
    const kills = Array.from({ length: Math.min(AT_A_TIME, KILLS - done) }, (_, n): Kill => {
      const turn = done + n;
      return { what: WHAT[turn % WHAT.length] ?? "sidecar", when: WHEN[turn % WHEN.length] ?? "random" };
    });
    const result = await runFlipKilling(kills, Math.random);
    process.stdout.write(`${figures(result)}\n`);
    expect(result.wrong).toEqual([]);
    expect(result.differences).toEqual([]);
    expect(result.epoch).toBeGreaterThanOrEqual(kills.length + 1);
  });
}
