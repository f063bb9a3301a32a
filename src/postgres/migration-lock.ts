// The lock of `switchback exec`: an advisory lock on a session of its own, for as long as the application's migration
// runs. It ends with the process, however that ends, so that a sidecar never waits for a migration that is gone.
import type pg from "pg";
import type { PostgresConfig } from "../config/config.js";
import { SwitchbackError } from "../errors.js";
import { only } from "../present.js";
import { sql } from "../sql-files.js";
import { connectPostgres } from "./connection.js";

const LOCK = "8320234785195188846";

interface MigrationLock {
  release(): Promise<void>;
}

/** @throws SwitchbackError CAPTURE_OFF when another migration runs under it */
export async function lockMigration(postgres: PostgresConfig): Promise<MigrationLock> {
  const client = await connectPostgres(postgres, { name: "switchback exec" });
  // A lost session gives the lock up, and the sidecar puts the triggers back: nothing is lost by it.
  client.on("error", () => {});
  const { rows } = await client.query<{ got: boolean }>(`SELECT pg_try_advisory_lock(${LOCK}) AS got`);
  if (only(rows, "answer").got) return { release: () => client.end().catch(() => {}) };
  await client.end().catch(() => {});
  throw new SwitchbackError("CAPTURE_OFF", "another migration runs under `switchback exec`");
}

/** True while a migration runs. */
export async function isMigrating(client: pg.ClientBase): Promise<boolean> {
  return ((await client.query(sql("postgres/lock-holder"), [LOCK])).rowCount ?? 0) > 0;
}
