// Many callers on few rows in PostgreSQL: as many at a time as get along, and never so few that they wait for each
// other for ever.
import { setTimeout as sleep } from "node:timers/promises";
import { afterEach, beforeEach, expect, test } from "vitest";
import { connect, type Handle } from "#switchback/client/index.js";
import { type Flips, flipping } from "./flips.js";

const ROWS = 20;
const CALLERS = 50;
const EACH = 12;

let flips: Flips;
let db: Handle;

beforeEach(async () => {
  flips = await flipping();
  await flips.cutover();
  // Statistics say how small the table is: it is read whole from now on.
  await flips.database.query(
    `DELETE FROM account; INSERT INTO account SELECT id, 0 FROM generate_series(1, ${ROWS}) AS id; ANALYZE account`,
  );
});
afterEach(async () => {
  await db.close();
  await flips.remove();
});

function open(connectionsMax: number): void {
  db = connect({ sqlite: flips.file.path, postgres: flips.database.url, route: flips.route, connectionsMax });
}

const anyRow = () => 1 + Math.floor(Math.random() * ROWS);

test("serializable transactions of many callers on a few rows are not mostly repeats", async () => {
  open(10);
  const caller = async () => {
    for (let n = 0; n < EACH; n++) {
      await db.transaction(async (tx) => {
        const from = anyRow();
        const row = await tx.queryOne<{ balance: number }>("SELECT balance FROM account WHERE id = ?", [
          from,
        ]);
        await tx.execute("UPDATE account SET balance = ? WHERE id = ?", [(row?.balance ?? 0) - 1, from]);
        await tx.execute("UPDATE account SET balance = balance + 1 WHERE id = ?", [anyRow()]);
      });
    }
  };
  const before = db.getMetrics().postgres;
  await Promise.all(Array.from({ length: CALLERS }, caller));
  const after = db.getMetrics().postgres;
  expect(after.transactions - before.transactions).toBe(CALLERS * EACH);
  // Let in all together, each was repeated five times on average.
  expect(after.retries - before.retries).toBeLessThan(CALLERS * EACH);
  expect(await db.queryOne("SELECT sum(balance) AS sum FROM account")).toEqual({ sum: 0 });
});

test("a transaction that an open one waits for comes in, however few are let in", async () => {
  open(2);
  // Two that must conflict: from now on one at a time is let in.
  const colliding = new Set<number>();
  const collide = (n: number) =>
    db.transaction(async (tx) => {
      await tx.queryOne("SELECT sum(balance) AS sum FROM account");
      for (colliding.add(n); colliding.size < 2; ) await sleep(1);
      await tx.execute("UPDATE account SET balance = balance + 1 WHERE id = ?", [n]);
    });
  await Promise.all([collide(1), collide(2)]);
  expect(db.getMetrics().postgres.retries).toBeGreaterThan(0);
  let begin = () => {};
  const begun = new Promise<void>((resolve) => {
    begin = resolve;
  });
  // Another caller's: it shares nothing with the first one but the handle.
  const other = begun.then(() => db.execute("INSERT INTO account VALUES (?, 0)", [ROWS + 1]));
  await db.transaction(async (tx) => {
    await tx.execute("UPDATE account SET balance = 0 WHERE id = 1");
    begin();
    await other;
  });
  expect(await db.queryOne("SELECT count(*) AS n FROM account")).toEqual({ n: ROWS + 1 });
}, 20_000);
