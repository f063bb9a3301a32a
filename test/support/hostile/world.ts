// The place of a hostile run: a file and a database, a sidecar between them, writers, the prober, and what the run knows
// of them. It is what an operator has: commands, configuration, both stores.
import { existsSync, writeFileSync } from "node:fs";
import type Database from "better-sqlite3";
import pg from "pg";
import { copyDatabase, restoreDatabase } from "../backups.js";
import { type Result, Sidecar } from "../cli.js";
import { flagOf, routeFile, type Store } from "../flips.js";
import type { OwnServer, TestDatabase } from "../servers.js";
import { openWriter, pythonNow, type TestFile, testFile } from "../sqlite.js";
import { type Counted, type Prober, startProber } from "./prober.js";
import { HostileWriter } from "./writers.js";

export const PASSWORD = "hostile-Pa55word";
const WRITERS = 2;
const GOOD_ROWS = 400;

/** What the first line of a trace says. */
export interface Setting {
  readonly seed: number;
  readonly encoding: "UTF-8" | "UTF-16le" | "UTF-16be";
  readonly journal: "wal" | "delete";
  readonly role: "superuser" | "owner";
  /** The store that has the writes in the end; PostgreSQL without switchback. */
  readonly end: Store;
}

/** Something of the run's own that stands on the copy in PostgreSQL. */
export interface Standing {
  readonly name: string;
  readonly drop: string;
  /** The codes under which the sidecar may name it. */
  readonly codes: readonly string[];
  /** A cutover must be refused while it stands. */
  readonly blocks?: boolean;
  /** Rows may be refused while it stands, which are then missing in PostgreSQL. */
  readonly refuses?: boolean;
  /** Nothing goes past it. */
  readonly stallsReplication?: boolean;
}

const CREATE = `
import sqlite3, sys
db = sqlite3.connect(sys.argv[1], isolation_level=None)
db.execute("PRAGMA encoding = '%s'" % sys.argv[2])
db.execute("PRAGMA journal_mode = %s" % sys.argv[3])
db.executescript(sys.argv[4])
`.trim();

const SCHEMA = `
  CREATE TABLE op(name TEXT PRIMARY KEY, store TEXT NOT NULL);
  CREATE TABLE counter(writer INTEGER PRIMARY KEY, value INTEGER NOT NULL);
  CREATE TABLE latest(place INTEGER PRIMARY KEY, name TEXT);
  CREATE TABLE kind(id INTEGER PRIMARY KEY, i INTEGER, r REAL, t TEXT, b BLOB, f BOOLEAN, d DATETIME, j JSON, x);
  INSERT INTO counter VALUES (0, 0), (1, 0);
  WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < ${GOOD_ROWS})
    INSERT INTO kind SELECT n, n * 1000000007, n / 7.0, 'text ' || n || char(228, 8364, 128512), CAST('blob' || n AS BLOB), n % 2,
      '2024-01-02 03:04:' || printf('%02d', n % 60), '{"n": ' || n || '}', CASE n % 3 WHEN 0 THEN n WHEN 1 THEN 'x' || n ELSE n / 4.0 END FROM n;
  CREATE TABLE parent(id INTEGER PRIMARY KEY, v TEXT);
  INSERT INTO parent VALUES (1, 'p1'), (2, 'p2'), (3, 'p3');`;

export class World {
  writes: Store = "sqlite";
  /** Ids of `kind` that the other store cannot hold. */
  readonly refused = new Map<number, Store>();
  standing: Standing[] = [];
  /** Codes that what was done since the last quiet point explains. */
  readonly suspects = new Set<string>();
  /** The same until PostgreSQL no longer has the writes. */
  readonly whileAway = new Set<string>();
  /** What the operator does after a code, where only what was done tells. */
  readonly remedies = new Map<string, (message: string) => Promise<void>>();
  /** What the last look at the sidecar said. */
  halted = false;
  /** Everything that commands printed and sidecars logged. */
  readonly said: string[] = [];
  readonly violations: string[] = [];
  writers: HostileWriter[] = [];
  private prober: Prober | null = null;
  private forgotten: Map<string, Store> = new Map();
  private sqliteConnection: Database.Database | null = null;
  private postgresConnection: pg.Client | null = null;

