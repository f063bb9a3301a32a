// Thirty kills, ten at a time; SWITCHBACK_KILLS sets how many.
import { expect, test } from "vitest";
import { runKilling } from "../support/killing.js";

const KILLS = Number(process.env.SWITCHBACK_KILLS ?? 30);
const AT_A_TIME = 10;

for (let done = 0; done < KILLS; done += AT_A_TIME) {
  test(`kills ${done + 1} to ${Math.min(done + AT_A_TIME, KILLS)}`, async () => {
    const result = await runKilling(Math.min(AT_A_TIME, KILLS - done), 4, Math.random);
    expect(result.differences).toEqual([]);
    expect(result.copiedTwice).toBe(0);
  });
}
