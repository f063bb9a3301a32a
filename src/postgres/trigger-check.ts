// What must hold of the followed tables. The triggers that see and refuse the application's writes are all in place:
// without them a write before the fence would be missed, and one after it accepted. No policy hides rows from the
// sidecar's role. While SQLite has the writes, no trigger or rule of others affects what the sidecar writes.
import type pg from "pg";
import { SwitchbackError } from "../errors.js";
import type { TableMapping } from "../mapping/mapping.js";
import { at } from "../present.js";
import { sql } from "../sql-files.js";
import { lostCapture } from "./capture.js";
import { postgresError, sqlState } from "./connection.js";
import { type FollowedTable, Records } from "./records.js";
import { qualifiedName } from "./target/merge.js";

/** @throws SwitchbackError COPY_UNKNOWN, naming a table; POSTGRES_* */
export async function assertGuarded(client: pg.ClientBase, tables: readonly FollowedTable[]): Promise<void> {
  const lost = await lostCapture(client, tables);
  const unfenced = await new Records(client).unfenced(tables.map(({ mapping }) => mapping));
  const table = lost[0] ?? unfenced[0]?.table.name;
  if (table === undefined) return;
  throw new SwitchbackError("COPY_UNKNOWN", `the triggers on ${table} in PostgreSQL are not in place`, {
    table,
  });
}

/**
 * The statement that every transaction which writes to these tables runs before it does. It fails with SB003 where a
 * trigger or rule of others would affect the writes. Until the transaction ends nothing of the kind can be added.
 */
export function undisturbed(mappings: readonly TableMapping[]): pg.QueryConfig {
  return {
    name: "switchback_undisturbed",
    text: "SELECT switchback.undisturbed($1)",
    values: [mappings.map(qualifiedName)],
  };
}

/**
 * The same outside of a window, and soon: on a table that is locked, the next window will meet what is there.
 * @throws SwitchbackError TARGET_DISTURBED, POSTGRES_ROW_SECURITY, POSTGRES_*
 */
export async function assertUndisturbed(
  client: pg.ClientBase,
  mappings: readonly TableMapping[],
): Promise<void> {
  await assertSeesAll(client, mappings);
  try {
    await client.query("BEGIN; SET LOCAL lock_timeout = 100");
    await client.query(undisturbed(mappings));
  } catch (error) {
    if (sqlState(error) !== "55P03") throw postgresError(error);
  } finally {
    await client.query("ROLLBACK").catch(() => {});
  }
}

/** The same as an answer. */
export async function isDisturbed(
  client: pg.ClientBase,
  mappings: readonly TableMapping[],
): Promise<boolean> {
  try {
    await assertUndisturbed(client, mappings);
    return false;
  } catch (error) {
    if (error instanceof SwitchbackError && error.code === "TARGET_DISTURBED") return true;
    throw error;
  }
}

/** True when a capture trigger on one of the tables is awake. */
export async function isCapturing(
  client: pg.ClientBase,
  mappings: readonly TableMapping[],
): Promise<boolean> {
  const { rowCount } = await client.query(sql("postgres/capturing"), [mappings.map(qualifiedName)]);
  return rowCount === 1;
}

const POLICIES = sql("postgres/policies");

/** @throws SwitchbackError POSTGRES_ROW_SECURITY, naming a table and its policies; POSTGRES_* */
export async function assertSeesAll(client: pg.ClientBase, mappings: readonly TableMapping[]): Promise<void> {
  try {
    const { rows } = await client.query<{ place: string; role: string; n: string; policies: string[] }>(
      POLICIES,
      [mappings.map(qualifiedName)],
    );
    const [found] = rows;
    if (!found) return;
    const table = at(mappings, Number(found.n) - 1, "table").table.name;
    throw new SwitchbackError("POSTGRES_ROW_SECURITY", rowSecurity(found.place, found.role, found.policies), {
      table,
    });
  } catch (error) {
    throw postgresError(error);
  }
}

/** What row-level security does to a table that it applies to, in words. */
export function rowSecurity(place: string, role: string, policies: readonly string[]): string {
  const [some, hide] =
    policies.length === 0
      ? ["without a policy", "would hide all rows"]
      : [
          `with the ${policies.length === 1 ? "policy" : "policies"} ${policies.map((name) => `"${name}"`).join(", ")}`,
          "may hide rows",
        ];
  return `row-level security of ${place} (${some}) applies to the role ${role} and ${hide} from it`;
}
