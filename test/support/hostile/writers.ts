// Writers that follow the route file, whose processes and sessions are killed. Each operation has a name of its own and
// is tried until it is acknowledged; the row says in which store it was written.
import { setTimeout as sleep } from "node:timers/promises";
import pg from "pg";
import type { Store } from "../flips.js";
import { type Outside, python } from "../sqlite.js";

const PEACE_MS = 12;

/** Answers `done STORE`, where STORE is that of the row, `fenced`, `busy` or the error. */
const SQLITE_WRITER = `
import sqlite3, sys
writer = int(sys.argv[2])
db = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=10)
db.execute("PRAGMA synchronous = NORMAL")
def write(n):
    name = "%d-%d" % (writer, n)
    db.execute("BEGIN IMMEDIATE")
    there = db.execute("SELECT store FROM op WHERE name = ?", (name,)).fetchone()
    if there is None:
        db.execute("INSERT INTO op (name, store) VALUES (?, 'sqlite')", (name,))
        db.execute("UPDATE counter SET value = value + 1 WHERE writer = ?", (writer,))
        db.execute("REPLACE INTO latest (place, name) VALUES (?, ?)", (writer * 100 + n % 7, name))
        if n % 5 == 0: db.execute("DELETE FROM latest WHERE place = ?", (writer * 100 + n % 3,))
    db.execute("COMMIT")
    return there[0] if there else "sqlite"
for line in sys.stdin:
    try:
        print("done " + write(int(line)))
    except sqlite3.Error as error:
        if db.in_transaction: db.execute("ROLLBACK")
        text = str(error)
        print("fenced" if "switchback: writes have moved to PostgreSQL" in text else "busy" if "locked" in text else repr(error))
`;

/** Lost sessions, lock timeouts, servers that start or stop. */
const AWAY = /^(08|40|53|55|57|ECONN|EPIPE)/;
const CUT = /Connection terminated|timeout|not queryable|Client has encountered/;

export class HostileWriter {
  /** Operations that were acknowledged, and the store of each. */
  readonly acknowledged = new Map<string, Store>();
  /** Errors that neither a fence nor a lost session explains. */
  readonly others: string[] = [];
  private n = 0;
  private sqlite: Outside | null = null;
  private postgres: pg.Client | null = null;
  private wanted: "write" | "rest" | "end" = "write";
  private resting = false;
  private readonly over: Promise<void>;

  constructor(
    private readonly route: () => { readonly writes: string } | null,
    private readonly file: string,
    private readonly url: string,
    readonly number: number,
  ) {
    this.over = this.work();
    this.over.catch(() => {});
  }

  /** Returns when nothing is under way and neither store is open any more. */
  async rest(): Promise<void> {
    this.wanted = "rest";
    while (!this.resting) await Promise.race([this.over, sleep(2)]);
  }

  continue(): void {
    this.wanted = "write";
  }

  async end(): Promise<void> {
    this.wanted = "end";
    await this.over;
    await this.closed();
  }

  /** Kills the process that writes to SQLite, perhaps in the middle of a transaction. */
  kill(): void {
    this.sqlite?.kill();
  }

  private async work(): Promise<void> {
    while (this.wanted !== "end") {
      if (this.wanted === "rest") {
        if (!this.resting) await this.closed();
        this.resting = true;
        await sleep(5);
        continue;
      }
      this.resting = false;
      const store = await this.once();
      if (store === null) {
        await sleep(3);
        continue;
      }
      this.acknowledged.set(`${this.number}-${this.n++}`, store);
      await sleep(PEACE_MS);
    }
  }

  private async closed(): Promise<void> {
    const { sqlite, postgres } = this;
    this.sqlite = null;
    this.postgres = null;
    await sqlite?.finish().catch(() => {});
    await postgres?.end().catch(() => {});
  }

  private once(): Promise<Store | null> {
    switch (this.route()?.writes) {
      case "sqlite":
        return this.inSqlite();
      case "postgres":
        return this.inPostgres();
      default:
        return Promise.resolve(null);
    }
  }

  private async inSqlite(): Promise<Store | null> {
    this.sqlite ??= python(SQLITE_WRITER, [this.file, String(this.number)]);
    this.sqlite.process.stdin?.write(`${this.n}\n`);
    let answer: string;
    try {
      answer = await this.sqlite.line();
    } catch {
      this.sqlite = null;
      return null;
    }
    if (answer.startsWith("done ")) return answer.slice(5) as Store;
    if (answer !== "fenced" && answer !== "busy") this.others.push(`SQLite: ${answer}`);
    return null;
  }

  private async inPostgres(): Promise<Store | null> {
    try {
      const client = await this.connected();
      const name = `${this.number}-${this.n}`;
      await client.query("BEGIN");
      const { rows } = await client.query<{ store: Store }>("SELECT store FROM op WHERE name = $1", [name]);
      if (!rows[0]) await this.insert(client, name);
      await client.query("COMMIT");
      return rows[0]?.store ?? "postgres";
    } catch (error) {
      const { code = "", message } = error as { code?: string; message: string };
      if (code !== "25006" && !AWAY.test(code) && !CUT.test(message))
        this.others.push(`PostgreSQL: ${code} ${message}`);
      await this.postgres?.query("ROLLBACK").catch(() => {
        this.postgres = null;
      });
      return null;
    }
  }

  private async insert(client: pg.Client, name: string): Promise<void> {
    await client.query("INSERT INTO op (name, store) VALUES ($1, 'postgres')", [name]);
    await client.query("UPDATE counter SET value = value + 1 WHERE writer = $1", [this.number]);
    await client.query(
      "INSERT INTO latest (place, name) VALUES ($1, $2) ON CONFLICT (place) DO UPDATE SET name = excluded.name",
      [this.number * 100 + (this.n % 7), name],
    );
    if (this.n % 5 === 0)
      await client.query("DELETE FROM latest WHERE place = $1", [this.number * 100 + (this.n % 3)]);
  }

  private async connected(): Promise<pg.Client> {
    if (this.postgres) return this.postgres;
    const client = new pg.Client({ connectionString: this.url, connectionTimeoutMillis: 5_000 });
    client.on("error", () => {
      if (this.postgres === client) this.postgres = null;
    });
    await client.connect();
    this.postgres = client;
    return client;
  }
}
