// The benchmark's data: a table of orders with ten columns, a primary key, a unique and a plain index, and text that
// COPY has to escape.
import Database from "better-sqlite3";

export const TABLE = `CREATE TABLE orders(id INTEGER PRIMARY KEY AUTOINCREMENT, customer_id INTEGER NOT NULL,
  email TEXT NOT NULL, status TEXT, total REAL, paid INTEGER, created_at TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP,
  notes TEXT, meta TEXT, tag BLOB)`;

const COLUMNS = "customer_id, email, status, total, paid, created_at, notes, meta, tag";

/** The nine values beside the id, from a number `i`. */
const VALUES = `i * 7919 % 100000, 'user' || i || '@example.com', CASE i % 4 WHEN 0 THEN 'new' WHEN 1 THEN 'paid' WHEN 2 THEN 'shipped' END,
  i * 1.0 / 7, i & 1, datetime(1700000000 + i, 'unixepoch'),
  'alpha beta gamma ' || CASE i % 10 WHEN 0 THEN 'with' || char(9) || 'tab' WHEN 1 THEN 'new' || char(10) || 'line' WHEN 2 THEN 'back\\slash' WHEN 3 THEN 'épsilon' ELSE 'delta eta' END || ' theta iota ' || i,
  '{"k": ' || i || ', "v": "kappa"}', CASE i % 4 WHEN 0 THEN randomblob(16) END`;

/** @param {string} path @param {number} rows */
export function makeOrders(path, rows) {
  const database = new Database(path);
  database.pragma("journal_mode = WAL");
  database.pragma("synchronous = OFF");
  database.exec(TABLE);
  database.exec(`WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ${rows})
    INSERT INTO orders(${COLUMNS}) SELECT ${VALUES} FROM n`);
  database.exec(
    "CREATE INDEX orders_customer ON orders(customer_id); CREATE UNIQUE INDEX orders_email ON orders(email)",
  );
  database.pragma("wal_checkpoint(TRUNCATE)");
  database.close();
}

/**
 * A backlog: thirds of updates, deletions and new rows, in transactions of a thousand, on a file of `rows` orders.
 * @param {string} path @param {number} rows @param {number} changes
 */
export function makeBacklog(path, rows, changes) {
  const database = new Database(path);
  database.pragma("recursive_triggers = OFF");
  database.pragma("synchronous = OFF");
  const third = Math.floor(changes / 3);
  const step = Math.floor(rows / third);
  const update = database.prepare(
    "UPDATE orders SET status = 'changed', total = total + 1, notes = notes || '.' WHERE id = ?",
  );
  const remove = database.prepare("DELETE FROM orders WHERE id = ?");
  const insert = database.prepare(`INSERT INTO orders(${COLUMNS}) SELECT ${VALUES} FROM (SELECT ? AS i)`);
  for (let done = 0; done < third; done += 1000) {
    database.transaction(() => {
      for (let n = done; n < Math.min(done + 1000, third); n++) {
        update.run(1 + n * step);
        if (step > 1) remove.run(2 + n * step);
        insert.run(10 * rows + n);
      }
    })();
  }
  database.pragma("wal_checkpoint(TRUNCATE)");
  database.close();
}