  note: (line: Readonly<Record<string, unknown>>) => void = () => {};

  private constructor(
    readonly setting: Setting,
    readonly server: OwnServer,
    readonly database: TestDatabase,
    readonly file: TestFile,
    readonly roleName: string,
    /** As the sidecar connects. */
    readonly url: string,
    readonly sidecar: Sidecar,
  ) {}

  static async open(setting: Setting, server: OwnServer, first: readonly string[]): Promise<World> {
    const database = await server.database();
    const file = testFile("", "delete");
    pythonNow(CREATE, [file.path, setting.encoding, setting.journal, `${SCHEMA}${first.join(";")}`]);
    const role = `keeper_${database.name}`;
    const attributes = setting.role === "superuser" ? "SUPERUSER" : "";
    await database.query(`CREATE ROLE ${role} LOGIN ${attributes} PASSWORD '${PASSWORD}'`);
    await database.query(`ALTER DATABASE ${database.name} OWNER TO ${role}`);
    const url = database.url.replace(/\/\/[^@]+@/, `//${role}:${PASSWORD}@`);
    const sidecar = await Sidecar.prepare({ sqlite: file.path, url });
    return new World(setting, server, database, file, role, url, sidecar);
  }

  begin(): void {
    this.sidecar.start();
    const route = () => routeFile(this.sidecar);
    this.writers = Array.from(
      { length: WRITERS },
      (_, n) => new HostileWriter(route, this.file.path, this.database.url, n),
    );
    this.prober = startProber(this.file.path, this.database.url, (line) => this.violations.push(line));
  }

  // ---- the application's side

  /** One or more statements in SQLite; the error's text, or null. */
  sqlite(statements: string): string | null {
    this.sqliteConnection ??= openWriter(this.file.path);
    try {
      this.sqliteConnection.exec(statements);
      return null;
    } catch (error) {
      if (this.sqliteConnection.inTransaction) this.sqliteConnection.exec("ROLLBACK");
      return (error as Error).message;
    }
  }

  /** The connection for looks and for statements that `sqlite` does not do. */
  get connection(): Database.Database {
    this.sqliteConnection ??= openWriter(this.file.path);
    return this.sqliteConnection;
  }

  /** One or more statements in PostgreSQL as the administrator; the error's text, or null. */
  async postgres(statements: string): Promise<string | null> {
    try {
      await (await this.administrator()).query(statements);
      return null;
    } catch (error) {
      const { code = "", message } = error as { code?: string; message: string };
      await this.postgresConnection?.query("ROLLBACK").catch(() => {});
      return `${code} ${message}`;
    }
  }

  async ask<T extends pg.QueryResultRow>(text: string): Promise<T[]> {
    return (await (await this.administrator()).query<T>(text)).rows;
  }

  private async administrator(): Promise<pg.Client> {
    if (this.postgresConnection) return this.postgresConnection;
    const client = new pg.Client({ connectionString: this.database.url, connectionTimeoutMillis: 10_000 });
    client.on("error", () => {
      if (this.postgresConnection === client) this.postgresConnection = null;
    });
    await client.connect();
    await client.query("SET statement_timeout = '20s'");
    this.postgresConnection = client;
    return client;
  }

  /** Acknowledged and not given up with a backup, by name. */
  acknowledged(): Map<string, Store> {
    const all = new Map<string, Store>();
    for (const writer of this.writers) for (const [name, store] of writer.acknowledged) all.set(name, store);
    for (const name of this.forgotten.keys()) all.delete(name);
    return all;
  }

