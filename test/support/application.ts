// A shop that knows the library and nothing else of switchback: several loops on one handle, each noting what it was
// told is done. And the proof that all of it, and nothing else, is in both stores.
import Database from "better-sqlite3";
import { expect } from "vitest";
import { type ConnectOptions, connect, type Handle, type Prepared } from "#switchback/client/index.js";
import { differences } from "./rows.js";
import type { TestDatabase } from "./servers.js";

const ACCOUNTS = 6;
const BALANCE = 1_000;
const PEACE_MS = 5;

export const SHOP_SCHEMA = `
  CREATE TABLE account(id INTEGER PRIMARY KEY, balance INTEGER NOT NULL);
  CREATE TABLE purchase(id INTEGER PRIMARY KEY, tag TEXT NOT NULL UNIQUE, account INTEGER NOT NULL REFERENCES account(id));
  CREATE TABLE item(id INTEGER PRIMARY KEY AUTOINCREMENT, purchase INTEGER NOT NULL REFERENCES purchase(id), tag TEXT NOT NULL);
  CREATE TABLE note(tag TEXT PRIMARY KEY, body TEXT) WITHOUT ROWID;
  ${Array.from({ length: ACCOUNTS }, (_, i) => `INSERT INTO account VALUES (${i + 1}, ${BALANCE});`).join("\n")}`;

/** A row number that the library named, and what stands in the row. */
interface Numbered {
  readonly id: number;
  readonly tag: string;
}

export class Application {
  readonly db: Handle;
  readonly purchases: Numbered[] = [];
  readonly items: (Numbered & { readonly purchase: number })[] = [];
  readonly notes: string[] = [];
  /** Whatever reached a loop; each of these is one too many. */
  readonly errors: unknown[] = [];
  longestMs = 0;
  private going = true;
  private readonly loops: Promise<void>[];
  private readonly find: Prepared;
  private readonly buy: Prepared;

  constructor(
    private readonly name: string,
    options: ConnectOptions,
    loops: number,
  ) {
    this.db = connect(options);
    this.find = this.db.prepare("SELECT id, account FROM purchase WHERE tag = ?");
    this.buy = this.db.prepare("INSERT INTO purchase (tag, account) VALUES ($1, $2)");
    this.loops = Array.from({ length: loops }, (_, loop) => this.loop(loop));
  }

  get acknowledged(): number {
    return this.purchases.length + this.items.length + this.notes.length;
  }

  /** Lets the loops end, each after the calls under way. */
  async stop(): Promise<void> {
    this.going = false;
    await Promise.all(this.loops);
  }

  private async loop(loop: number): Promise<void> {
    for (let n = 0; this.going; n++) {
      const tag = `${this.name}-${loop}-${n}`;
      const account = 1 + ((n + loop) % ACCOUNTS);
      try {
        await [this.order, this.single, this.transfer, this.returning][n % 4]?.call(this, tag, account);
      } catch (error) {
        this.errors.push(error);
      }
      await new Promise((resolve) => setTimeout(resolve, PEACE_MS));
    }
  }

  /** The number of the first row is the foreign key of the second, in one transaction. */
  private async order(tag: string, account: number): Promise<void> {
    const [purchase, item] = await this.timed(() =>
      this.db.transaction(async (tx) => {
        const bought = await tx.execute("INSERT INTO purchase (tag, account) VALUES (?, ?)", [tag, account]);
        const held = await tx.execute("INSERT INTO item (purchase, tag) VALUES (?, ?)", [
          bought.lastInsertRowid,
          tag,
        ]);
        return [Number(bought.lastInsertRowid), Number(held.lastInsertRowid)] as const;
      }),
    );
    this.purchases.push({ id: purchase, tag });
    this.items.push({ id: item, tag, purchase });
    expect(
      await this.timed(() =>
        this.db.query(
          "SELECT p.id, i.id AS item FROM purchase p JOIN item i ON i.purchase = p.id WHERE p.tag = ?",
          [tag],
        ),
      ),
    ).toEqual([{ id: purchase, item }]);
  }

