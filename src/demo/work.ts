// The transactions of the shop's tills: orders placed, changed and cancelled, customers replaced and
// renumbered, prices changed, and a receipt for each. The same statements run in both stores, except for a
// few that each store spells differently. It does not know which store it runs in.
import { sql } from "../sql-files.js";
import { PRODUCTS } from "./shop.js";

export type ShopStoreName = "sqlite" | "postgres";

/** Runs one statement with `?` for its values, in the open transaction; returns the rows. */
export type Run = (text: string, ...values: unknown[]) => Promise<readonly Record<string, unknown>[]>;

/** SQLite's REPLACE evicts the old row without a DELETE trigger; PostgreSQL has no such thing and keeps the row. */
const REPLACE_CUSTOMER: Record<ShopStoreName, string> = {
  sqlite: "INSERT OR REPLACE INTO customer(email, name) VALUES (?, ?)",
  postgres:
    "INSERT INTO customer(email, name) VALUES (?, ?) ON CONFLICT (email) DO UPDATE SET name = excluded.name",
};

const random = (upTo: number) => 1 + Math.floor(Math.random() * upTo);

/** One transaction's work, with its receipt. */
export async function work(run: Run, store: ShopStoreName, till: number, number: number): Promise<void> {
  if (random(3) > 1) await order(run);
  else await change(run, store);
  await run("INSERT INTO receipt(till, number) VALUES (?, ?)", till, number);
}

async function order(run: Run): Promise<void> {
  const [placed] = await run(sql("demo/place-order"), random(10_000), Date.now());
  const products = new Set(Array.from({ length: random(3) }, () => random(PRODUCTS)));
  // The same order for all, so that two tills never deadlock.
  for (const product of [...products].sort((a, b) => a - b)) {
    const quantity = random(4);
    await run(
      "INSERT INTO line(purchase, product, quantity) VALUES (?, ?, ?)",
      placed?.id,
      product,
      quantity,
    );
    await run("UPDATE product SET stock = stock - ? WHERE id = ?", quantity, product);
  }
}

async function change(run: Run, store: ShopStoreName): Promise<void> {
  const n = 10_000 + random(2_000);
  const [newest] = await run("SELECT max(id) AS id FROM purchase");
  const old = random(Number(newest?.id));
  switch (random(5)) {
    case 1:
      return await cancel(run, store, old);
    case 2:
      await run("UPDATE product SET price = price * 1.01 WHERE id = ?", random(PRODUCTS));
      return;
    case 3:
      await run(REPLACE_CUSTOMER[store], `customer${n}@example.org`, `Customer ${n} again`);
      return;
    case 4: {
      const id = 100_000 + random(1_000_000);
      await run(
        "UPDATE customer SET id = ? WHERE email = ? AND NOT EXISTS (SELECT 1 FROM customer WHERE id = ?)",
        id,
        `customer${n}@example.org`,
        id,
      );
      return;
    }
    default:
      await run("UPDATE purchase SET state = 'paid', note = ? WHERE id = ?", `paid ${Date.now()}`, old);
  }
}

async function cancel(run: Run, store: ShopStoreName, purchase: number): Promise<void> {
  // Delete first: when two tills cancel an order at the same time, only one gets its lines.
  const lines = await run("DELETE FROM line WHERE purchase = ? RETURNING product, quantity", purchase);
  const sorted = lines.map((line) => [Number(line.product), Number(line.quantity)] as const);
  for (const [product, quantity] of sorted.sort(([a], [b]) => a - b))
    await run("UPDATE product SET stock = stock + ? WHERE id = ?", quantity, product);
  const gone = await run("DELETE FROM purchase WHERE id = ? RETURNING id", purchase);
  // In SQLite a trigger of the shop does this.
  if (store === "postgres" && gone.length > 0)
    await run("INSERT INTO journal(what) VALUES (?)", `cancelled ${purchase}`);
}
