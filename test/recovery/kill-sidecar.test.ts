// A crash anywhere, at any instruction, repeats or loses nothing: the sidecar is killed while it copies and tails.
import { expect, test } from "vitest";
import { effort } from "../support/effort.js";
import { runKilling } from "../support/killing.js";

const KILLS = effort(3, 5);

test(`killed ${KILLS} times while it copies and tails, it continues where it was and ends equal`, async () => {
  const result = await runKilling(KILLS, effort(2, 3), Math.random);
  expect(result.differences).toEqual([]);
  expect(result.copiedTwice).toBe(0);
  expect(result.killed.tailing, "kills while tailing").toBeGreaterThan(0);
  expect(result.partial, "kills that left history copied in part").toBeGreaterThan(0);
});
