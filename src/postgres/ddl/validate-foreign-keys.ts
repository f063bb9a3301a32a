// Foreign keys are restored NOT VALID, because old files have orphans and checking takes time. Afterwards each is
// validated, while the application writes. A foreign key with orphans stays NOT VALID and is named.
import type pg from "pg";
import type { Logger } from "pino";
import type { PostgresConfig } from "../../config/config.js";
import { sql } from "../../sql-files.js";
import { connectPostgres, isDataError } from "../connection.js";
import type { FollowedTable } from "../records.js";
import { qualifiedName } from "../target/merge.js";

const UNVALIDATED = sql("postgres/unvalidated");

/** Never throws: a foreign key that cannot be validated stays NOT VALID, and the next start tries again. */
export async function validateForeignKeys(
  postgres: PostgresConfig,
  tables: readonly FollowedTable[],
  log: Logger,
  signal: AbortSignal,
): Promise<void> {
  let client: pg.Client | null = null;
  // VALIDATE of a large table takes long; shutdown does not wait for it.
  const stop = () => void client?.end().catch(() => {});
  try {
    client = await connectPostgres(postgres, { name: "switchback validate" });
    signal.addEventListener("abort", stop, { once: true });
    signal.throwIfAborted();
    const { rows } = await client.query<{ table: string; name: string; validate: string }>(UNVALIDATED, [
      tables.map(({ mapping }) => qualifiedName(mapping)),
    ]);
    for (const { table, name, validate } of rows) {
      try {
        await client.query(validate);
      } catch (error) {
        if (!isDataError(error)) throw error;
        const detail = (error as { detail?: string }).detail ?? (error as Error).message;
        log.warn(
          { table, constraint: name },
          `the foreign key ${name} stays NOT VALID, it has orphans: ${detail} Correct the rows, then run: ${validate}`,
        );
      }
    }
  } catch (error) {
    if (!signal.aborted) log.debug({ err: error }, "validating foreign keys was interrupted");
  } finally {
    signal.removeEventListener("abort", stop);
    await client?.end().catch(() => {});
  }
}
