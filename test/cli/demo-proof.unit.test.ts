// The demo's own bookkeeping: it must find what is lost, doubled or never acknowledged, and must not hide it.
import { expect, test } from "vitest";
import { acknowledged, count, type Receipt, type TillReport } from "#switchback/demo/ledger.js";
import { conclude, failuresOf, type Proof } from "#switchback/demo/proof.js";

const report = (till: number, ...writes: number[]): TillReport => {
  let last = 0;
  const legs = writes.map((many, n) => {
    const first = last + 1;
    last += many;
    return {
      store: n % 2 === 0 ? ("sqlite" as const) : ("postgres" as const),
      first,
      last,
      longestWaitMs: 1,
    };
  });
  return { kind: "end", till, legs, collisions: 0 };
};

const reports = [report(1, 3, 2, 1), report(2, 1, 1, 1)];

function receipts(): Receipt[] {
  const of = (till: number, many: number) =>
    Array.from({ length: many }, (_, n) => ({ till, number: n + 1 }));
  return [...of(1, 6), ...of(2, 3)];
}

const held: Proof = {
  history: { rows: 10, seconds: 1 },
  out: { lag: { orders: 5, p50Ms: 3, p99Ms: 9 }, balance: { looks: 4, states: 4, wrong: 0 } },
  back: { lag: { orders: 5, p50Ms: 3, p99Ms: 9 }, balance: { looks: 4, states: 4, wrong: 0 } },
  cutover: { epoch: 1, pauseMs: 5, waitMs: 9, refusal: "moved" },
  revert: { epoch: 2, pauseMs: 5, waitMs: 9, refusal: "moved" },
  equal: { live: true, afterCutover: true, atRest: true },
  reports,
  receipts: { sqlite: count(reports, receipts()), postgres: count(reports, receipts()) },
  stoppedCleanly: true,
};

test("every acknowledged write is counted once, by till and number", () => {
  expect(count(reports, receipts())).toEqual({ found: 9, lost: 0, doubled: 0, unknown: 0 });
  expect(acknowledged(reports)).toEqual([
    { store: "sqlite", writes: 4 },
    { store: "postgres", writes: 3 },
    { store: "sqlite", writes: 2 },
  ]);
});

test("a missing, a doubled and an unknown write are each found", () => {
  const wrong = receipts().filter(({ till, number }) => !(till === 1 && number === 4));
  wrong.push({ till: 2, number: 2 }, { till: 1, number: 7 });
  expect(count(reports, wrong)).toEqual({ found: 8, lost: 1, doubled: 1, unknown: 1 });
});

test("what holds is called proved, with the figures", () => {
  expect(failuresOf(held)).toEqual([]);
  const words = conclude(held, []);
  expect(words).toContain("4 in SQLite, then 3 in PostgreSQL, then 2 in SQLite: 9 writes");
  expect(words).toContain("Found in PostgreSQL: 9; lost 0, doubled 0.");
  expect(words).toContain("9 acknowledged writes, each found once in both stores");
});

test("anything that does not hold is named, and nothing is called proved", () => {
  const lost = count(reports, receipts().slice(1));
  const doubled = count(reports, [...receipts(), { till: 1, number: 1 }]);
  const bad: Proof = {
    ...held,
    out: { lag: { orders: 0, p50Ms: 0, p99Ms: 0 }, balance: { looks: 4, states: 1, wrong: 2 } },
    cutover: { ...held.cutover, refusal: null },
    equal: { live: true, afterCutover: false, atRest: true },
    receipts: { sqlite: lost, postgres: doubled },
    stoppedCleanly: false,
  };
  const failures = failuresOf(bad);
  expect(failures).toEqual([
    "no change arrived in PostgreSQL",
    "PostgreSQL showed a single state only",
    "2 looks at PostgreSQL found the books out of balance",
    "SQLite took a write after the cutover",
    "verify says that the stores are not equal",
    "acknowledged writes lost in SQLite: 1",
    "writes doubled in PostgreSQL: 1",
    "the sidecar did not stop cleanly",
  ]);
  expect(conclude(bad, failures)).not.toContain("Proved");
});
