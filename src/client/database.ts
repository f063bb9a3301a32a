// The database handle. Every call goes to the store that the route names, waits where that store refuses
// because the writes have moved, and runs again as a whole. It owns the retries and decides what may be
// retried. Routes, SQL and values belong to the neighbouring files.
import { AsyncLocalStorage } from "node:async_hooks";
import { AdaptiveLimit } from "./adaptive-limit.js";
import {
  CallersOwn,
  ClientError,
  ConnectionError,
  closed,
  codeOf,
  errorMessage,
  fenceEpoch,
  judgeError,
  QueryError,
  type StoreName,
  TransactionError,
  typed,
} from "./errors.js";
import { checked, type Health } from "./health.js";
import { countRetry, type Metrics, noMetrics } from "./metrics.js";
import type { Settings } from "./options.js";
import { PostgresStore } from "./postgres.js";
import { RouteFollower } from "./route-follower.js";
import { SqliteStore } from "./sqlite.js";
import { translated } from "./statement.js";
import { runAlone, type Store, sleep } from "./store.js";
import { type Executed, OpenTransaction, type Transaction } from "./transaction.js";
import type { Row, Value } from "./values.js";

/** A statement kept for many calls. */
export interface Prepared {
  query<T extends object = Row>(params?: readonly Value[]): Promise<T[]>;
  queryOne<T extends object = Row>(params?: readonly Value[]): Promise<T | null>;
  execute(params?: readonly Value[]): Promise<Executed>;
}

/** A series of calls to SQLite blocks the process's other work for at most this long. */
const BREATH_MS = 5;
const CONFLICT_PAUSE_MS = 64;
const LOST_PAUSE_MS = 250;
/** How soon a store is tried again after its fence refused, while the route still names it. */
const FENCE_PATIENCE_MS = { first: 10, most: 250 };

/** A missing file, for example, has no record: PostgreSQL has the writes. A locked file does have one. */
function unlessLocked(error: unknown): null {
  if (judgeError(error) === "conflict") throw error;
  return null;
}

/** Also the limit for reading SQLite's record while PostgreSQL has the call. */
const ofSqlite = (error: unknown): boolean => codeOf(error)?.startsWith("SQLITE_") ?? false;

export class Handle {
  private readonly metrics = noMetrics();
  private readonly stores: { readonly sqlite: SqliteStore; readonly postgres: PostgresStore | null };
  private readonly route: RouteFollower;
  private readonly limit: AdaptiveLimit;
  /** Holds the open transaction for calls inside of `transaction`. */
  private readonly inside = new AsyncLocalStorage<OpenTransaction>();
  private closing: Promise<void> | null = null;
  private breathedAt = 0;

  constructor(private readonly settings: Settings) {
    const sqlite = new SqliteStore({
      file: settings.sqlite,
      create: settings.create,
      waitMs: settings.waitMs,
      setUp: settings.onSqlite,
    });
    const postgres =
      settings.postgres &&
      new PostgresStore({
        config: settings.postgres,
        schema: settings.schema,
        isolation: settings.isolation,
        waitMs: settings.waitMs,
        connectMs: settings.connectMs,
        asked: (outcome) => {
          this.metrics.outcomesAsked += 1;
          if (outcome === "unknown") this.metrics.outcomesUnknown += 1;
        },
      });
    this.stores = { sqlite, postgres };
    this.limit = new AdaptiveLimit(settings.postgres?.maxConnections ?? 1);
    const record = () => {
      try {
        return sqlite.claimNow();
      } catch {
        // The file may be gone once the writes are in PostgreSQL; a call that needs it reports that itself.
        return null;
      }
    };
    const sqliteSurely = async () => {
      const known = record();
      return known ?? sqlite.claim().catch(unlessLocked);
    };
    const asked = {
      sqlite: record,
      sqliteSurely,
      postgres: async () => postgres && (await postgres.claim()),
    };
    this.route = new RouteFollower(settings.route, asked, this.metrics, settings.waitMs);
  }

  /** Reads the route and connects to the store that it names. @throws ConnectionError */
  async initialize(): Promise<void> {
    await this.query("SELECT 1 AS one");
  }

