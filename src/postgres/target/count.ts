// Counts the copy at one position: a read transaction that holds on to what was there, while the target moves on in
// other sessions.
import type pg from "pg";
import type { PostgresConfig } from "../../config/config.js";
import { SwitchbackError } from "../../errors.js";
import type { TableMapping } from "../../mapping/mapping.js";
import type { Position, RowsHeld, Tally } from "../../protocol/contract.js";
import { cancelStatements, postgresError } from "../connection.js";
import { qualifiedName } from "./merge.js";

interface TallyOptions {
  readonly client: pg.Client;
  readonly config: PostgresConfig;
  readonly source: string;
  readonly position: Position;
  mappingOf(table: string): TableMapping;
  /** The session is free again. */
  done(): void;
}

/** Quarantined keys without a NULL: what stands within quotes is no NULL. */
const QUARANTINED = `SELECT count(*) FROM switchback.quarantine
  WHERE source = $1 AND table_name = $2 AND regexp_replace(key, '"([^"\\\\]|\\\\.)*"', '', 'g') !~ 'null'`;

/** @throws SwitchbackError POSITION_CONFLICT when the target stands elsewhere; POSTGRES_* */
export async function openTally(options: TallyOptions): Promise<Tally> {
  const { client, config, source, position } = options;
  let closed = false;
  const close = async () => {
    if (closed) return;
    closed = true;
    await client.query("ROLLBACK").catch(() => {});
    options.done();
  };
  try {
    await client.query("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY");
    const { rows } = await client.query<{ position: string }>(
      "SELECT position FROM switchback.source WHERE name = $1",
      [source],
    );
    const found = Number(rows[0]?.position ?? -1);
    if (found !== position) {
      throw new SwitchbackError("POSITION_CONFLICT", `the copy is at ${found}, not at ${position}`);
    }
  } catch (error) {
    await close();
    throw postgresError(error);
  }
  return {
    async count(tables) {
      const counts = new Map<string, RowsHeld>();
      try {
        for (const table of tables) {
          const { rows } = await client.query<Record<keyof RowsHeld, string>>(
            `SELECT (SELECT count(*) FROM ${qualifiedName(options.mappingOf(table))}) AS rows, (${QUARANTINED}) AS quarantined`,
            [source, table],
          );
          const [row] = rows;
          counts.set(table, { rows: Number(row?.rows), quarantined: Number(row?.quarantined) });
        }
      } catch (error) {
        throw postgresError(error);
      }
      return counts;
    },
    cancel: () => cancelStatements(config, [client]),
    close,
  };
}
