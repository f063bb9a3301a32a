// PostgreSQL's change log as others than its reader see it: how much is in it, and keys put into it by hand.
import type pg from "pg";
import { only } from "../present.js";
import type { EncodedRow, Position } from "../protocol/contract.js";
import { sql } from "../sql-files.js";
import { postgresError } from "./connection.js";

/** How many changes of a source were carried over, and how many wait, as the session's transaction sees it. */
export async function changesBeyond(
  client: pg.ClientBase,
  source: string,
): Promise<{ consumed: Position; pending: number }> {
  try {
    const { rows } = await client.query<{ consumed: string; pending: string }>(
      sql("postgres/changes-beyond"),
      [source],
    );
    const { consumed, pending } = only(rows, `record of source ${source}`);
    return { consumed: Number(consumed), pending: Number(pending) };
  } catch (error) {
    throw postgresError(error);
  }
}

/** Logs keys, given as text in the key's order, of the table with this number. */
export async function touchChanges(
  client: pg.ClientBase,
  id: number,
  keys: readonly EncodedRow[],
): Promise<void> {
  try {
    await client.query(sql("postgres/touch-changes"), [id, JSON.stringify(keys)]);
  } catch (error) {
    throw postgresError(error);
  }
}