  /** The rows of a statement. One that writes (INSERT … RETURNING) runs as its own transaction. */
  async query<T extends object = Row>(sql: string, params: readonly Value[] = []): Promise<T[]> {
    this.admit(sql);
    const reads = translated(sql, "postgres").reads;
    const rows = reads
      ? await this.follow("read", sql, async (store) => {
          const found = await store.read(sql, params);
          return (await this.route.stillHolds(store.name)) ? { value: found, count: "queries" } : null;
        })
      : await this.follow("write", sql, async (store) => ({
          value: (await runAlone(store, sql, params)).rows,
          count: "writes",
        }));
    return rows as T[];
  }

  /** The first row, or null. */
  async queryOne<T extends object = Row>(sql: string, params: readonly Value[] = []): Promise<T | null> {
    return (await this.query<T>(sql, params))[0] ?? null;
  }

  /** Runs one statement as its own transaction. Retries it as needed; it takes effect at most once. */
  async execute(sql: string, params: readonly Value[] = []): Promise<Executed> {
    this.admit(sql);
    return this.follow("write", sql, async (store) => {
      const { rows: _, ...done } = await runAlone(store, sql, params);
      return { value: done, count: "writes" };
    });
  }

  /**
   * Runs `work` in one transaction and commits it. An error of `work` rolls back and is passed on unchanged.
   * `work` may run several times, so it must change nothing but `tx`. Inside it, only `tx` may be used, not
   * this handle.
   */
  async transaction<T>(work: (tx: Transaction) => Promise<T> | T): Promise<T> {
    this.admit(null);
    return this.follow("write", null, async (store) => {
      const open = new OpenTransaction(store.name, await store.begin(false));
      const value = await open.run(() => this.inside.run(open, () => work(open)));
      // A transaction that wrote has passed the fence. SQLite's record was read at the beginning, under its
      // lock.
      const sure = open.wrote || store.name === "sqlite";
      if (!sure && !(await open.guarded(() => this.route.stillHolds(store.name)))) {
        await open.rollback();
        return null;
      }
      await open.commit();
      return { value, count: "transactions" };
    });
  }

  /** Checks the statement's text now, for both stores. @throws QueryError */
  prepare(sql: string): Prepared {
    translated(sql, "sqlite");
    translated(sql, "postgres");
    return {
      query: (params) => this.query(sql, params),
      queryOne: (params) => this.queryOne(sql, params),
      execute: (params) => this.execute(sql, params),
    };
  }

  /** Never throws. `ok` refers to the store that takes the calls now. */
  async healthCheck(): Promise<Health> {
    return checked(this.route, this.stores, this.closing !== null);
  }

  /** A copy of the counters since `connect`. */
  getMetrics(): Metrics {
    return structuredClone(this.metrics);
  }

  /**
   * Waits for open transactions, at most `waitMs`; those still open are then rolled back. Calls that wait for
   * the route or for a connection, and later ones, fail with code CLOSED. @throws TransactionError inside of
   * a transaction
   */
  async close(): Promise<void> {
    this.outside();
    this.closing ??= this.end();
    await this.closing;
  }

  private async end(): Promise<void> {
    this.route.close();
    await Promise.all([this.stores.sqlite.close(), this.stores.postgres?.close()]);
  }

  /** @throws TransactionError in the function of an open transaction, which would wait for itself */
  private outside(): void {
    if (this.inside.getStore()?.open) {
      throw new TransactionError("inside transaction() use the tx that it passes, not the handle", {
        code: "NESTED",
      });
    }
  }

  private admit(sql: string | null): void {
    if (this.closing) throw closed();
    this.outside();
    const verb = sql === null ? "" : translated(sql, "postgres").verb;
    if (/^(BEGIN|START|COMMIT|END|ROLLBACK|ROLLBACK TO|ABORT|SAVEPOINT|RELEASE)$/.test(verb)) {
      throw new QueryError(`${verb} by hand would hold for one of many connections: use transaction()`, {
        code: "STATEMENT",
      });
    }
  }

