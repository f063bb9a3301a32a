// What a client of PostgreSQL sees meanwhile: whether the shop's books balance at every look, and how old an order is
// when it appears.
import { setTimeout as sleep } from "node:timers/promises";
import pg from "pg";
import { BOUGHT } from "./shop.js";

const POLL_MS = 2;
const BETWEEN_LOOKS_MS = 25;

/** One statement is one snapshot: products out of balance, and the newest order to tell the states apart. */
const BALANCE = `
  WITH sold AS (SELECT product AS id, sum(quantity) AS quantity FROM line GROUP BY product)
  SELECT (SELECT count(*) FROM product LEFT JOIN sold USING (id) WHERE stock + coalesce(quantity, 0) <> ${BOUGHT})::int AS wrong,
         (SELECT max(id) FROM purchase)::int AS newest`;

export interface Balance {
  readonly looks: number;
  readonly states: number;
  /** Looks at which some product did not balance. */
  readonly wrong: number;
}

export interface Lag {
  readonly orders: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
}

/** Looks at the books for `durationMs`. */
export async function watchBalance(
  connectionString: string,
  durationMs: number,
  signal: AbortSignal,
): Promise<Balance> {
  const states = new Set<number>();
  let looks = 0;
  let wrong = 0;
  await repeatedly(connectionString, durationMs, BETWEEN_LOOKS_MS, signal, async (client) => {
    const { rows } = await client.query<{ wrong: number; newest: number }>(BALANCE);
    looks += 1;
    for (const row of rows) {
      states.add(row.newest);
      if (row.wrong > 0) wrong += 1;
    }
  });
  return { looks, states: states.size, wrong };
}

/** How old orders are when they appear, for `durationMs`. */
export async function watchLag(
  connectionString: string,
  durationMs: number,
  signal: AbortSignal,
): Promise<Lag> {
  const lags: number[] = [];
  let newest: number | null = null;
  await repeatedly(connectionString, durationMs, POLL_MS, signal, async (client) => {
    if (newest === null) {
      const { rows } = await client.query<{ newest: string }>("SELECT max(id) AS newest FROM purchase");
      newest = Number(rows[0]?.newest ?? 0);
    }
    const { rows } = await client.query<{ id: string; placed_ms: string }>(
      "SELECT id, placed_ms FROM purchase WHERE id > $1 ORDER BY id",
      [newest],
    );
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

async function repeatedly(
  connectionString: string,
  durationMs: number,
  pauseMs: number,
  signal: AbortSignal,
  work: (client: pg.Client) => Promise<void>,
): Promise<void> {
  const client = new pg.Client({ connectionString });
  client.on("error", () => {});
  await client.connect();
  try {
    for (const end = performance.now() + durationMs; performance.now() < end; await sleep(pauseMs)) {
      signal.throwIfAborted();
      await work(client);
    }
  } finally {
    await client.end().catch(() => {});
  }
}
