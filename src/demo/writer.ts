// The shop at work, in a process of its own: orders placed, changed and cancelled, customers replaced, prices moved.
// usage: node writer.js FILE; runs until its standard input ends, then prints how many transactions it committed.
// It is an application like any other: it imports nothing of switchback's engine.
import { setTimeout as sleep } from "node:timers/promises";
import Database from "better-sqlite3";
import { PRODUCTS } from "./shop.js";

const PAUSE_MS = 2;

const database = new Database(process.argv[2] ?? "", { timeout: 5_000 });
// As most languages' drivers have it, and the harder case: rows evicted by REPLACE fire no trigger.
database.pragma("recursive_triggers = OFF");
database.pragma("foreign_keys = ON");
database.pragma("synchronous = NORMAL");

const random = (upTo: number) => 1 + Math.floor(Math.random() * upTo);
const newest = database.prepare("SELECT max(id) FROM purchase").pluck();
const newestCustomer = database.prepare("SELECT max(id) FROM customer").pluck();
const place = database.prepare(
  "INSERT INTO purchase(customer, placed_ms) VALUES ((SELECT id FROM customer WHERE id >= ? LIMIT 1), ?)",
);
const addLine = database.prepare("INSERT OR IGNORE INTO line VALUES (?, ?, ?)");
const take = database.prepare("UPDATE product SET stock = stock - ? WHERE id = ?");
const restock = database.prepare(
  "UPDATE product SET stock = stock + line.quantity FROM line WHERE line.purchase = ? AND line.product = product.id",
);
const cancel = database.prepare("DELETE FROM purchase WHERE id = ?");
const pay = database.prepare("UPDATE purchase SET state = 'paid', note = 'paid ' || ? WHERE id = ?");
const price = database.prepare("UPDATE product SET price = price * 1.01 WHERE id % 10 = ?");
const replaceCustomer = database.prepare("INSERT OR REPLACE INTO customer(email, name) VALUES (?, ?)");
const renumber = database.prepare("UPDATE OR IGNORE customer SET id = ? WHERE email = ?");

function order(): void {
  const id = place.run(random(Number(newestCustomer.get())), Date.now()).lastInsertRowid;
  for (let line = random(3); line > 0; line--) {
    const product = random(PRODUCTS);
    const quantity = random(4);
    if (addLine.run(id, product, quantity).changes > 0) take.run(quantity, product);
  }
}

function change(): void {
  const old = random(Number(newest.get()));
  switch (random(6)) {
    case 1:
      restock.run(old);
      cancel.run(old);
      return;
    case 2:
      price.run(random(10) - 1);
      return;
    case 3: {
      // The same address again: the old customer's row gives way without a DELETE anyone could see.
      const n = 10_000 + random(2_000);
      replaceCustomer.run(`customer${n}@example.org`, `Customer ${n} again`);
      return;
    }
    case 4:
      renumber.run(100_000 + random(100_000), `customer${10_000 + random(2_000)}@example.org`);
      return;
    default:
      pay.run(Date.now(), old);
  }
}

let stopping = false;
process.stdin.on("end", () => {
  stopping = true;
});
process.stdin.resume();
// Ctrl-C reaches the whole terminal's group; the demo says when to stop.
process.on("SIGINT", () => {});

const work = database.transaction(() => {
  order();
  if (random(3) === 1) change();
});
let committed = 0;
while (!stopping) {
  work.immediate();
  committed += 1;
  await sleep(PAUSE_MS);
}
database.close();
process.stdout.write(`${committed}\n`);