  /** Runs `attempt` in the store that the route names until it succeeds; null means that the route has moved. */
  private async follow<T>(
    kind: "read" | "write",
    sql: string | null,
    attempt: (store: Store) => Promise<{ value: T; count: "queries" | "writes" | "transactions" } | null>,
  ): Promise<T> {
    let patienceMs = this.settings.waitMs;
    let conflicts = 0;
    let fences = 0;
    /** Adds the time that `work` takes to the waiting time of this call. */
    const patiently = async <R>(work: () => Promise<R>): Promise<R> => {
      const began = performance.now();
      try {
        return await work();
      } catch (error) {
        if (codeOf(error) === "ROUTE_TIMEOUT") this.metrics.waits.timeouts += 1;
        throw error;
      } finally {
        patienceMs -= performance.now() - began;
      }
    };
    for (;;) {
      await this.breathe();
      const name = await patiently(() => this.route.target(kind, patienceMs));
      const crowded = kind === "write" && name === "postgres";
      if (crowded) await this.limit.enter(conflicts > 0);
      const began = performance.now();
      try {
        const done = await attempt(this.store(name));
        if (crowded) this.limit.leave(false);
        if (done) {
          if (kind === "write") this.route.proved(name);
          this.metrics[name][done.count] += 1;
          return done.value;
        }
        this.metrics[name].retries += 1;
      } catch (error) {
        const verdict = judgeError(error);
        if (crowded) this.limit.leave(verdict === "conflict");
        if (verdict === "final") throw this.seen(name, error, sql);
        if (this.closing) throw closed();
        countRetry(this.metrics, name, verdict);
        // SQLite has locks but no conflicts, and that attempt was a wait for a lock.
        const locked = verdict === "conflict" && ofSqlite(error);
        if (locked || verdict === "lost") patienceMs -= performance.now() - began;
        if (verdict === "conflict" && !locked) conflicts += 1;
        if (verdict === "fence") fences += 1;
        if (conflicts >= this.settings.attemptsMax || (verdict !== "fence" && patienceMs <= 0)) {
          throw this.seen(name, this.exhausted(name, error, verdict, conflicts), sql);
        }
        const again = Math.min(FENCE_PATIENCE_MS.most, FENCE_PATIENCE_MS.first * 2 ** fences);
        await patiently(() =>
          verdict === "fence"
            ? this.route.afterFence(name, fenceEpoch(error), again, patienceMs)
            : sleep(verdict === "lost" ? LOST_PAUSE_MS * Math.random() : this.conflictPauseMs(conflicts)),
        );
      }
    }
  }

  /** SQLite answers synchronously: a loop of awaited calls would starve timers and sockets. */
  private async breathe(): Promise<void> {
    if (performance.now() - this.breathedAt < BREATH_MS) return;
    await new Promise((resolve) => setImmediate(resolve));
    this.breathedAt = performance.now();
  }

  /** Random, so that two transactions that collided do not collide again. */
  private conflictPauseMs(conflicts: number): number {
    return Math.random() * Math.min(CONFLICT_PAUSE_MS, 2 ** conflicts);
  }

  private store(name: StoreName): Store {
    const store = this.stores[name];
    if (store) return store;
    throw new ConnectionError(
      "writes have moved to PostgreSQL, and neither `postgres` nor DATABASE_URL says where it is",
      { store: "postgres", code: "CONFIGURATION" },
    );
  }

  /** The error for the caller when no more retries are allowed. */
  private exhausted(
    store: StoreName,
    error: unknown,
    verdict: "conflict" | "lost" | "fence",
    times: number,
  ): Error {
    if (verdict === "lost") {
      const text = `${store} was not reached within ${this.settings.waitMs} ms: ${errorMessage(error)}`;
      return new ConnectionError(text, { store, cause: error instanceof ClientError ? error.cause : error });
    }
    const text = ofSqlite(error)
      ? `waited ${this.settings.waitMs} ms for a lock: ${errorMessage(error)}`
      : `given up after ${times} conflicts with other transactions: ${errorMessage(error)}`;
    return new TransactionError(text, { store, cause: error instanceof ClientError ? error.cause : error });
  }

  private seen(store: StoreName, error: unknown, sql: string | null): unknown {
    if (!(error instanceof CallersOwn)) this.metrics[store].errors += 1;
    return typed(store, error, sql);
  }
}
