// Property: whatever an application does to its rows, PostgreSQL holds the same rows at every quiet point.
// SWITCHBACK_SEED repeats one run; SWITCHBACK_SEEDS sets how many runs there are.
import { randomInt } from "node:crypto";
import { expect, test } from "vitest";
import { runTraffic } from "../support/traffic.js";

const RUNS = Number(process.env.SWITCHBACK_SEEDS ?? 2);
const first = Number(process.env.SWITCHBACK_SEED ?? randomInt(1_000_000));

for (let run = 0; run < RUNS; run++) {
  const seed = first + run;
  const version = run % 2 === 0 ? 18 : 15;
  test(`seed ${seed}: random traffic on every kind of key leaves the stores equal (PostgreSQL ${version})`, async () => {
    const result = await runTraffic({ seed, version, quietPoints: 4, transactions: 150 });
    expect(result.differences).toEqual([]);
    expect(result.quarantined).toBe(0);
    expect(result.verify.code, result.verify.stdout).toBe(0);
    expect(JSON.parse(result.verify.stdout)).toMatchObject({ equal: true });
  });
}
