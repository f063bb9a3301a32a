// Columns that PostgreSQL's tables gained or lost while the writes are there: what is in them would not come home.
import type pg from "pg";
import { sql } from "../../sql-files.js";
import { postgresError } from "../connection.js";
import type { FollowedTable } from "../records.js";

interface Stranger {
  /** The table's name in the source. */
  readonly table: string;
  readonly column: string;
}

/** Tables that were adopted may have columns of their own, which the application had before; they are left out. */
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
