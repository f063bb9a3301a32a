// Which database this is, as PostgreSQL tells it. Switchback's own id is kept by a dump, a restore and a failover.
// The place tells a copy of the database from its original.
import type pg from "pg";
import type { PostgresConfig } from "../config/config.js";
import { addressOf } from "../config/postgres.js";
import { only } from "../present.js";
import { postgresError } from "./connection.js";
import { closedFence, type Records } from "./records.js";

export interface DatabaseIdentity {
  /** Switchback's id; null where it is not installed, or an earlier version is. */
  readonly id: string | null;
  /** The server's system identifier and the database's oid; null where this role may not read them. */
  readonly place: string | null;
  /** Host, port and database as configured, for messages. */
  readonly address: string;
  /** Every database of this server, as places. */
  readonly siblings: readonly string[];
}

/** Run outside of a transaction: a server may refuse one of the statements. */
export async function readDatabaseIdentity(
  client: pg.ClientBase,
  config: PostgresConfig,
): Promise<DatabaseIdentity> {
  try {
    const { rows: found } = await client.query<{ there: boolean }>(
      "SELECT to_regclass('switchback.pair') IS NOT NULL AS there",
    );
    const id = only(found, "answer").there
      ? only((await client.query<{ id: string }>("SELECT id FROM switchback.pair")).rows, "pair").id
      : null;
    const system = await systemIdentifier(client);
    const { rows: databases } = await client.query<{ oid: string; here: boolean }>(
      "SELECT oid::text, datname = current_database() AS here FROM pg_catalog.pg_database",
    );
    const placeOf = (oid: string) => `${system}/${oid}`;
    const here = databases.find((database) => database.here);
    return {
      id,
      place: system === null || here === undefined ? null : placeOf(here.oid),
      address: addressOf(config),
      siblings: system === null ? [] : databases.map(({ oid }) => placeOf(oid)),
    };
  } catch (error) {
    throw postgresError(error);
  }
}

/** Null where the function is missing or not granted. */
async function systemIdentifier(client: pg.ClientBase): Promise<string | null> {
  const { rows } = await client.query<{ may: boolean }>(
    "SELECT coalesce(has_function_privilege('pg_catalog.pg_control_system()', 'EXECUTE'), false) AS may",
  );
  if (!only(rows, "answer").may) return null;
  const { rows: systems } = await client.query<{ system: string }>(
    "SELECT system_identifier::text AS system FROM pg_catalog.pg_control_system()",
  );
  return only(systems, "system identifier").system;
}

/** The names of the sources under which this database follows the file with that identity. */
export async function recordedAs(client: pg.ClientBase, identity: string): Promise<string[]> {
  try {
    const { rows: found } = await client.query<{ there: boolean }>(
      "SELECT to_regclass('switchback.source') IS NOT NULL AS there",
    );
    if (!only(found, "answer").there) return [];
    const { rows } = await client.query<{ name: string }>(
      "SELECT name FROM switchback.source WHERE identity = $1 ORDER BY name",
      [identity],
    );
    return rows.map(({ name }) => name);
  } catch (error) {
    throw postgresError(error);
  }
}

/** What these sources were copied to is of no use any more; the route takes an epoch that it has not reached. */
export async function forgetCopies(
  records: Records,
  sources: readonly string[],
  epoch: number,
): Promise<void> {
  await records.transaction(async () => {
    await records.query("SET LOCAL synchronous_commit = on");
    await records.query(
      "UPDATE switchback.route SET epoch = $1, changed_at = clock_timestamp() WHERE epoch < $1",
      [epoch],
    );
    await records.query(closedFence((await records.route()).epoch));
    await records.query(
      "UPDATE switchback.source SET position = 0, mark = NULL, consumed = 0, carried = '' WHERE name = ANY ($1)",
      [sources],
    );
    await records.query("UPDATE switchback.range SET rows = NULL WHERE source = ANY ($1)", [sources]);
    await records.query(
      "DELETE FROM switchback.change WHERE t IN (SELECT id FROM switchback.followed WHERE source = ANY ($1))",
      [sources],
    );
  });
}
