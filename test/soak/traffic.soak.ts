// Random traffic over many seeds; SWITCHBACK_SEED sets the first, SWITCHBACK_SEEDS how many.
import { expect, test } from "vitest";
import { runTraffic } from "../support/traffic.js";

const VERSIONS = [18, 15] as const;
const SEEDS = Number(process.env.SWITCHBACK_SEEDS ?? 100);
const first = Number(process.env.SWITCHBACK_SEED ?? 1);

for (let n = 0; n < SEEDS; n++) {
  const seed = first + n;
  const version = VERSIONS[n % VERSIONS.length] ?? 18;
  test(`seed ${seed} on PostgreSQL ${version}`, async () => {
    const result = await runTraffic({ seed, version, quietPoints: 3, transactions: 200 });
    expect(result.differences).toEqual([]);
    expect(result.quarantined).toBe(0);
    expect(result.verify.code, result.verify.stdout).toBe(0);
  });
}
