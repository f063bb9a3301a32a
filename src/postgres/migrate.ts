// Brings switchback's records in PostgreSQL to the version that this program knows, and tells their version.
import type pg from "pg";
import { SwitchbackError } from "../errors.js";
import { LOG_MIGRATION, latestOf, pendingOf } from "../migrations.js";
import { only } from "../present.js";
import { sql } from "../sql-files.js";

/** Serialises installations: several processes may start at the same time. */
const INSTALL_LOCK = "8320234785195188844";

/** The number of the last migration applied to this database; 0 where switchback is not installed. */
export async function postgresRecordsVersion(client: pg.ClientBase): Promise<number> {
  const { rows } = await client.query<{ version: number | null }>(sql("postgres/recorded-version"));
  const version = only(rows, "version").version;
  if (version !== null) return version;
  const { rows: applied } = await client.query<{ version: number }>(
    "SELECT max(number) AS version FROM switchback.migration",
  );
  return only(applied, "version").version ?? 1;
}

/**
 * Applies what is pending. Run inside a transaction, under the sidecar's lock.
 * @throws SwitchbackError RECORDS_NEWER
 */
export async function migratePostgres(client: pg.ClientBase): Promise<void> {
  await client.query(`SELECT pg_advisory_xact_lock(${INSTALL_LOCK})`);
  const version = await postgresRecordsVersion(client);
  for (const { number, name, sql: text } of pendingOf("postgres", version, "PostgreSQL")) {
    await client.query(text);
    if (number <= LOG_MIGRATION) continue;
    await client.query("INSERT INTO switchback.migration (number, name) VALUES ($1, $2)", [number, name]);
  }
}

/**
 * True where switchback is installed with the records that this program knows.
 * @throws SwitchbackError RECORDS_OLDER, RECORDS_NEWER
 */
export async function assertCurrent(client: pg.ClientBase): Promise<boolean> {
  const version = await postgresRecordsVersion(client);
  if (version === 0) return false;
  if (pendingOf("postgres", version, "PostgreSQL").length > 0) {
    throw new SwitchbackError(
      "RECORDS_OLDER",
      `the records in PostgreSQL are at migration ${version}, and this program needs migration ${latestOf("postgres")}`,
    );
  }
  return true;
}
