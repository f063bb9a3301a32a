// Writers that follow the route file from store to store, in SQLite through Python's sqlite3 in a process of its own.
// Also the proof that what was acknowledged to them is in both stores, once.
import { readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import pg from "pg";
import { expect } from "vitest";
import type { Sidecar } from "./cli.js";
import { routeFile } from "./flips.js";
import { differences } from "./rows.js";
import type { TestDatabase } from "./servers.js";
import { type Outside, python, pythonNow } from "./sqlite.js";

const SQLITE_WRITER = readFileSync(new URL("./sqlite-writer.py", import.meta.url), "utf8");
const PEACE_MS = 3;

export const ROUTE_SCHEMA = `
  CREATE TABLE op(name TEXT PRIMARY KEY, writer INTEGER NOT NULL, n INTEGER NOT NULL, UNIQUE (writer, n));
  CREATE TABLE counter(writer INTEGER PRIMARY KEY, value INTEGER NOT NULL);
  CREATE TABLE latest(place INTEGER PRIMARY KEY, name TEXT);
  INSERT INTO counter VALUES (0, 0), (1, 0), (2, 0), (3, 0);`;

export class RouteWriter {
  readonly acknowledged = { sqlite: 0, postgres: 0 };
  fenced = 0;
  /** Errors that no fence explains. */
  readonly others: string[] = [];
  /** When each operation was acknowledged (performance.now). */
  readonly atMs: number[] = [];
  private readonly sqlite: Outside;
  private postgres: pg.Client | null = null;
  private stopping = false;
  private readonly over: Promise<void>;

  constructor(
    private readonly sidecar: Sidecar,
    file: string,
    private readonly url: string,
    readonly number: number,
  ) {
    this.sqlite = python(SQLITE_WRITER, [file, String(number)]);
    this.over = this.work();
    this.over.catch(() => {});
  }

  get operations(): number {
    return this.acknowledged.sqlite + this.acknowledged.postgres;
  }

  /** Ends after the operation under way; throws what kept the writer from going on. */
  async stop(): Promise<void> {
    this.stopping = true;
    await this.over;
    await this.sqlite.finish();
    await this.postgres?.end();
  }

  kill(): void {
    this.stopping = true;
    this.sqlite.kill();
    this.postgres?.end().catch(() => {});
  }

  private async work(): Promise<void> {
    while (!this.stopping) {
      const writes = routeFile(this.sidecar)?.writes;
      if (writes !== "sqlite" && writes !== "postgres") {
        await sleep(1);
        continue;
      }
      if (!(await (writes === "sqlite" ? this.writeSqlite() : this.writePostgres()))) {
        await sleep(1);
        continue;
      }
      this.acknowledged[writes]++;
      this.atMs.push(performance.now());
      await sleep(PEACE_MS);
    }
  }

  private async writeSqlite(): Promise<boolean> {
    this.sqlite.process.stdin?.write(`${this.operations}\n`);
    const answer = await this.sqlite.line();
    if (answer === "fenced") this.fenced++;
    else if (answer !== "done") this.others.push(answer);
    return answer === "done";
  }

  private async writePostgres(): Promise<boolean> {
    const [n, writer] = [this.operations, this.number];
    const name = `${writer}-${n}`;
    try {
      const client = await this.connected();
      await client.query("BEGIN");
      await client.query("INSERT INTO op VALUES ($1, $2, $3)", [name, writer, n]);
      await client.query("UPDATE counter SET value = value + 1 WHERE writer = $1", [writer]);
      await client.query(
        "INSERT INTO latest VALUES ($1, $2) ON CONFLICT (place) DO UPDATE SET name = excluded.name",
        [writer * 100 + (n % 7), name],
      );
      if (n % 5 === 0) await client.query("DELETE FROM latest WHERE place = $1", [writer * 100 + (n % 3)]);
    } catch (error) {
      this.note(error);
      await this.postgres?.query("ROLLBACK").catch(() => this.disconnect());
      return false;
    }
    try {
      await (await this.connected()).query("COMMIT");
      return true;
    } catch (error) {
      this.note(error);
      this.disconnect();
      return this.committed(name);
    }
  }

  /** Whether a commit that was not answered took place. */
  private async committed(name: string): Promise<boolean> {
    for (;;) {
      try {
        const { rowCount } = await (await this.connected()).query("SELECT 1 FROM op WHERE name = $1", [name]);
        return rowCount === 1;
      } catch {
        this.disconnect();
        if (this.stopping) throw new Error(`no one can say whether ${name} was committed`);
        await sleep(50);
      }
    }
  }

  private note(error: unknown): void {
    const { code, message } = error as { code?: string; message: string };
    if (code === "25006" && message.includes("switchback: writes go to SQLite")) this.fenced++;
    else this.others.push(String(error));
  }

  private async connected(): Promise<pg.Client> {
    if (this.postgres) return this.postgres;
    const client = new pg.Client({ connectionString: this.url });
    client.on("error", () => this.disconnect());
    await client.connect();
    this.postgres = client;
    return client;
  }

  private disconnect(): void {
    this.postgres?.end().catch(() => {});
    this.postgres = null;
  }
}

export function routeWriters(sidecar: Sidecar, file: string, url: string, count: number): RouteWriter[] {
  return Array.from({ length: count }, (_, n) => new RouteWriter(sidecar, file, url, n));
}

/** Python's own look at the file: operations, different names and counters, by writer. */
const LOOK = `
import json, sqlite3, sys
db = sqlite3.connect("file:%s?mode=ro" % sys.argv[1], uri=True)
print(json.dumps(db.execute("""SELECT c.writer, c.value, count(o.name), count(DISTINCT o.name), ifnull(max(o.n) + 1, 0)
  FROM counter c LEFT JOIN op o USING (writer) GROUP BY c.writer ORDER BY c.writer""").fetchall()))
`;

/** Every acknowledged operation is in both stores exactly once, the counters agree, and the stores are equal. */
export async function expectNothingLost(
  file: string,
  database: TestDatabase,
  writers: readonly RouteWriter[],
): Promise<void> {
  const counts = writers.map(({ operations: n }, writer) => [writer, n, n, n, n]);
  expect((JSON.parse(pythonNow(LOOK.trim(), [file])) as number[][]).slice(0, counts.length)).toEqual(counts);
  const postgres = await database.query(
    `SELECT c.writer::int, c.value::int, count(o.name)::int AS ops, count(DISTINCT o.name)::int AS names,
            coalesce(max(o.n) + 1, 0)::int AS next
       FROM counter c LEFT JOIN op o USING (writer) GROUP BY c.writer, c.value ORDER BY c.writer`,
  );
  expect(postgres.map((row) => Object.values(row)).slice(0, counts.length)).toEqual(counts);
  expect(await differences(file, database.url)).toEqual([]);
}
