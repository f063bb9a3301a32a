// The PostgreSQL side of the handle: a lazy pool, transactions that know their number before they commit, and
// results in SQLite's form. It connects at the first call that needs it. It knows the store's own record of
// the route, not the route.
import pg from "pg";
import type { PostgresConfig } from "../config/config.js";
import { sql as statements } from "../sql-files.js";
import { type Era, eraOf, resolveOutcome } from "./commit-outcome.js";
import {
  ConnectionError,
  closed,
  codeOf,
  errorMessage,
  isLost,
  Lost,
  reportedSqlState,
  TransactionError,
} from "./errors.js";
import type { Isolation } from "./options.js";
import { forPostgres, postgresTypes } from "./postgres-values.js";
import { translated } from "./statement.js";
import type { Claim, Session, StatementResult, Store } from "./store.js";
import { placedValues, type Row, type Value } from "./values.js";

interface PostgresOptions {
  readonly config: PostgresConfig;
  readonly schema: string | undefined;
  readonly isolation: Isolation;
  readonly waitMs: number;
  readonly connectMs: number;
  /** Called with the result after the outcome of a commit had to be queried. */
  readonly asked: (outcome: "committed" | "aborted" | "unknown") => void;
}

/** The timeout for asking a server for its record; the question is repeated later. */
const CLAIM_TIMEOUT_MS = 2_000;

export class PostgresStore implements Store {
  readonly name = "postgres";
  private pool: pg.Pool | undefined;
  private over = false;
  private readonly clients = new Set<pg.PoolClient>();
  /** Ends the wait for a client of the pool. */
  private readonly waiting = new Set<() => void>();
  private readonly eras = new WeakMap<pg.ClientBase, Era>();
  /** Clients behind a pooler: session state does not last from one transaction to the next. */
  private readonly pooled = new WeakSet<pg.ClientBase>();
  /** The column that replaces the rowid, by the table's name as statements write it. */
  private readonly rowids = new Map<string, string | null>();

  constructor(private readonly options: PostgresOptions) {}

  async read(sql: string, values: readonly Value[]): Promise<Row[]> {
    const { sql: text, slots, parameters } = translated(sql, "postgres");
    const bound = forPostgres(placedValues(values, slots, parameters));
    const client = await this.connection();
    const pooled = this.pooled.has(client);
    try {
      if (pooled) await client.query(`BEGIN; ${this.settings("SET LOCAL")}`);
      const { rows } = await client.query<Row>(extended(text, bound));
      if (pooled) await client.query("COMMIT");
      client.release();
      return rows;
    } catch (error) {
      const lost = isLost(error);
      if (pooled && !lost) await client.query("ROLLBACK").catch(() => {});
      client.release(lost);
      throw error;
    }
  }

  async begin(single: boolean): Promise<Session> {
    const client = await this.connection();
    try {
      const level = `BEGIN ISOLATION LEVEL ${this.options.isolation.toUpperCase()}`;
      const begin = this.pooled.has(client) ? `${level}; ${this.settings("SET LOCAL")}` : level;
      if (!single) {
        await client.query(begin);
        return new PostgresSession(this, client, null);
      }
      // A statement that writes needs the number anyway; asking here costs no extra round trip.
      const answers = (await client.query(
        `${begin}; SELECT pg_current_xact_id()::text AS id`,
      )) as unknown as pg.QueryResult<{ id: string }>[];
      return new PostgresSession(this, client, answers.at(-1)?.rows[0]?.id ?? null);
    } catch (error) {
      client.release(true);
      throw error;
    }
  }

  async claim(): Promise<Claim | null> {
    const client = await this.connection();
    let timer: NodeJS.Timeout | undefined;
    try {
      const late = new Promise<never>((_, reject) => {
        timer = setTimeout(() => reject(new Error("timeout expired")), CLAIM_TIMEOUT_MS);
      });
      const asked = client.query<{ writes: string; epoch: number }>(
        "SELECT writes, epoch FROM switchback.route",
      );
      asked.catch(() => {});
      const { rows } = await Promise.race([asked, late]);
      client.release();
      return rows[0] ? { writes: rows[0].writes, epoch: Number(rows[0].epoch) } : null;
    } catch (error) {
      const absent = /^(42P01|3F000|42501)$/.test(reportedSqlState(error) ?? "");
      client.release(!absent);
      if (absent) return null;
      throw error;
    } finally {
      clearTimeout(timer);
    }
  }

