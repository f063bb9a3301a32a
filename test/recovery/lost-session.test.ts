// A session with PostgreSQL is lost at a random message of a start, of following, of a flip in either direction: the
// sidecar never halts, and continues by itself. All messages, one after another: test/soak/lost-session.soak.ts.
import { afterAll, beforeAll, expect, test } from "vitest";
import { LOSSES, type Loss } from "../support/cut-proxy.js";
import { Losing, loseInFlip, loseInStart, loseWhileFollowing } from "../support/losing.js";
import { generator } from "../support/values.js";

const SEED = Number(process.env.SWITCHBACK_SEED ?? Date.now() % 1_000_000);
const random = generator(SEED);
/** About as many messages as a start, and a flip until its links run. */
const START = 250;
const FLIP = 200;
const pick = (n: number) => 1 + Math.floor(random() * n);
const loss = () => LOSSES[pick(LOSSES.length) - 1] ?? "unsent";

let pair: Losing;

beforeAll(async () => {
  process.stdout.write(`lost sessions: SWITCHBACK_SEED=${SEED}\n`);
  pair = await Losing.open();
  pair.start();
  await pair.settled("sqlite");
  await pair.verify();
  pair.write();
});
afterAll(async () => {
  await pair?.close();
});

test("in a start: the copy is made all the same", async () => {
  for (let i = 0; i < 2; i++) await loseInStart(pick(START), loss());
});

const CLOSE = /gate: .*FUNCTION switchback.fence/;
const DECIDE = /gate: Q COMMIT/;
const CLAIM = /recovery: .*SET owner = /;

test.for<[to: "sqlite" | "postgres", what: string, ...losses: [at: RegExp, loss: Loss][]]>([
  [
    "postgres",
    "the commit that decides, and the claim of the records",
    [/flip: Q COMMIT/, "unanswered"],
    [CLAIM, "terminated"],
  ],
  [
    "sqlite",
    "the close, the lock, and the claim of the records",
    [CLOSE, "late"],
    [/pg_try_advisory_lock/, "late"],
    [CLAIM, "terminated"],
  ],
  ["postgres", "the record of the revert", [/watch b: .*FROM switchback.source/, "late"]],
  [
    "sqlite",
    "the sequences, and the route that is read again",
    [/gate: .*pg_sequence/, "terminated"],
    [/recovery: .*FROM switchback.route/, "late"],
  ],
  ["postgres", "everything, while the gate of SQLite is closed", [/flip: .*switchback.advance/, "all"]],
  [
    "sqlite",
    "the decision, and the look at the target's keys",
    [DECIDE, "unanswered"],
    [/apply b: .*unique_indexes/, "late"],
  ],
])("a flip to %s loses %s: it continues by itself", async ([to, , ...losses]) => {
  pair.proxy.arm(...losses);
  await pair.move(to);
  await expect.poll(() => pair.proxy.waiting, { timeout: 5_000 }).toEqual([]);
  await pair.settled(to);
});

test("in flips and between them: one store is open, and nothing that was acknowledged is lost", async () => {
  for (let i = 0; i < 2; i++) {
    await loseInFlip(pair, "postgres", pick(FLIP), loss());
    await loseWhileFollowing(pair, "postgres", pick(20), loss());
    await loseInFlip(pair, "sqlite", pick(FLIP), loss());
    await loseWhileFollowing(pair, "sqlite", pick(20), loss());
  }
  expect(pair.acknowledged.length).toBeGreaterThan(50);
  await pair.proveNothingLost();
});
