// What must hold of the followed tables: the triggers that see and refuse the application's writes are all in place,
// because without them a write before the fence would be missed, and one after it accepted; and no policy hides rows
// from the sidecar's role.
import type pg from "pg";
import { SwitchbackError } from "../../errors.js";
import type { TableMapping } from "../../mapping/mapping.js";
import { lostCapture } from "./capture.js";
import { postgresError } from "./connection.js";
import { Control, type FollowedTable } from "./control.js";
import { targetName } from "./merge.js";

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

const POLICIES = `
  SELECT c.oid::regclass::text AS place, current_user AS role, x.n,
         coalesce((SELECT json_agg(p.polname ORDER BY p.polname) FROM pg_catalog.pg_policy AS p WHERE p.polrelid = c.oid), '[]') AS policies
    FROM unnest($1::text[]) WITH ORDINALITY AS x(name, n)
    JOIN pg_catalog.pg_class AS c ON c.oid = to_regclass(x.name)
   WHERE c.relrowsecurity AND row_security_active(c.oid) ORDER BY x.n LIMIT 1`;

/** @throws SwitchbackError POSTGRES_ROW_SECURITY, naming a table and its policies; POSTGRES_* */
export async function assertSeesAll(client: pg.ClientBase, mappings: readonly TableMapping[]): Promise<void> {
  try {
    const { rows } = await client.query<{ place: string; role: string; n: string; policies: string[] }>(
      POLICIES,
      [mappings.map(targetName)],
    );
    const [found] = rows;
    if (!found) return;
    const table = mappings[Number(found.n) - 1]?.table.name ?? "";
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
