// Random migrations, kills, swaps, strangers and refused rows beside live writers, in flips and between them, each run
// from one seed. SWITCHBACK_SEED sets the first, SWITCHBACK_HOSTILE how many; SWITCHBACK_TRACE repeats a recorded run.
import { afterAll, beforeAll, expect, test } from "vitest";
import { replay, runSeed } from "../support/hostile/run.js";
import { type OwnServer, ownServer } from "../support/servers.js";

const RUNS = Number(process.env.SWITCHBACK_HOSTILE ?? 5);
const FIRST = Number(process.env.SWITCHBACK_SEED ?? 1);
const { SWITCHBACK_TRACE } = process.env;

let server: OwnServer;
beforeAll(async () => {
  server = await ownServer(18);
});
afterAll(async () => {
  await server?.remove();
});

if (SWITCHBACK_TRACE) {
  test(`the trace ${SWITCHBACK_TRACE}`, async () => {
    expect((await replay(SWITCHBACK_TRACE, server)).acknowledged).toBeGreaterThan(0);
  });
} else {
  for (let seed = FIRST; seed < FIRST + RUNS; seed++) {
    test(`seed ${seed}`, async () => {
      const { operations, acknowledged, trace } = await runSeed(seed, server);
      process.stdout.write(
        `seed ${seed}: ${operations} operations, ${acknowledged} writes, trace ${trace}\n`,
      );
      expect(acknowledged).toBeGreaterThan(0);
    }, 180_000);
  }
}
