// What is unknown of the copy while PostgreSQL has the writes: a table whose changes were not all seen, or whose
// rows were moved behind our back. It is recorded, because a restart must not forget it, and stands until a
// comparison that began later finds everything equal.
import type pg from "pg";
import { postgresError } from "./connection.js";

export interface Unknown {
  /** The table's name in the source. */
  readonly table: string;
  /** In words, for the operator. */
  readonly reason: string;
}

/** Noted again, it is unknown since now. */
export async function noteUnknown(
  client: pg.ClientBase,
  source: string,
  found: readonly Unknown[],
): Promise<void> {
  try {
    await client.query(
      `INSERT INTO switchback.unknown (source, table_name, reason)
       SELECT $1, x."table", x.reason FROM json_to_recordset($2::json) AS x("table" text, reason text)
       ON CONFLICT (source, table_name, reason) DO UPDATE SET since = excluded.since`,
      [source, JSON.stringify(found)],
    );
  } catch (error) {
    throw postgresError(error);
  }
}

/** What still stands; what a later comparison has settled is forgotten. */
export async function readUnknown(client: pg.ClientBase, source: string): Promise<Unknown[]> {
  try {
    await client.query(
      `DELETE FROM switchback.unknown AS u USING switchback.verification AS v
        WHERE u.source = $1 AND v.source = u.source AND v.equal AND v.at > u.since`,
      [source],
    );
    const { rows } = await client.query<{ table: string; reason: string }>(
      `SELECT table_name AS "table", reason FROM switchback.unknown WHERE source = $1 ORDER BY table_name, reason`,
      [source],
    );
    return rows;
  } catch (error) {
    throw postgresError(error);
  }
}
