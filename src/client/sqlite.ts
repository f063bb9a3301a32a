// The SQLite side of the handle: one connection that writes, one transaction at a time, and one that only
// reads. So a query never sees the uncommitted rows of an open transaction. It waits for another process's
// lock in steps, because better-sqlite3 would block the whole process. It knows the file's own record of the
// route, not the route.
import Database from "better-sqlite3";
import { ConnectionError, closed, codeOf, errorMessage, FenceMet, judgeError } from "./errors.js";
import { Mutex } from "./mutex.js";
import { KEPT_CHARACTERS_MAX, translated } from "./statement.js";
import { type Claim, runAlone, type Session, type StatementResult, type Store, sleep } from "./store.js";
import { forSqlite, fromSqlite, placedValues, type Row, safeInteger, type Value } from "./values.js";

interface SqliteOptions {
  readonly file: string;
  readonly create: boolean;
  readonly waitMs: number;
  readonly setUp: ((database: Database.Database) => void) | undefined;
}

/** Cached statements per connection. */
const PREPARED_MAX = 200;
/** Retry interval for a lock that another process holds. */
const LOCK_POLL_MS = 4;
/** How soon a file without switchback's records is read again. */
const RECORDS_POLL_MS = 1_000;

export class SqliteStore implements Store {
  readonly name = "sqlite";
  private writer: Connection | undefined;
  private reader: Connection | undefined;
  private readonly turn = new Mutex();
  private readonly rowids = new Map<string, boolean>();
  private over = false;

  constructor(private readonly options: SqliteOptions) {}

  async read(sql: string, values: readonly Value[]): Promise<Row[]> {
    const rows = await this.unlocked(() => {
      const reader = this.reading();
      // Preparing reads the schema, which in rollback-journal mode may be locked.
      return reader.prepared(translated(sql, "sqlite").sql).readonly ? reader.run(sql, values).rows : null;
    });
    // The statement's text did not show it, but it writes.
    return rows ?? (await runAlone(this, sql, values)).rows;
  }

  async begin(): Promise<Session> {
    const release = await this.turn.take(this.options.waitMs);
    try {
      const writer = this.writing();
      await this.unlocked(() => writer.database.exec("BEGIN IMMEDIATE"));
      const session = this.session(writer, release);
      try {
        const claim = writer.claim();
        // This connection has the write lock: the record holds until the end of the transaction.
        if (claim && claim.writes !== "sqlite") throw new FenceMet("sqlite", null);
      } catch (error) {
        await session.rollback();
        throw error;
      }
      return session;
    } catch (error) {
      release();
      throw error;
    }
  }

  private session(writer: Connection, release: () => void): Session {
    const { database } = writer;
    const rollback = async () => {
      try {
        if (database.inTransaction) database.exec("ROLLBACK");
      } catch {
        // A new connection starts clean.
        this.writer = undefined;
        database.close();
      } finally {
        release();
      }
    };
    return {
      run: async (sql, values) => {
        if (this.over) throw closed();
        return this.withRowid(sql, writer.run(sql, values), writer);
      },
      rollback,
      commit: async () => {
        try {
          if (this.over) throw closed();
          // In rollback-journal mode a reader of another process blocks the commit, which then stays open.
          await this.unlocked(() => database.exec("COMMIT"));
          release();
        } catch (error) {
          await rollback();
          throw error;
        }
      },
    };
  }

  /** Adds the connection's last row id; it may stem from another statement. */
  private withRowid(sql: string, outcome: StatementResult, writer: Connection): StatementResult {
    const { insertsInto, upsert } = translated(sql, "sqlite");
    if (insertsInto === null || upsert || outcome.changes === 0 || !this.hasRowid(insertsInto, writer)) {
      return outcome;
    }
    return { ...outcome, lastInsertRowid: writer.lastRowid() };
  }