  private async single(tag: string, account: number): Promise<void> {
    const { changes, lastInsertRowid } = await this.timed(() => this.buy.execute([tag, account]));
    this.purchases.push({ id: Number(lastInsertRowid), tag });
    expect(changes).toBe(1);
    expect(await this.timed(() => this.find.queryOne([tag]))).toEqual({ id: lastInsertRowid, account });
  }

  /** Reads, then writes what follows from it: a transfer that ran half or twice would change the sum. */
  private async transfer(tag: string, account: number): Promise<void> {
    await this.timed(() =>
      this.db.transaction(async (tx) => {
        const from = await tx.queryOne<{ balance: number }>("SELECT balance FROM account WHERE id = ?", [
          account,
        ]);
        await tx.execute("UPDATE account SET balance = ? WHERE id = ?", [(from?.balance ?? 0) - 3, account]);
        await tx.execute("UPDATE account SET balance = balance + 3 WHERE id = ?", [1 + (account % ACCOUNTS)]);
        // A key that is no number: there is none to be told.
        const { lastInsertRowid } = await tx.execute("INSERT INTO note VALUES (?, ?)", [tag, "transfer"]);
        if (lastInsertRowid !== undefined) throw new Error(`note has the number ${lastInsertRowid}`);
      }),
    );
    this.notes.push(tag);
    const total = await this.timed(() =>
      this.db.queryOne(
        "SELECT sum(balance) AS total FROM account WHERE 0 < (SELECT count(*) FROM note WHERE tag = ?)",
        [tag],
      ),
    );
    expect(total).toEqual({ total: ACCOUNTS * BALANCE });
  }

  private async returning(tag: string, account: number): Promise<void> {
    const rows = await this.timed(() =>
      this.db.query<{ id: number }>("INSERT INTO purchase (tag, account) VALUES (?, ?) RETURNING id", [
        tag,
        account,
      ]),
    );
    this.purchases.push({ id: rows[0]?.id ?? -1, tag });
    expect(await this.timed(() => this.find.query([tag]))).toEqual([{ id: rows[0]?.id, account }]);
  }

  private async timed<T>(call: () => Promise<T>): Promise<T> {
    const startedMs = performance.now();
    try {
      return await call();
    } finally {
      this.longestMs = Math.max(this.longestMs, performance.now() - startedMs);
    }
  }
}

/** Everything acknowledged is in both stores, once and under its number, nothing else is, and no money was made. */
export async function expectAllThere(
  file: string,
  database: TestDatabase,
  applications: readonly Application[],
): Promise<void> {
  const byId = (a: Numbered, b: Numbered) => a.id - b.id;
  const expected = {
    purchases: applications.flatMap(({ purchases }) => purchases).toSorted(byId),
    items: applications.flatMap(({ items }) => items).toSorted(byId),
    notes: applications
      .flatMap(({ notes }) => notes.map((tag) => ({ tag })))
      .toSorted((a, b) => (a.tag < b.tag ? -1 : 1)),
    total: [{ total: ACCOUNTS * BALANCE }],
  };
  const looks = {
    purchases: "SELECT id, tag FROM purchase ORDER BY id",
    items: "SELECT id, tag, purchase FROM item ORDER BY id",
    notes: "SELECT tag FROM note",
    total: "SELECT sum(balance) AS total FROM account",
  };
  const sorted = (name: string, rows: unknown[]) =>
    name === "notes" ? (rows as { tag: string }[]).toSorted((a, b) => (a.tag < b.tag ? -1 : 1)) : rows;
  const sqlite = new Database(file, { readonly: true });
  for (const [name, sql] of Object.entries(looks) as [keyof typeof looks, string][]) {
    expect(sorted(name, sqlite.prepare(sql).all()), `${name} in SQLite`).toEqual(expected[name]);
    const rows = (await database.query(sql)).map((row) =>
      Object.fromEntries(
        Object.entries(row).map(([key, value]) => [key, key === "tag" ? value : Number(value)]),
      ),
    );
    expect(sorted(name, rows), `${name} in PostgreSQL`).toEqual(expected[name]);
  }
  sqlite.close();
  const numbers = expected.purchases.map(({ id }) => id);
  expect(new Set(numbers).size).toBe(numbers.length);
  expect(await differences(file, database.url)).toEqual([]);
}
