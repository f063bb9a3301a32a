// Columns that PostgreSQL's tables gained or lost while PostgreSQL has the writes: reverse replication would not
// carry their values.
import type pg from "pg";
import { sql } from "../../sql-files.js";
import { postgresError } from "../connection.js";
import type { FollowedTable } from "../records.js";

interface Stranger {
  /** The table's name in the source. */
  readonly table: string;
  readonly column: string;
}

/** Adopted tables may have extra columns from before; these are left out. */
export async function readStrangers(
  client: pg.ClientBase,
  tables: readonly FollowedTable[],
): Promise<Stranger[]> {
  const made = tables.filter((table) => table.made);
  const schemas = [...new Set(made.map(({ mapping }) => mapping.schema))];
  const names = made.map(({ mapping }) => mapping.target);
  try {
    const { rows } = await client.query<{ schema: string; table: string; name: string; generated: string }>(
      sql("postgres/schema/columns"),
      [schemas, names],
    );
    return made.flatMap(({ name, mapping }) =>
      rows
        .filter(({ schema, table, generated }) => {
          return schema === mapping.schema && table === mapping.target && generated === "";
        })
        .filter((column) => !mapping.columns.some(({ target }) => target === column.name))
        .map((column) => ({ table: name, column: column.name })),
    );
  } catch (error) {
    throw postgresError(error);
  }
}