  private hasRowid(written: string, writer: Connection): boolean {
    const known = this.rowids.get(written);
    if (known !== undefined) return known;
    const name = written.replace(/^(?:"(?:[^"]|"")*"|[^".]+)\.(?=.)/, "").replace(/^["`[](.*)["`\]]$/s, "$1");
    const found = writer
      .prepared(
        "SELECT type = 'table' AND wr = 0 AS yes FROM pragma_table_list WHERE lower(name) = lower(?1)",
      )
      .get({ 1: name.replaceAll('""', '"') }) as { yes: bigint } | undefined;
    if (found) this.rowids.set(written, found.yes === 1n);
    return found?.yes === 1n;
  }

  /** Waits for a lock; a reader meets one in rollback-journal mode only. */
  async claim(): Promise<Claim | null> {
    return this.unlocked(() => this.reading().claim());
  }

  /** Without waiting: takes some microseconds. @throws when the file cannot be opened or read, or is locked */
  claimNow(): Claim | null {
    return this.reading().claim();
  }

  async close(): Promise<void> {
    // When a transaction cannot be ended, closing its connection rolls it back.
    const release = await this.turn.take(this.options.waitMs).catch(() => () => {});
    this.over = true;
    this.writer?.database.close();
    this.reader?.database.close();
    this.writer = undefined;
    this.reader = undefined;
    release();
  }

  private reading(): Connection {
    if (this.over) throw closed();
    this.reader ??= new Connection(this.options, true);
    return this.reader;
  }

  private writing(): Connection {
    if (this.over) throw closed();
    this.writer ??= new Connection(this.options, false);
    return this.writer;
  }

  /** Retries while another process holds the lock, at most `waitMs`; then throws SQLITE_BUSY. */
  private async unlocked<T>(work: () => T): Promise<T> {
    const until = performance.now() + this.options.waitMs;
    for (;;) {
      try {
        return work();
      } catch (error) {
        // A snapshot that is too old stays too old.
        const final = codeOf(error) === "SQLITE_BUSY_SNAPSHOT" || judgeError(error) !== "conflict";
        if (final || performance.now() > until) throw error;
      }
      await sleep(1 + Math.random() * LOCK_POLL_MS);
    }
  }
}

class Connection {
  readonly database: Database.Database;
  private readonly ready = new Map<string, Database.Statement>();
  private route: Database.Statement | undefined;
  private lookedForRoute = Number.NEGATIVE_INFINITY;

  constructor({ file, create, setUp }: SqliteOptions, readonly: boolean) {
    let database: Database.Database | undefined;
    try {
      database = new Database(file, { timeout: 0, fileMustExist: !create });
      database.defaultSafeIntegers(true);
      setUp?.(database);
      if (readonly) database.pragma("query_only = ON");
      this.database = database;
    } catch (error) {
      database?.close();
      throw new ConnectionError(`SQLite at ${file}: ${errorMessage(error)}`, {
        store: "sqlite",
        cause: error,
      });
    }
  }

  prepared(sql: string): Database.Statement {
    const known = this.ready.get(sql);
    if (known) return known;
    const made = this.database.prepare(sql);
    if (sql.length > KEPT_CHARACTERS_MAX) return made;
    if (this.ready.size >= PREPARED_MAX) this.ready.delete(this.ready.keys().next().value ?? "");
    this.ready.set(sql, made);
    return made;
  }

  run(sql: string, values: readonly Value[]): StatementResult {
    const { sql: text, slots, parameters } = translated(sql, "sqlite");
    const bound = forSqlite(placedValues(values, slots, parameters));
    const statement = this.prepared(text);
    if (!statement.reader) return { rows: [], changes: Number(statement.run(bound).changes) };
    const rows = (statement.all(bound) as Row[]).map(fromSqlite);
    return { rows, changes: statement.readonly ? 0 : Number(this.number("SELECT changes()")) };
  }

  lastRowid(): number | bigint {
    return safeInteger(this.number("SELECT last_insert_rowid()"));
  }

  private number(sql: string): bigint {
    return Object.values(this.prepared(sql).get() as Record<string, bigint>)[0] ?? 0n;
  }

  /** What _switchback_route says; null without such a table. @throws when the file is locked */
  claim(): Claim | null {
    const now = performance.now();
    if (!this.route && now - this.lookedForRoute < RECORDS_POLL_MS) return null;
    try {
      this.route ??= this.database.prepare("SELECT writes, epoch FROM _switchback_route");
      const row = this.route.get() as { writes: string; epoch: bigint } | undefined;
      return row ? { writes: row.writes, epoch: Number(row.epoch) } : null;
    } catch (error) {
      if (codeOf(error) !== "SQLITE_ERROR") throw error;
      this.lookedForRoute = now;
      this.route = undefined;
      return null;
    }
  }
}