  /** A store was put back on purpose: what was acknowledged since is given up. */
  forget(kept: ReadonlyMap<string, Store>): void {
    for (const [name, store] of this.acknowledged()) if (!kept.has(name)) this.forgotten.set(name, store);
  }

  async rest(): Promise<void> {
    await Promise.all(this.writers.map((writer) => writer.rest()));
  }

  continue(): void {
    for (const writer of this.writers) writer.continue();
  }

  /** Until `resumeProber`: the moment is one of which the documents warn. */
  async pauseProber(): Promise<void> {
    await this.prober?.pause();
  }

  async resumeProber(): Promise<void> {
    await this.prober?.resume();
  }

  /** Nothing of the application has the stores open meanwhile. */
  async alone<T>(work: () => Promise<T>): Promise<T> {
    await this.rest();
    await this.pauseProber();
    this.disconnect();
    try {
      return await work();
    } finally {
      await this.resumeProber();
    }
  }

  private disconnect(): void {
    this.sqliteConnection?.close();
    this.sqliteConnection = null;
    this.postgresConnection?.end().catch(() => {});
    this.postgresConnection = null;
  }

  // ---- the operator's side

  /** A command with the sidecar's configuration; what it prints is looked through at the end. */
  async command(args: readonly string[], timeoutMs = 40_000): Promise<Result> {
    const began = performance.now();
    const result = await this.sidecar.cli(args, { timeoutMs });
    this.note({ command: args.join(" "), code: result.code, ms: Math.round(performance.now() - began) });
    this.said.push(`$ switchback ${args.join(" ")}\n${result.stdout}\n${result.stderr}`);
    return result;
  }

  flag(to: Store): void {
    this.flagWords(`${to}\n`);
  }

  flagWords(words: string): void {
    writeFileSync(flagOf(this.sidecar), words);
  }

  /** A sidecar that has ended is started again, as a supervisor does. */
  start(): void {
    if (this.sidecar.running) return;
    this.keepLog();
    this.sidecar.start();
  }

  keepLog(): void {
    if (existsSync(this.sidecar.folder)) this.said.push(this.log());
  }

  log(): string {
    try {
      return this.sidecar.log();
    } catch {
      return "";
    }
  }

  async stopSidecar(how: "term" | "kill9"): Promise<void> {
    if (how === "term") await this.sidecar.term();
    else await this.sidecar.kill9();
  }

  /** Drops the tables of the copy, with what hangs on them. */
  async dropCopies(): Promise<void> {
    const tables = await this.ask<{ name: string }>(
      "SELECT relname AS name FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p')",
    );
    for (const { name } of tables) await this.postgres(`DROP TABLE "${name}" CASCADE`);
  }

  async copyOfDatabase(suffix: string): Promise<string> {
    return copyDatabase(this.server, this.database, suffix);
  }

  async restoreDatabase(copy: string): Promise<void> {
    await restoreDatabase(this.server, this.database, copy);
    // A database that is made belongs to who makes it.
    await this.postgres(`ALTER DATABASE ${this.database.name} OWNER TO ${this.roleName}`);
  }

  async endProber(): Promise<Counted | undefined> {
    const { prober } = this;
    this.prober = null;
    return prober?.end();
  }

  async close(): Promise<void> {
    await Promise.all(this.writers.map((writer) => writer.end().catch(() => {})));
    await this.endProber();
    this.keepLog();
    this.disconnect();
    await this.sidecar.remove();
    this.file.remove();
    const copies = await this.server.database();
    const rows = await copies.query(
      `SELECT datname FROM pg_database WHERE datname LIKE '${this.database.name}%'`,
    );
    await this.database.drop();
    for (const { datname } of rows) await copies.query(`DROP DATABASE IF EXISTS ${datname} WITH (FORCE)`);
    await copies.query(`DROP OWNED BY ${this.roleName} CASCADE; DROP ROLE ${this.roleName}`);
    await copies.drop();
  }
}