  async close(): Promise<void> {
    this.over = true;
    for (const end of this.waiting) end();
    if (!this.pool) return;
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, this.options.waitMs);
    });
    await Promise.race([this.pool.end(), late]);
    clearTimeout(timer);
    this.pool = undefined;
    // When a transaction cannot be ended, closing its connection rolls it back.
    for (const client of this.clients) void client.end().catch(() => {});
  }

  /** A configured client of the pool; the caller releases it. */
  private async connection(): Promise<pg.PoolClient> {
    if (this.over) throw closed();
    this.pool ??= this.newPool();
    const client = await this.fromPool(this.pool).catch((error: unknown) => {
      if (error instanceof ConnectionError) throw error;
      const { host, port, database } = this.options.config;
      const text = `PostgreSQL at ${host}:${port}/${database}: ${errorMessage(error)}`;
      throw new ConnectionError(text, { store: "postgres", cause: error });
    });
    if (this.eras.has(client)) return client;
    try {
      // The pool listens to idle clients only; without this, the loss of a busy one would end the process.
      client.on("error", () => {});
      const era = await eraOf(client);
      const told = (client as pg.PoolClient & { processID?: number | null }).processID;
      if (told === era.backend) await client.query(this.settings("SET"));
      else this.pooled.add(client);
      this.eras.set(client, era);
      return client;
    } catch (error) {
      client.release(true);
      throw error;
    }
  }

  /** The pool does not reject its waiting callers when it closes. @throws ConnectionError code CLOSED */
  private fromPool(pool: pg.Pool): Promise<pg.PoolClient> {
    return new Promise((resolve, reject) => {
      const end = () => reject(closed());
      this.waiting.add(end);
      const done = (client: pg.PoolClient) => {
        if (this.over) client.release();
        else resolve(client);
      };
      pool
        .connect()
        .then(done, reject)
        .finally(() => this.waiting.delete(end));
    });
  }

  /**
   * The settings for reading values; `SET LOCAL` for a client behind a pooler, where the next transaction may
   * use another session.
   */
  private settings(set: "SET" | "SET LOCAL"): string {
    const path = this.options.schema;
    const settings = ["TimeZone = 'UTC'", "DateStyle = 'ISO'"];
    if (path !== undefined) settings.push(`search_path = ${pg.escapeIdentifier(path)}, public`);
    return settings.map((setting) => `${set} ${setting}`).join("; ");
  }

  private newPool(): pg.Pool {
    const pool = new pg.Pool({ ...this.clientConfig(), max: this.options.config.maxConnections });
    pool.on("error", () => {});
    pool.on("connect", (client) => this.clients.add(client));
    pool.on("remove", (client) => this.clients.delete(client));
    return pool;
  }

  private clientConfig(): pg.ClientConfig {
    const { host, port, database, user, password, ssl } = this.options.config;
    return {
      host,
      port,
      database,
      user,
      ...(password === undefined ? {} : { password }),
      ssl,
      types: postgresTypes,
      application_name: "switchback client",
      connectionTimeoutMillis: this.options.connectMs,
      keepAlive: true,
    };
  }

  /** The rowid's column of a table; null when it has none. Queried once. */
  async rowidColumn(table: string, client: pg.ClientBase): Promise<string | null> {
    const known = this.rowids.get(table);
    if (known !== undefined) return known;
    const { rows } = await client.query<{ name: string | null }>(statements("postgres/rowid-column"), [
      table,
    ]);
    // A missing table may exist later.
    if (rows[0]) this.rowids.set(table, rows[0].name);
    return rows[0]?.name ?? null;
  }

  /** True when a cached column of the table may have caused the error; it is then queried again. */
  forgetRowid(table: string, error: unknown): boolean {
    return codeOf(error) === "42703" && this.rowids.delete(table);
  }

  /**
   * Sends COMMIT and, without an answer, queries the outcome. @throws PostgreSQL's error, Lost,
   * TransactionError
   */
  async commit(client: pg.PoolClient, id: string | null): Promise<void> {
    const era = this.eras.get(client);
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(() => reject(new Error("timeout expired")), this.options.waitMs);
    });
    try {
      const sent = client.query("COMMIT");
      sent.catch(() => {});
      const { command } = await Promise.race([sent, late]);
      client.release();
      if (command === "ROLLBACK")
        throw new TransactionError("the transaction had failed", { store: "postgres" });
    } catch (error) {
      if (error instanceof TransactionError) throw error;
      client.release(isLost(error));
      if (!isLost(error)) throw error;
      // Nothing was written, so a retry cannot write twice.
      if (id === null) throw new Lost("the connection was lost", { cause: error });
      await this.resolve(id, era, error);
    } finally {
      clearTimeout(timer);
    }
  }

  private async resolve(id: string, era: Era | undefined, error: unknown): Promise<void> {
    const outcome = await resolveOutcome(
      { id, era },
      () => new pg.Client(this.clientConfig()),
      this.options.waitMs,
    );
    this.options.asked(outcome);
    if (outcome === "aborted")
      throw new Lost("the connection was lost and the transaction with it", { cause: error });
    if (outcome === "unknown") {
      throw new TransactionError(
        `the connection to PostgreSQL was lost during COMMIT (${errorMessage(error)}), and whether transaction ${id} was committed could not be asked within ${this.options.waitMs} ms: look before doing it again`,
        { store: "postgres", cause: error, code: "OUTCOME_UNKNOWN", outcome: "unknown" },
      );
    }
  }
}

