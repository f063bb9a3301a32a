// A till of the shop, in its own process. It follows the route file: it writes to the same store until that
// store refuses, waits while the route says `paused`, and continues in the store that the route names. Each
// write has a number, which is reused until the store has confirmed the commit; only then the write counts as
// acknowledged.
//
// usage: SHOP_DATABASE_URL=… node writer.js FILE ROUTE TILL; runs until its standard input ends. Prints a line of
// JSON each time it continues in the other store, and one at the end. It imports nothing of switchback's engine.
import { readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import type { Leg, WriterEvent } from "./ledger.js";
import { openPostgresStore, openSqliteStore } from "./stores.js";
import { type ShopStoreName, work } from "./work.js";

const PAUSE_MS = 3;
const ROUTE_POLL_MS = 1;

const [file = "", routeFile = "", tillNumber = "1"] = process.argv.slice(2);
const till = Number(tillNumber);
const stores = {
  sqlite: openSqliteStore(file),
  postgres: await openPostgresStore(process.env.SHOP_DATABASE_URL ?? ""),
};

let stopping = false;
process.stdin.on("end", () => {
  stopping = true;
});
process.stdin.resume();
// Ctrl-C reaches the terminal's whole process group; the demo decides when to stop.
process.on("SIGINT", () => {});

const tell = (event: WriterEvent) => process.stdout.write(`${JSON.stringify(event)}\n`);

let store: ShopStoreName = "sqlite";
let collisions = 0;
const legs: Leg[] = [];
let number = 1;
let acknowledgedMs = performance.now();
while (!stopping) {
  await write();
  acknowledge();
  await sleep(PAUSE_MS);
}
tell({ kind: "end", till, legs, collisions });
await stores.sqlite.close();
await stores.postgres.close();

/** Returns once a store has committed the write with this number. */
async function write(): Promise<void> {
  for (;;) {
    const { transaction, refused, collided } = stores[store];
    try {
      return await transaction((run) => work(run, store, till, number));
    } catch (error) {
      if (refused(error)) store = await route();
      else if (collided(error)) collisions += 1;
      else throw error;
    }
  }
}

function acknowledge(): void {
  const now = performance.now();
  const waitMs = now - acknowledgedMs;
  acknowledgedMs = now;
  const leg = legs.at(-1);
  if (leg?.store === store) {
    leg.last = number;
    leg.longestWaitMs = Math.max(leg.longestWaitMs, waitMs);
  } else {
    legs.push({ store, first: number, last: number, longestWaitMs: 0 });
    if (leg) tell({ kind: "moved", till, to: store, waitMs });
  }
  number += 1;
}

/** The store that the route names, once it names one. */
async function route(): Promise<ShopStoreName> {
  for (;;) {
    await sleep(ROUTE_POLL_MS);
    const { writes } = JSON.parse(readFileSync(routeFile, "utf8")) as { writes: ShopStoreName | "paused" };
    if (writes !== "paused") return writes;
  }
}
