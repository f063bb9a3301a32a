// A connection that is lost during COMMIT: PostgreSQL is asked, and the write is there exactly once either way. And a
// server that goes away and comes back.

import type { AddressInfo } from "node:net";
import { createServer, connect as dial, type Socket } from "node:net";
import { afterEach, expect, test } from "vitest";
import { type ConnectOptions, connect, type Handle, TransactionError } from "#switchback/client/index.js";
import { ownServer } from "../support/servers.js";
import { type Flips, flipping } from "./flips.js";

const ends: (() => Promise<unknown> | unknown)[] = [];
afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end();
});

type Cut = "never" | "before COMMIT arrives" | "after COMMIT arrived" | "after COMMIT, and no answer";

/** Between client and server; cuts one connection around a COMMIT, then behaves. */
async function proxy(url: string): Promise<{ url: string; cut(when: Cut): void; cuts(): number }> {
  const target = new URL(url);
  const serverPort = Number(target.port);
  let when: Cut = "never";
  let cuts = 0;
  let shut = false;
  const server = createServer((near) => {
    if (shut) return void near.destroy();
    const far: Socket = dial(serverPort, target.hostname);
    const end = () => {
      near.destroy();
      far.destroy();
    };
    for (const socket of [near, far]) socket.on("error", end).on("close", end);
    let mute = false;
    near.on("data", (data) => {
      if (when !== "never" && data.includes("COMMIT")) {
        const now = when;
        when = "never";
        cuts += 1;
        shut = now === "after COMMIT, and no answer";
        if (now === "before COMMIT arrives") return end();
        mute = true;
      }
      far.write(data);
    });
    far.on("data", (data) => (mute ? end() : near.write(data)));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  ends.push(() => server.close());
  target.port = String((server.address() as AddressInfo).port);
  return {
    url: target.href,
    cut(next) {
      when = next;
    },
    cuts: () => cuts,
  };
}

async function inPostgres(
  options: ConnectOptions = {},
): Promise<{ flips: Flips; db: Handle; way: Awaited<ReturnType<typeof proxy>> }> {
  const flips = await flipping();
  ends.push(() => flips.remove());
  await flips.cutover();
  const way = await proxy(flips.database.url);
  const db = connect({ sqlite: flips.file.path, postgres: way.url, route: flips.route, ...options });
  ends.push(() => db.close());
  await db.initialize();
  return { flips, db, way };
}

test.each(["before COMMIT arrives", "after COMMIT arrived"] as const)(
  "a connection lost %s",
  async (when) => {
    const { flips, db, way } = await inPostgres();
    way.cut(when);
    await db.execute("UPDATE account SET balance = balance + 1 WHERE id = 1");
    way.cut(when);
    let runs = 0;
    await db.transaction(async (tx) => {
      runs += 1;
      await tx.execute("UPDATE account SET balance = balance + 10 WHERE id = 1");
    });
    expect(way.cuts()).toBe(2);
    expect(runs).toBe(when === "before COMMIT arrives" ? 2 : 1);
    expect(await flips.database.query("SELECT balance::int AS n FROM account WHERE id = 1")).toEqual([
      { n: 1011 },
    ]);
    expect(db.getMetrics()).toMatchObject({ outcomesAsked: 2, outcomesUnknown: 0 });
  },
);

test("an outcome that cannot be asked for is called unknown", async () => {
  const { db, way } = await inPostgres({ waitMs: 300 });
  way.cut("after COMMIT, and no answer");
  const error = await db.execute("UPDATE account SET balance = 0 WHERE id = 1").catch((e: unknown) => e);
  expect(error).toBeInstanceOf(TransactionError);
  expect(error).toMatchObject({ outcome: "unknown", store: "postgres", code: "OUTCOME_UNKNOWN" });
  expect((error as Error).message).toContain("look before doing it again");
  expect(db.getMetrics().outcomesUnknown).toBe(1);
});

test("calls wait for a server that restarts; one that stays away is named without its password", async () => {
  const server = await ownServer(18);
  ends.push(() => server.remove());
  const flips = await flipping(4, await server.database());
  ends.push(() => flips.remove());
  await flips.cutover();
  const options = { sqlite: flips.file.path, postgres: flips.database.url, route: flips.route };
  const db = connect(options);
  ends.push(() => db.close());
  await db.execute("INSERT INTO entry (tag) VALUES ('before')");
  await server.stop("immediate");
  const during = db.execute("INSERT INTO entry (tag) VALUES ('during')");
  const hasty = connect({ ...options, waitMs: 100 });
  ends.push(() => hasty.close());
  const error = await hasty.query("SELECT 1").catch((e: unknown) => e);
  expect(error).toMatchObject({ name: "ConnectionError", store: "postgres", code: "ECONNREFUSED" });
  expect((error as Error).message).not.toContain("test-password");
  expect(await hasty.healthCheck()).toMatchObject({
    ok: false,
    sqlite: { ok: true },
    postgres: { ok: false },
  });
  await server.start();
  await during;
  expect(await db.query("SELECT tag FROM entry ORDER BY tag")).toEqual([
    { tag: "before" },
    { tag: "during" },
  ]);
  expect(db.getMetrics().postgres.lost).toBeGreaterThan(0);
});