/** The extended protocol takes one statement only, with or without parameters, as better-sqlite3 does. */
function extended(text: string, values: unknown[]): pg.QueryConfig {
  return { text, values, queryMode: "extended" } as pg.QueryConfig;
}

class PostgresSession implements Session {
  /** Statements run one after another, also when the caller does not await them one by one. */
  private last: Promise<unknown> = Promise.resolve();

  constructor(
    private readonly store: PostgresStore,
    private readonly client: pg.PoolClient,
    private readonly id: string | null,
  ) {}

  run(sql: string, values: readonly Value[]): Promise<StatementResult> {
    const next = this.last.then(() => this.runNow(sql, values));
    this.last = next.catch(() => {});
    return next;
  }

  private async runNow(sql: string, values: readonly Value[]): Promise<StatementResult> {
    const { sql: text, slots, parameters, insertsInto, returning, upsert } = translated(sql, "postgres");
    const bound = forPostgres(placedValues(values, slots, parameters));
    const column =
      insertsInto === null || upsert ? null : await this.store.rowidColumn(insertsInto, this.client);
    const added = column !== null && !returning;
    try {
      const result = await this.client.query<Row>(
        extended(added ? `${text} RETURNING ${pg.escapeIdentifier(column)}` : text, bound),
      );
      const changes = /^(INSERT|UPDATE|DELETE|MERGE)$/.test(result.command) ? (result.rowCount ?? 0) : 0;
      const rowid = column === null ? undefined : result.rows.at(-1)?.[column];
      const rows = added ? [] : result.rows;
      return typeof rowid === "number" || typeof rowid === "bigint"
        ? { rows, changes, lastInsertRowid: rowid }
        : { rows, changes };
    } catch (error) {
      if (added && insertsInto !== null && this.store.forgetRowid(insertsInto, error)) {
        throw new Lost("the table changed its columns", { cause: error });
      }
      throw error;
    }
  }

  async commit(): Promise<void> {
    await this.last;
    let id = this.id;
    if (id === null) {
      try {
        const { rows } = await this.client.query<{ id: string | null }>(
          "SELECT pg_current_xact_id_if_assigned()::text AS id",
        );
        id = rows[0]?.id ?? null;
      } catch (error) {
        this.client.release(true);
        throw error;
      }
    }
    await this.store.commit(this.client, id);
  }

  async rollback(): Promise<void> {
    await this.last;
    try {
      await this.client.query("ROLLBACK");
      this.client.release();
    } catch {
      this.client.release(true);
    }
  }
}
