// The view of a reader of either store during the demo. It checks whether the shop's books balance in every
// snapshot, how old an order is when it appears, and which receipts there are. It also records the error that
// a writer gets in the store without the writes.
import { setTimeout as sleep } from "node:timers/promises";
import { sql } from "../sql-files.js";
import type { Receipt } from "./ledger.js";
import { BOUGHT } from "./shop.js";
import type { ShopStore } from "./stores.js";

const POLL_MS = 2;
const BETWEEN_LOOKS_MS = 25;

/** One statement is one snapshot: products out of balance, and the newest receipt to distinguish the states. */
const BALANCE = sql("demo/balance");

export interface Balance {
  readonly looks: number;
  readonly states: number;
  /** Snapshots in which a product did not balance. */
  readonly wrong: number;
}

export interface Lag {
  readonly orders: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
}

/** Reads the books repeatedly for `durationMs`. */
export async function watchBalance(
  store: ShopStore,
  durationMs: number,
  signal: AbortSignal,
): Promise<Balance> {
  const states = new Set<unknown>();
  let looks = 0;
  let wrong = 0;
  await repeatedly(durationMs, BETWEEN_LOOKS_MS, signal, async () => {
    const [row] = await store.read(BALANCE, BOUGHT);
    looks += 1;
    states.add(String(row?.newest));
    if (Number(row?.wrong) > 0) wrong += 1;
  });
  return { looks, states: states.size, wrong };
}

/** How old orders are when they appear, for `durationMs`. */
export async function watchLag(store: ShopStore, durationMs: number, signal: AbortSignal): Promise<Lag> {
  const lags: number[] = [];
  let newest = Number((await store.read("SELECT max(id) AS id FROM purchase"))[0]?.id ?? 0);
  await repeatedly(durationMs, POLL_MS, signal, async () => {
    const rows = await store.read("SELECT id, placed_ms FROM purchase WHERE id > ? ORDER BY id", newest);
    const now = Date.now();
    for (const row of rows) {
      newest = Number(row.id);
      lags.push(now - Number(row.placed_ms));
    }
  });
  lags.sort((a, b) => a - b);
  const at = (share: number) =>
    lags[Math.min(lags.length - 1, Math.floor(lags.length * share))] ?? Number.NaN;
  return { orders: lags.length, p50Ms: at(0.5), p99Ms: at(0.99) };
}

export async function readReceipts(store: ShopStore): Promise<Receipt[]> {
  const rows = await store.read("SELECT till, number FROM receipt");
  return rows.map(({ till, number }) => ({ till: Number(till), number: Number(number) }));
}

/** The error for a writer that did not follow the route; null when the store accepted the write. */
export async function tryWriting(store: ShopStore): Promise<string | null> {
  try {
    await store.transaction(async (run) => {
      await run("INSERT INTO receipt(till, number) VALUES (0, 0)");
    });
    return null;
  } catch (error) {
    if (store.refused(error) && error instanceof Error) return error.message;
    throw error;
  }
}

async function repeatedly(
  durationMs: number,
  pauseMs: number,
  signal: AbortSignal,
  work: () => Promise<void>,
): Promise<void> {
  for (const end = performance.now() + durationMs; performance.now() < end; await sleep(pauseMs)) {
    signal.throwIfAborted();
    await work();
  }
}
