// Whether the triggers that see and refuse the application's writes are all in place. Without them a write before
// the fence would be missed, and one after it accepted.
import type pg from "pg";
import { SwitchbackError } from "../../errors.js";
import { lostCapture } from "./capture.js";
import { Control, type FollowedTable } from "./control.js";

/** @throws SwitchbackError COPY_UNKNOWN, naming a table; POSTGRES_* */
export async function assertGuarded(client: pg.ClientBase, tables: readonly FollowedTable[]): Promise<void> {
  const lost = await lostCapture(client, tables);
  const unfenced = await new Control(client).unfenced(tables.map(({ mapping }) => mapping));
  const table = lost[0] ?? unfenced[0]?.table.name;
  if (table === undefined) return;
  throw new SwitchbackError("COPY_UNKNOWN", `the triggers on ${table} in PostgreSQL are not in place`, {
    table,
  });
}
