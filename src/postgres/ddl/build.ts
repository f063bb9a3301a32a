// Builds keys and indexes after a copy, several at a time. Existing ones are left alone, so that an interruption only
// loses the builds in progress.
import PQueue from "p-queue";
import type pg from "pg";
import { SwitchbackError } from "../../errors.js";
import type { TableMapping } from "../../mapping/mapping.js";
import { quote } from "../../schema/model.js";
import { sql } from "../../sql-files.js";
import { isDataError, postgresError, sqlState } from "../connection.js";
import { qualifiedName } from "../target/merge.js";
import type { NamedStatement } from "./keys.js";
import type { TargetTable } from "./tables.js";

/** More memory than usual, because nothing else of switchback runs meanwhile. */
const MEMORY = "SET maintenance_work_mem = '256MB'";
/**
 * Several builds side by side are faster than one build with parallel workers: no rows are passed between processes.
 */
const ALONE = "SET max_parallel_maintenance_workers = 0";

/**
 * Builds every key and index of the tables, one per session at a time. Returns those that the rows, or a name that is taken, forbid; a
 * forbidden primary key is thrown instead, because it is indispensable.
 * @throws SwitchbackError INDEX_FAILED, TARGET_MISMATCH for a primary key; POSTGRES_*
 */
export async function buildKeys(
  sessions: readonly pg.Client[],
  tables: readonly TargetTable[],
  signal: AbortSignal,
): Promise<SwitchbackError[]> {
  const work = tables.flatMap(({ mapping, primaryKey, indexes }) =>
    [...indexes, primaryKey].map((statement) => ({ mapping, statement, cost: costOf(mapping, statement) })),
  );
  // The most expensive first, so that none of them runs alone at the end.
  work.sort((a, b) => b.cost - a.cost);
  for (const session of sessions) await session.query(work.length > 1 ? `${MEMORY}; ${ALONE}` : MEMORY);
  const free = [...sessions];
  const queue = new PQueue({ concurrency: free.length });
  const failures: SwitchbackError[] = [];
  const results = await Promise.allSettled(
    work.map(({ mapping, statement }) =>
      queue.add(async () => {
        if (signal.aborted) return;
        const session = free.pop();
        if (!session) throw new Error("more concurrent index builds than sessions");
        try {
          await forbidding(mapping, statement, () => build(session, mapping, statement));
        } catch (error) {
          const forbidden =
            error instanceof SwitchbackError && /^(INDEX_FAILED|TARGET_MISMATCH)$/.test(error.code);
          if (!forbidden || statement.kind === "primary key") throw error;
          failures.push(error);
        } finally {
          free.push(session);
        }
      }),
    ),
  );
  const failed = results.find((result) => result.status === "rejected");
  if (failed) throw failed.reason;
  const [session] = sessions;
  if (!session || signal.aborted) return failures;
  for (const { mapping, primaryKey } of tables) {
    await forbidding(mapping, primaryKey, () => attach(session, mapping, primaryKey));
  }
  return failures;
}

/** The relative cost of a build: text is expensive to sort, and every column adds to it. */
function costOf(mapping: TableMapping, statement: NamedStatement): number {
  const costs = statement.columns.map((name) => {
    const type = mapping.columns.find(({ target }) => target === name)?.codec.type ?? "text";
    return /int|bool|double|real|date|time|uuid/i.test(type) ? 1 : 3;
  });
  return costs.reduce((sum, cost) => sum + cost, 0) + (statement.kind === "primary key" ? 0 : 0.5);
}

async function forbidding(
  mapping: TableMapping,
  statement: NamedStatement,
  work: () => Promise<void>,
): Promise<void> {
  try {
    await work();
  } catch (error) {
    if (sqlState(error) === "42P07") {
      throw new SwitchbackError(
        "TARGET_MISMATCH",
        `the name ${mapping.schema}.${statement.name}, which an index of ${mapping.target} needs, belongs to something else`,
        { table: mapping.table.name },
        { cause: error },
      );
    }
    if (!isDataError(error)) throw postgresError(error);
    const message = `${mapping.table.name}: ${statement.name}: ${(error as Error).message}`;
    throw new SwitchbackError("INDEX_FAILED", message, { table: mapping.table.name });
  }
}

/** A primary key starts as an index, because ALTER TABLE would block every other build on the table. */
async function build(client: pg.Client, mapping: TableMapping, statement: NamedStatement): Promise<void> {
  const { built, attached } = await stateOf(client, mapping, statement);
  if (built || (statement.kind === "primary key" && attached)) return;
  if (statement.kind !== "primary key") {
    await client.query(statement.sql);
    return;
  }
  const columns = mapping.key.map((column) => quote(column.target)).join(", ");
  await client.query(
    `CREATE UNIQUE INDEX ${quote(statement.name)} ON ${qualifiedName(mapping)} (${columns})`,
  );
}

async function attach(client: pg.Client, mapping: TableMapping, primaryKey: NamedStatement): Promise<void> {
  if ((await stateOf(client, mapping, primaryKey)).attached) return;
  const name = quote(primaryKey.name);
  await client.query(
    `ALTER TABLE ${qualifiedName(mapping)} ADD CONSTRAINT ${name} PRIMARY KEY USING INDEX ${name}`,
  );
}

async function stateOf(
  client: pg.Client,
  mapping: TableMapping,
  statement: NamedStatement,
): Promise<{ built: boolean; attached: boolean }> {
  const index = `${quote(mapping.schema)}.${quote(statement.name)}`;
  const { rows } = await client.query<{ built: boolean; attached: boolean }>(sql("postgres/index-state"), [
    index,
    qualifiedName(mapping),
  ]);
  return rows[0] ?? { built: false, attached: false };
}
