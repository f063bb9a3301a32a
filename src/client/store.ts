// The interface of a store for the handle, the same for both. Errors are passed on as the driver threw them:
// errors.ts classifies them, and the handle decides. Nothing here knows the route.
import type { StoreName } from "./errors.js";
import type { Row, Value } from "./values.js";

export interface StatementResult {
  readonly rows: Row[];
  /** Rows inserted, updated or deleted by the statement itself. */
  readonly changes: number;
  readonly lastInsertRowid?: number | bigint;
}

/** A store's own record of the route. */
export interface Claim {
  readonly writes: string;
  readonly epoch: number;
}

/** One open transaction. After `commit` or `rollback` it is over, even when they threw. */
export interface Session {
  run(sql: string, values: readonly Value[]): Promise<StatementResult>;
  /** @throws TransactionError with outcome `unknown`; Lost when it is known not to have been committed */
  commit(): Promise<void>;
  /** Never throws: when a rollback fails, closing the connection rolls back. */
  rollback(): Promise<void>;
}

export interface Store {
  readonly name: StoreName;
  /** Runs one statement outside of any transaction. */
  read(sql: string, values: readonly Value[]): Promise<Row[]>;
  /** `single`: exactly one statement that writes will follow. @throws FenceMet when the store says that writes left */
  begin(single: boolean): Promise<Session>;
  /** The store's own record; null when it has none. @throws when the store cannot be asked */
  claim(): Promise<Claim | null>;
  close(): Promise<void>;
}

/** One statement as its own transaction. */
export async function runAlone(
  store: Store,
  sql: string,
  values: readonly Value[],
): Promise<StatementResult> {
  const session = await store.begin(true);
  let outcome: StatementResult;
  try {
    outcome = await session.run(sql, values);
  } catch (error) {
    await session.rollback();
    throw error;
  }
  await session.commit();
  return outcome;
}

export const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));
