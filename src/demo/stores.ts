// The shop's two databases as its tills use them: a transaction, and the meaning of an error (writes are
// refused here, or the same work may be tried again). Plain drivers, as an application would use them.
import Database from "better-sqlite3";
import pg from "pg";
import type { Run } from "./work.js";

export interface ShopStore {
  /** Reads, one statement at a time. */
  readonly read: Run;
  transaction(work: (run: Run) => Promise<void>): Promise<void>;
  /**
   * The store refuses writes: they go to the other store, or will in a moment. Nothing of the transaction
   * remains.
   */
  refused(error: unknown): boolean;
  /** The transaction met a conflict and left nothing. */
  collided(error: unknown): boolean;
  close(): Promise<void>;
}

export function openSqliteStore(file: string): ShopStore {
  const database = new Database(file, { timeout: 5_000 });
  // The default of most drivers, and the harder case: rows that REPLACE evicts fire no trigger.
  database.pragma("recursive_triggers = OFF");
  database.pragma("foreign_keys = ON");
  database.pragma("synchronous = NORMAL");
  const statements = new Map<string, Database.Statement>();
  const run: Run = async (text, ...values) => {
    const statement = statements.get(text) ?? database.prepare(text);
    statements.set(text, statement);
    if (statement.reader) return statement.all(...values) as Record<string, unknown>[];
    statement.run(...values);
    return [];
  };
  return {
    read: run,
    async transaction(work) {
      database.exec("BEGIN IMMEDIATE");
      try {
        await work(run);
        database.exec("COMMIT");
      } catch (error) {
        if (database.inTransaction) database.exec("ROLLBACK");
        throw error;
      }
    },
    refused: (error) => messageOf(error).startsWith("switchback: writes have moved"),
    collided: (error) => codeOf(error) === "SQLITE_BUSY",
    async close() {
      database.close();
    },
  };
}

export async function openPostgresStore(connectionString: string): Promise<ShopStore> {
  const client = new pg.Client({ connectionString });
  // A lost connection appears as the failure of the current statement.
  client.on("error", () => {});
  await client.connect();
  const run: Run = async (text, ...values) => {
    let n = 0;
    return (
      await client.query(
        text.replaceAll("?", () => `$${++n}`),
        values,
      )
    ).rows;
  };
  return {
    read: run,
    async transaction(work) {
      await client.query("BEGIN");
      try {
        await work(run);
      } catch (error) {
        await client.query("ROLLBACK");
        throw error;
      }
      await client.query("COMMIT");
    },
    refused: (error) => codeOf(error) === "25006",
    // Integrity and serialization errors: another till was first.
    collided: (error) => /^(23|40)/.test(codeOf(error)),
    close: () => client.end(),
  };
}

const messageOf = (error: unknown) => (error instanceof Error ? error.message : String(error));
const codeOf = (error: unknown) => String((error as { code?: unknown } | null)?.code ?? "");
