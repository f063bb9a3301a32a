// Reads what stands in the target for a mapping that follows it: the tables of a schema with their columns' types.
import type pg from "pg";
import type { PostgresConfig, SourceConfig } from "../../config/config.js";
import type { AdoptedColumn, AdoptedTables } from "../../mapping/adopted.js";
import { sql } from "../../sql-files.js";
import { withSession } from "../connection.js";

interface AdoptedRow extends AdoptedColumn {
  readonly table: string;
}

export async function readAdopted(client: pg.ClientBase, schema: string): Promise<AdoptedTables> {
  const { rows } = await client.query<AdoptedRow>(sql("postgres/schema/adopted"), [schema]);
  const tables = new Map<string, AdoptedColumn[]>();
  for (const { table, ...column } of rows) tables.set(table, [...(tables.get(table) ?? []), column]);
  return tables;
}

/** For a command: the tables that a source adopts; null where it adopts none, or where no server is configured. */
export async function adoptedBy(
  postgres: PostgresConfig | null,
  source: SourceConfig,
  command: string,
): Promise<AdoptedTables | null> {
  if (source.target !== "adopt" || !postgres) return null;
  return withSession(postgres, `switchback ${command}`, (client) => readAdopted(client, source.schema));
}
