// A session is lost at every message, one after another, of a start, of following and of flips in both directions, in
// every way that there is. SWITCHBACK_STEP takes each n-th message only, SWITCHBACK_FIRST begins later.
import { expect, test } from "vitest";
import { LOSSES } from "../support/cut-proxy.js";
import { Losing, loseInFlip, loseInStart, loseWhileFollowing } from "../support/losing.js";

const STEP = Number(process.env.SWITCHBACK_STEP ?? 1);
const FIRST = Number(process.env.SWITCHBACK_FIRST ?? 1);
/** A few more than there are: what comes later falls into following. */
const [START, FOLLOW, FLIP] = [260, 40, 260];
const AT_A_TIME = 20;

function* turns(last: number): Generator<number[]> {
  const all: number[] = [];
  for (let n = FIRST; n <= last; n += STEP) all.push(n);
  while (all.length > 0) yield all.splice(0, AT_A_TIME);
}

for (const loss of LOSSES) {
  for (const numbers of turns(START)) {
    test(`${loss} in a start: messages ${numbers[0]} to ${numbers.at(-1)}`, async () => {
      for (const n of numbers) await loseInStart(n, loss);
    });
  }
  for (const numbers of turns(FLIP)) {
    test(`${loss} in flips: messages ${numbers[0]} to ${numbers.at(-1)}`, async () => {
      const pair = await Losing.open();
      try {
        pair.start();
        await pair.settled("sqlite");
        await pair.verify();
        pair.write();
        for (const n of numbers) {
          for (const to of ["postgres", "sqlite"] as const) {
            await loseInFlip(pair, to, n, loss);
            if (n <= FOLLOW) await loseWhileFollowing(pair, to, n, loss);
          }
        }
        expect(pair.acknowledged.length).toBeGreaterThan(0);
        await pair.proveNothingLost();
      } finally {
        await pair.close();
      }
    });
  }
}
