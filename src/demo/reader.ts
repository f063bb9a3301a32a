// What a client of PostgreSQL sees meanwhile: whether the shop's books balance at every look, and how old an order is
// when it appears. Two connections, so that a long look does not delay the clock.
import { setTimeout as sleep } from "node:timers/promises";
import pg from "pg";
import { BOUGHT } from "./shop.js";

const POLL_MS = 2;
const BETWEEN_LOOKS_MS = 20;

/** One statement is one snapshot: products out of balance, and the newest order to tell the states apart. */
const BALANCE = `
  SELECT (SELECT count(*) FROM product p
           WHERE p.stock + coalesce((SELECT sum(quantity) FROM line WHERE line.product = p.id), 0) <> ${BOUGHT})::int AS wrong,
         (SELECT max(id) FROM purchase)::int AS newest`;

export interface Seen {
  readonly looks: number;
  readonly states: number;
  /** Looks at which some product did not balance. */
  readonly wrong: number;
  readonly orders: number;
  readonly lagP50Ms: number;
  readonly lagP99Ms: number;
}

/** Looks for `durationMs`. */
export async function watch(
  connectionString: string,
  durationMs: number,
  signal: AbortSignal,
): Promise<Seen> {
  const clients = [new pg.Client({ connectionString }), new pg.Client({ connectionString })] as const;
  for (const client of clients) {
    client.on("error", () => {});
    await client.connect();
  }
  try {
    const end = performance.now() + durationMs;
    const [balance, lag] = await Promise.all([look(clients[0], end, signal), clock(clients[1], end, signal)]);
    return { ...balance, ...lag };
  } finally {
    await Promise.all(clients.map((client) => client.end().catch(() => {})));
  }
}

async function look(
  client: pg.Client,
  end: number,
  signal: AbortSignal,
): Promise<Pick<Seen, "looks" | "states" | "wrong">> {
  const states = new Set<number>();
  let looks = 0;
  let wrong = 0;
  while (performance.now() < end) {
    signal.throwIfAborted();
    const { rows } = await client.query<{ wrong: number; newest: number }>(BALANCE);
    looks += 1;
    for (const row of rows) {
      states.add(row.newest);
      if (row.wrong > 0) wrong += 1;
    }
    await sleep(BETWEEN_LOOKS_MS);
  }
  return { looks, states: states.size, wrong };
}

async function clock(
  client: pg.Client,
  end: number,
  signal: AbortSignal,
): Promise<Pick<Seen, "orders" | "lagP50Ms" | "lagP99Ms">> {
  const lags: number[] = [];
  const { rows: first } = await client.query<{ newest: string }>("SELECT max(id) AS newest FROM purchase");
  let newest = Number(first[0]?.newest ?? 0);
  while (performance.now() < end) {
    signal.throwIfAborted();
    const { rows } = await client.query<{ id: string; placed_ms: string }>(
      "SELECT id, placed_ms FROM purchase WHERE id > $1 ORDER BY id",
      [newest],
    );
    const now = Date.now();
    for (const row of rows) {
      newest = Number(row.id);
      lags.push(now - Number(row.placed_ms));
    }
    await sleep(POLL_MS);
  }
  lags.sort((a, b) => a - b);
  const at = (share: number) =>
    lags[Math.min(lags.length - 1, Math.floor(lags.length * share))] ?? Number.NaN;
  return { orders: lags.length, lagP50Ms: at(0.5), lagP99Ms: at(0.99) };
}
