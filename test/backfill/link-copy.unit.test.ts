// The link's copying, against stores made of promises. Ranges side by side, snapshots let go in time, a failed range
// given back; nothing is copied except at the target's own position.
import { expect, test } from "vitest";
import type { HistorySource, HistoryTarget, Range, Snapshot, Window } from "#switchback/protocol/contract.js";
import { Link, type TargetMirror } from "#switchback/protocol/link.js";

const RANGES = 6;

function stores(options: { strained?: boolean; failing?: number } = {}) {
  const seen = {
    atOnce: 0,
    most: 0,
    snapshots: 0,
    released: 0,
    copied: [] as number[],
    positions: [] as number[],
  };
  const held: TargetMirror = { position: 0, tables: new Map() };
  const pending: Range[] = Array.from({ length: RANGES }, (_, number) => ({
    table: "t",
    number,
    lo: null,
    hi: null,
  }));
  held.tables.set("t", { pending, copied: [], total: RANGES, rows: 0, quarantined: 0 });
  const windowTo = (to: number): Window => ({
    from: held.position,
    to,
    changes: 0,
    mark: "",
    tables: [],
    close: async () => {},
  });
  let failing = options.failing;
  const source: HistorySource = {
    maxReaders: 2,
    briefReads: false,
    newest: async () => seen.snapshots,
    window: async () => null,
    strained: () => options.strained ?? false,
    wait: async () => {},
    async snapshot(): Promise<Snapshot> {
      seen.snapshots += 1;
      const position = seen.snapshots * 10;
      return {
        position,
        readers: 2,
        window: async () => windowTo(position),
        async *read() {
          yield { csv: new Uint8Array(), rows: 0, refused: [] };
          return { rows: 0, refused: 0 };
        },
        count: async () => new Map(),
        leaveToReaders() {},
        release: async () => {
          seen.released += 1;
        },
      };
    },
  };
  const target: HistoryTarget = {
    writers: 2,
    apply: async () => ({ refused: [], released: new Map() }),
    async copy(range, position) {
      seen.atOnce += 1;
      seen.most = Math.max(seen.most, seen.atOnce);
      await new Promise((resolve) => setTimeout(resolve, 5));
      seen.atOnce -= 1;
      if (range.number === failing) {
        failing = undefined;
        throw new Error("the server went away");
      }
      expect(position).toBe(held.position);
      seen.copied.push(range.number);
      seen.positions.push(position);
      return { rows: 1, refused: [] };
    },
    snapshot: () => Promise.reject(new Error("nothing is counted here")),
  };
  const link = new Link(source, target, held, { advanced() {}, copied() {}, refused() {} });
  const copy = () => link.copy(source, target, new AbortController().signal);
  return { copy, held, seen };
}

const everyRange = Array.from({ length: RANGES }, (_, number) => number);

test("as many ranges are copied in parallel as there are readers, each once, all at one position", async () => {
  const { copy, seen } = stores();
  await copy();
  expect(seen.most).toBe(2);
  expect(seen.copied.toSorted()).toEqual(everyRange);
  expect(new Set(seen.positions)).toEqual(new Set([10]));
  expect([seen.snapshots, seen.released]).toEqual([1, 1]);
});

test("a snapshot that strains the source is let go after the ranges under way, and the rest is read from newer ones", async () => {
  const { copy, seen } = stores({ strained: true });
  await copy();
  expect(seen.copied.toSorted()).toEqual(everyRange);
  expect(seen.snapshots).toBe(RANGES / 2);
  expect(seen.released).toBe(seen.snapshots);
});

test("a range that failed is copied by the next attempt, and the others are not copied again", async () => {
  const { copy, seen } = stores({ failing: 3 });
  await expect(copy()).rejects.toThrow("the server went away");
  expect(seen.released).toBe(1);
  await copy();
  expect(seen.copied.toSorted()).toEqual(everyRange);
});
