// The accounts of the writes themselves: compares the commits that were acknowledged to the tills with the
// receipts that a store holds. Lost and doubled writes are counted number by number.
import type { ShopStoreName } from "./work.js";

/** Consecutive numbers that one store acknowledged to a till. */
export interface Leg {
  readonly store: ShopStoreName;
  readonly first: number;
  last: number;
  /** The longest wait between two acknowledged writes within the leg. */
  longestWaitMs: number;
}

/** The output of a till, one line per entry. */
export type WriterEvent =
  | { readonly kind: "moved"; readonly till: number; readonly to: ShopStoreName; readonly waitMs: number }
  | {
      readonly kind: "end";
      readonly till: number;
      readonly legs: readonly Leg[];
      /** Transactions that met a conflict, left nothing, and were tried again. */
      readonly collisions: number;
    };

export type TillReport = Extract<WriterEvent, { kind: "end" }>;

export interface Receipt {
  readonly till: number;
  readonly number: number;
}

/** A store's receipts, compared with the acknowledged writes. */
export interface Count {
  readonly found: number;
  /** Acknowledged and missing. */
  readonly lost: number;
  /** Acknowledged and present more than once. */
  readonly doubled: number;
  /** Present, but never acknowledged. */
  readonly unknown: number;
}

export function count(reports: readonly TillReport[], receipts: Iterable<Receipt>): Count {
  const times = new Map<string, number>();
  for (const { till, number } of receipts) {
    const name = `${till} ${number}`;
    times.set(name, (times.get(name) ?? 0) + 1);
  }
  let found = 0;
  let lost = 0;
  let doubled = 0;
  for (const { till, legs } of reports) {
    for (const { first, last } of legs) {
      for (let number = first; number <= last; number++) {
        const seen = times.get(`${till} ${number}`) ?? 0;
        if (seen === 0) lost += 1;
        else found += 1;
        if (seen > 1) doubled += 1;
      }
    }
  }
  return { found, lost, doubled, unknown: times.size - found };
}

/** How many writes were acknowledged in each leg, all tills together, in the order of the legs. */
export function acknowledged(reports: readonly TillReport[]): { store: ShopStoreName; writes: number }[] {
  const sums: { store: ShopStoreName; writes: number }[] = [];
  for (const { legs } of reports) {
    for (const [n, { store, first, last }] of legs.entries()) {
      const sum = sums[n] ?? { store, writes: 0 };
      sum.writes += last - first + 1;
      sums[n] = sum;
    }
  }
  return sums;
}
