// What the installed triggers cost the application: the same Python program on a bare file and on a captured one, in
// turn, no sidecar running.
import { join } from "node:path";
import Database from "better-sqlite3";
import { median, start, switchback } from "./measure.js";

const APPLICATION = `
import sqlite3, sys, time
db = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=10)
db.execute("PRAGMA synchronous = NORMAL")
count, per = int(sys.argv[2]), int(sys.argv[3])
newest = db.execute("SELECT coalesce(max(id), 0) FROM orders").fetchone()[0]
began, n = time.perf_counter(), 0
while n < count:
    db.execute("BEGIN")
    for _ in range(per):
        act = n % 10
        if act < 6:
            newest += 1
            db.execute("INSERT INTO orders(customer_id, email, status, total, paid, notes, meta) VALUES (?, ?, 'new', ?, 0, ?, ?)",
                       (n % 977, "user%d@example.com" % n, n * 1.1, "alpha beta gamma delta epsilon", '{"k": 1}'))
        elif act < 9:
            db.execute("UPDATE orders SET status = 'paid', total = ? WHERE id = ?", (n * 0.3, 1 + n * 7919 % newest))
        else:
            db.execute("DELETE FROM orders WHERE id = ?", (1 + n * 31 % newest,))
        n += 1
    db.execute("COMMIT")
print(time.perf_counter() - began)
`;

const SCHEMA = `CREATE TABLE orders(id INTEGER PRIMARY KEY, customer_id INTEGER NOT NULL, email TEXT NOT NULL, status TEXT,
  total REAL, paid INTEGER, created_at TEXT DEFAULT CURRENT_TIMESTAMP, notes TEXT, meta TEXT);
  CREATE INDEX orders_customer ON orders(customer_id); CREATE INDEX orders_email ON orders(email);`;

/** @param {import("./measure.js").Server} server @param {{ rows: number, runs: number }} sizes */
export async function benchCapture(server, { rows, runs }) {
  /** @type {Record<string, number[]>} */
  const seconds = { bare1: [], captured1: [], bare100: [], captured100: [] };
  for (let run = 0; run < runs; run++) {
    for (const kind of ["bare", "captured"]) {
      const file = join(server.folder, `${kind}-${run}.db`);
      const database = new Database(file);
      database.pragma("journal_mode = WAL");
      database.exec(SCHEMA);
      database.close();
      if (kind === "captured") {
        await switchback([
          "backfill",
          "--sqlite",
          file,
          "--postgres",
          await server.database(),
          "--log-level",
          "error",
        ]).ended;
      }
      for (const per of [1, 100]) {
        const { output } = await start("python3", ["-c", APPLICATION, file, String(rows), String(per)]).ended;
        seconds[`${kind}${per}`]?.push(Number(output));
      }
    }
  }
  const of = (/** @type {string} */ name) => median(seconds[name] ?? []);
  return {
    rows,
    runs,
    slowdownAt1: of("captured1") / of("bare1"),
    slowdownAt100: of("captured100") / of("bare100"),
    barePerSecondAt1: rows / of("bare1"),
    barePerSecondAt100: rows / of("bare100"),
  };
}
