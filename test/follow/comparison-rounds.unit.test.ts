// When the comparison in the background does its next piece, and what it tells of it; the stores are made up.
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { SwitchbackError } from "#switchback/errors.js";
import { ComparisonRounds } from "#switchback/protocol/comparison-rounds.js";
import { type Range, SourceChanged } from "#switchback/protocol/contract.js";

const PIECE_MS = 30;
const EVERY_MS = 60_000;

beforeEach(() => {
  vi.useFakeTimers({ toFake: ["performance", "setTimeout", "clearTimeout"] });
});
afterEach(() => {
  vi.useRealTimers();
});

const range = (table: string, number: number): Range => ({ table, number, lo: null, hi: null });
const equal = { missing: 0, extra: 0, different: 0, keys: [] };

function made(
  options: { share?: number; everyMs?: number; strained?: () => boolean; cutting?: () => void } = {},
) {
  const told: string[] = [];
  const busy: { from: number; to: number }[] = [];
  let answer = (_table: string) => Promise.resolve(equal);
  let begun = 0;
  let cancelled = 0;
  const piece = async <T>(result: () => Promise<T>) => {
    const from = performance.now();
    begun++;
    await new Promise((resolve) => setTimeout(resolve, PIECE_MS));
    busy.push({ from, to: performance.now() });
    return result();
  };
  const comparison = new ComparisonRounds(
    { share: options.share ?? 0.1, everyMs: options.everyMs ?? EVERY_MS },
    {
      tables: () => ["a", "empty", "b"],
      cut: (table) => {
        options.cutting?.();
        const ranges = table === "empty" ? [] : [range(table, 0), range(table, 1)];
        return (after) => ranges[after ? after.number + 1 : 0] ?? null;
      },
      strained: options.strained ?? (() => false),
      compare: async (one) => ({
        result: piece(async () => ({ position: 7, rows: one.number + 1, found: await answer(one.table) })),
        cancel: async () => {
          cancelled++;
        },
      }),
      count: async () => ({
        result: piece(async () => ({ position: 9, tables: [], passedOver: [] })),
        cancel: async () => {},
      }),
    },
    {
      compared: ({ table, number }, { rows }) => told.push(`${table}${number} ${rows}`),
      tableDone: (table, differing) => told.push(`${table} ${differing}`),
      failed: (table, error) => told.push(`${table} ${(error as Error).message}`),
      roundDone: () => told.push("round"),
    },
  );
  // The catching up after a start is over, unless a test is about it.
  if (options.everyMs === undefined) vi.advanceTimersByTime(EVERY_MS);
  return {
    told,
    busy,
    comparison,
    answers: (next: typeof answer) => {
      answer = next;
    },
    get begun() {
      return begun;
    },
    get cancelled() {
      return cancelled;
    },
    /** The link has nothing to apply, each millisecond. */
    async idleFor(ms: number) {
      for (let n = 0; n < ms; n++) {
        await comparison.turn();
        await vi.advanceTimersByTimeAsync(1);
      }
    },
  };
}

test("a start catches up first: the first round begins after a minute, or sooner where rounds are more frequent", async () => {
  const run = made({ everyMs: 3_600_000 });
  await run.idleFor(59_900);
  expect(run.begun).toBe(0);
  await run.idleFor(200);
  expect(run.begun).toBe(1);
});

test("a round looks at every range of every table and then counts; the next waits for its time", async () => {
  const run = made();
  await run.idleFor(5_000);
  const round = ["a0 1", "a1 2", "a 0", "empty 0", "b0 1", "b1 2", "b 0", "round"];
  expect(run.told).toEqual(round);
  await run.idleFor(EVERY_MS);
  expect(run.told).toEqual([...round, ...round]);
});

test.each([0.02, 0.1, 0.5])(
  "pieces take no more than a share of %d of the time, one at a time",
  async (share) => {
    const run = made({ share });
    await run.idleFor(10_000);
    expect(run.busy.length).toBeGreaterThan(3);
    for (const [i, { from }] of run.busy.entries()) {
      const before = run.busy[i - 1];
      if (before) expect(from - before.from).toBeGreaterThanOrEqual(PIECE_MS / share - 1);
    }
  },
);

test("a share of nothing compares nothing, and neither does a source that is strained", async () => {
  const off = made({ share: 0 });
  await off.idleFor(1_000);
  expect(off.begun).toBe(0);
  let strained = true;
  const run = made({ strained: () => strained });
  await run.idleFor(1_000);
  expect(run.begun).toBe(0);
  strained = false;
  await run.idleFor(1_000);
  expect(run.begun).toBeGreaterThan(0);
});

test("rows that differ are told with their range and summed for the table", async () => {
  const run = made();
  run.answers(async () => ({ missing: 1, extra: 0, different: 2, keys: [] }));
  await run.idleFor(400);
  run.answers(async () => equal);
  await run.idleFor(5_000);
  expect(run.told).toEqual(["a0 1", "a1 2", "a 6", "empty 0", "b0 1", "b1 2", "b 0", "round"]);
});

test("a piece that fails is done again after a while, and none is passed over", async () => {
  const run = made();
  run.answers(() => Promise.reject(new Error("the server went away")));
  await run.idleFor(9_000);
  expect([run.begun, run.told]).toEqual([1, []]);
  run.answers(async () => equal);
  await run.idleFor(9_000);
  expect(run.told.slice(0, 3)).toEqual(["a0 1", "a1 2", "a 0"]);
});

test("a range that fails every time is told and passed over; its table is not called equal, and the others are compared", async () => {
  const run = made();
  run.answers((table) =>
    table === "a" ? Promise.reject(new Error("no such page")) : Promise.resolve(equal),
  );
  await run.idleFor(80_000);
  expect(run.told.slice(0, 7)).toEqual([
    "a no such page",
    "a no such page",
    "empty 0",
    "b0 1",
    "b1 2",
    "b 0",
    "round",
  ]);
  run.answers(async () => equal);
  await run.idleFor(2 * EVERY_MS);
  expect(run.told).toContain("a 0");
});

test("a table whose ranges cannot be told is named, and the others are compared", async () => {
  let cuts = 0;
  const run = made({
    cutting: () => {
      cuts += 1;
      if (cuts <= 3) throw new SwitchbackError("SQLITE_CORRUPT", "malformed");
    },
  });
  await run.idleFor(45_000);
  expect(run.told.slice(0, 3)).toEqual(["a malformed", "empty 0", "b0 1"]);
});

test("a lock for a moment passes over no table; what is no lock is the caller's", async () => {
  let failure: Error | null = new SwitchbackError("SQLITE_BUSY", "database is locked");
  const run = made({
    cutting: () => {
      if (failure) throw failure;
    },
  });
  await run.idleFor(15_000);
  expect(run.told).toEqual([]);
  failure = null;
  await run.idleFor(15_000);
  expect(run.told.slice(0, 3)).toEqual(["a0 1", "a1 2", "a 0"]);
  const changed = made({
    cutting: () => {
      throw new SourceChanged();
    },
  });
  await expect(changed.comparison.turn()).rejects.toThrow(SourceChanged);
});

test("what is under way can be given up", async () => {
  const run = made();
  await run.comparison.cancel();
  expect(run.cancelled).toBe(0);
  await run.comparison.turn();
  await run.comparison.cancel();
  expect(run.cancelled).toBe(1);
});
