// The demo's application: a small shop in one SQLite file. Its books balance in every committed state: of
// each product, the stock and the orders add up to the purchases. Every write leaves a receipt with its
// till's next number. The schema does not make the number unique, so that a doubled write shows. It knows
// nothing of switchback.
import Database from "better-sqlite3";
import { sql } from "../sql-files.js";

export const PRODUCTS = 200;
export const BOUGHT = 1_000_000;
const CUSTOMERS = 10_000;
const ORDERS = 100_000;

const COUNT = (upTo: number) =>
  `WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ${upTo})`;

/** Years of history, with balanced books. */
const HISTORY = `
  ${COUNT(CUSTOMERS)} INSERT INTO customer(email, name, joined)
    SELECT 'customer' || i || '@example.org', 'Customer ' || i, datetime(1600000000 + i * 7919, 'unixepoch') FROM n;
  ${COUNT(PRODUCTS)} INSERT INTO product SELECT i, printf('SKU-%04d', i), 1 + i * 0.37, 0 FROM n;
  ${COUNT(ORDERS)} INSERT INTO purchase(customer, state, placed_ms, note)
    SELECT 1 + i * 31 % ${CUSTOMERS}, 'paid', 1600000000000 + i * 60000, CASE i % 9 WHEN 0 THEN 'please wrap: "' || i || '"' END FROM n;
  ${COUNT(ORDERS)} INSERT INTO line SELECT i, 1 + i * 7 % ${PRODUCTS}, 1 + i % 3 FROM n;
  ${COUNT(ORDERS)} INSERT OR IGNORE INTO line SELECT i, 1 + (i * 7 + 1 + i % 5) % ${PRODUCTS}, 1 FROM n;
  UPDATE product SET stock = ${BOUGHT} - (SELECT coalesce(sum(quantity), 0) FROM line WHERE product = product.id);`;

/** Creates the shop's file; returns its number of rows. */
export function makeShop(path: string): number {
  const database = new Database(path);
  try {
    database.pragma("journal_mode = WAL");
    database.pragma("synchronous = OFF");
    database.exec(sql("demo/shop"));
    database.transaction(() => database.exec(HISTORY))();
    const count = (table: string) =>
      database.prepare(`SELECT count(*) FROM ${table}`).pluck().get() as number;
    return ["customer", "product", "purchase", "line", "journal"].reduce(
      (sum, table) => sum + count(table),
      0,
    );
  } finally {
    database.close();
  }
}
