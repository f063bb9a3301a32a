// One open transaction as the caller sees it, the same in both stores. PostgreSQL aborts a transaction at its
// first failed statement and SQLite does not. Here the first failure ends it in both, unless the caller
// returns to a savepoint. It does not know which statements may be repeated; it reports to the handle.
import { CallersOwn, judgeError, QueryError, type StoreName, TransactionError, typed } from "./errors.js";
import { translated } from "./statement.js";
import type { Session, StatementResult } from "./store.js";
import type { Row, Value } from "./values.js";

export interface Executed {
  /** Rows that the statement itself inserted, updated or deleted. */
  readonly changes: number;
  /** Of the last row that an INSERT added, where the table has such a number; never after DO UPDATE. */
  readonly lastInsertRowid?: number | bigint;
}

/** The argument of the function given to `transaction`. It is unusable after the function has ended. */
export interface Transaction {
  query<T extends object = Row>(sql: string, params?: readonly Value[]): Promise<T[]>;
  queryOne<T extends object = Row>(sql: string, params?: readonly Value[]): Promise<T | null>;
  execute(sql: string, params?: readonly Value[]): Promise<Executed>;
}

export class OpenTransaction implements Transaction {
  /** False once it was committed or rolled back. */
  open = true;
  /** Rows were changed, so no fence was closed. */
  wrote = false;
  private failure: unknown = null;

  constructor(
    private readonly store: StoreName,
    private readonly session: Session,
  ) {}

  async query<T extends object = Row>(sql: string, params: readonly Value[] = []): Promise<T[]> {
    return (await this.statement(sql, params)).rows as T[];
  }

  async queryOne<T extends object = Row>(sql: string, params: readonly Value[] = []): Promise<T | null> {
    return ((await this.statement(sql, params)).rows[0] as T | undefined) ?? null;
  }

  async execute(sql: string, params: readonly Value[] = []): Promise<Executed> {
    const { rows: _, ...done } = await this.statement(sql, params);
    return done;
  }

  private async statement(sql: string, params: readonly Value[]): Promise<StatementResult> {
    if (!this.open)
      throw new TransactionError("the transaction is over", { store: this.store, code: "OVER" });
    const { verb } = translated(sql, this.store);
    const goesBack = verb === "ROLLBACK TO";
    if (/^(BEGIN|START|COMMIT|END|ABORT|ROLLBACK)$/.test(verb)) {
      throw new QueryError(`${verb} belongs to transaction() itself; throw an error to roll back`, {
        code: "STATEMENT",
      });
    }
    if (this.failure !== null && !goesBack) throw this.failure;
    try {
      const outcome = await this.session.run(sql, params);
      if (goesBack) this.wrote = false;
      else if (outcome.changes > 0) this.wrote = true;
      // A savepoint does not undo a fence or a lost connection.
      if (goesBack && this.failure !== null && judgeError(this.failure) === "final") this.failure = null;
      return outcome;
    } catch (error) {
      this.failure ??= typed(this.store, error, sql);
      throw this.failure;
    }
  }

  /** Runs the caller's function. When it or a statement fails, rolls back and throws the decisive error. */
  async run<T>(work: () => Promise<T> | T): Promise<T> {
    try {
      const value = await work();
      // The caller swallowed the error, but nothing of this transaction can be kept.
      if (this.failure !== null) throw this.failure;
      return value;
    } catch (error) {
      await this.rollback();
      // An error that makes the transaction run again has precedence over the caller's own.
      throw this.failure !== null && judgeError(this.failure) !== "final" ? this.failure : this.owned(error);
    }
  }

  /** The caller's own errors are final, even those that look like a store's. */
  private owned(error: unknown): unknown {
    return error === this.failure ? error : new CallersOwn(error);
  }

  /** Rolls back when `look` fails. */
  async guarded<T>(look: () => Promise<T>): Promise<T> {
    try {
      return await look();
    } catch (error) {
      await this.rollback();
      throw error;
    }
  }

  async commit(): Promise<void> {
    this.open = false;
    await this.session.commit();
  }

  async rollback(): Promise<void> {
    this.open = false;
    await this.session.rollback();
  }
}
