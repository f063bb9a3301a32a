// Builds keys and indexes after a copy, several at a time. What is there already is left alone, so that an end in
// the middle costs only what was being built.
import PQueue from "p-queue";
import type pg from "pg";
import { SwitchbackError } from "../../errors.js";
import type { TableMapping } from "../../mapping/mapping.js";
import { quote } from "../../schema.js";
import { sql } from "../../sql.js";
import { isDataError, postgresError } from "./connection.js";
import type { NamedStatement } from "./keys.js";
import { targetName } from "./merge.js";
import type { TargetTable } from "./schema.js";

/** More memory than usual, because nothing else of ours runs meanwhile. */
const SETTINGS = "SET maintenance_work_mem = '256MB'";

/**
 * Builds every key and index of the tables, as many at once as there are sessions. Returns what the rows forbid:
 * the primary key among it is thrown instead, because nothing works without.
 * @throws SwitchbackError INDEX_FAILED for a primary key; POSTGRES_*
 */
export async function buildKeys(
  sessions: readonly pg.Client[],
  tables: readonly TargetTable[],
  signal: AbortSignal,
): Promise<SwitchbackError[]> {
  for (const session of sessions) await session.query(SETTINGS);
  const free = [...sessions];
  const queue = new PQueue({ concurrency: free.length });
  const failures: SwitchbackError[] = [];
  const work = tables.flatMap((table) =>
    [table.primaryKey, ...table.indexes].map((statement) =>
      queue.add(async () => {
        if (signal.aborted) return;
        const session = free.pop();
        if (!session) throw new Error("more index builds at once than sessions");
        try {
          await build(session, table.mapping, statement);
        } catch (error) {
          const forbidden = error instanceof SwitchbackError && error.code === "INDEX_FAILED";
          if (!forbidden || statement.kind === "primary key") throw error;
          failures.push(error);
        } finally {
          free.push(session);
        }
      }),
    ),
  );
  const results = await Promise.allSettled(work);
  const failed = results.find((result) => result.status === "rejected");
  if (failed) throw failed.reason;
  return failures;
}

/**
 * A primary key is built as an index first, because ALTER TABLE would keep every other index of the table
 * waiting.
 */
async function build(client: pg.Client, mapping: TableMapping, statement: NamedStatement): Promise<void> {
  const index = `${quote(mapping.schema)}.${quote(statement.name)}`;
  const table = targetName(mapping);
  try {
    const { rows } = await client.query<{ built: boolean; attached: boolean }>(sql("postgres/index-state"), [
      index,
      table,
    ]);
    const state = rows[0] ?? { built: false, attached: false };
    if (statement.kind !== "primary key") {
      if (!state.built) await client.query(statement.sql);
      return;
    }
    if (state.attached) return;
    const name = quote(statement.name);
    if (!state.built) {
      const columns = mapping.key.map((column) => quote(column.target)).join(", ");
      await client.query(`CREATE UNIQUE INDEX ${name} ON ${table} (${columns})`);
    }
    await client.query(`ALTER TABLE ${table} ADD CONSTRAINT ${name} PRIMARY KEY USING INDEX ${name}`);
  } catch (error) {
    if (!isDataError(error)) throw postgresError(error);
    const message = `${mapping.table.name}: ${statement.name}: ${(error as Error).message}`;
    throw new SwitchbackError("INDEX_FAILED", message, { table: mapping.table.name });
  }
}
