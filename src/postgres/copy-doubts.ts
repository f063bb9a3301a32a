// What is unknown of the copy: a table whose changes were not all seen, whose rows were moved behind our back, or whose
// rows were found to differ. It is recorded, because a restart must not forget it, and stands until a comparison that
// began later finds everything equal.
import type pg from "pg";
import type { ErrorCode } from "../errors.js";
import { sql } from "../sql-files.js";
import { postgresError } from "./connection.js";

type UnknownCode = Extract<
  ErrorCode,
  "COPY_UNKNOWN" | "CHANGE_UNREADABLE" | "TARGET_DISTURBED" | "ROWS_DIFFER"
>;

interface Unknown {
  readonly code: UnknownCode;
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
    await client.query(sql("postgres/note-unknown"), [source, JSON.stringify(found)]);
  } catch (error) {
    throw postgresError(error);
  }
}

/** What was noted of a table is settled. */
export async function forgetUnknown(
  client: pg.ClientBase,
  source: string,
  table: string,
  code: UnknownCode,
): Promise<void> {
  try {
    await client.query("DELETE FROM switchback.unknown WHERE source = $1 AND table_name = $2 AND code = $3", [
      source,
      table,
      code,
    ]);
  } catch (error) {
    throw postgresError(error);
  }
}

/** What still stands; what a later comparison has settled is forgotten. */
export async function readUnknown(client: pg.ClientBase, source: string): Promise<Unknown[]> {
  try {
    await client.query(sql("postgres/settle-unknown"), [source]);
    const { rows } = await client.query<Unknown>(
      `SELECT table_name AS "table", code, reason FROM switchback.unknown WHERE source = $1 ORDER BY table_name, reason`,
      [source],
    );
    return rows;
  } catch (error) {
    throw postgresError(error);
  }
}

/**
 * Takes changes out of the log that belong to no followed table of any source, and notes them with a table of this
 * source. The source that they were meant for is unknown.
 */
export async function noteStrays(client: pg.ClientBase, source: string): Promise<void> {
  try {
    await client.query(sql("postgres/take-strays"), [source]);
  } catch (error) {
    throw postgresError(error);
  }
}

/**
 * Takes changes of a table out of the log whose keys are not of its key's types, and notes them; false when there are
 * none. Run inside a transaction.
 */
export async function setAside(
  client: pg.ClientBase,
  source: string,
  { id, table, keyTypes }: { id: number; table: string; keyTypes: readonly string[] },
): Promise<boolean> {
  const { rows } = await client.query<{ changes: string; example: string | null }>(
    "SELECT changes, example FROM switchback.set_aside($1, $2)",
    [id, keyTypes],
  );
  const [found] = rows;
  if (!found || found.changes === "0") return false;
  const many = found.changes === "1" ? "1 change" : `${found.changes} changes`;
  const reason = `${many} of ${table} in switchback.change cannot be read, for example the key (${found.example ?? ""})`;
  await noteUnknown(client, source, [{ table, code: "CHANGE_UNREADABLE", reason }]);
  return true;
}

/** What is unknown, in a sentence. */
export function inWords({ code, reason }: Unknown): string {
  return code === "TARGET_DISTURBED" || code === "ROWS_DIFFER"
    ? reason
    : `${reason}; what the copy has missed is unknown`;
}
