// What PostgreSQL's catalogue says about target tables: keys that ON CONFLICT may name, columns that unique
// indexes depend on, identities that refuse updates. Read once a connection and again after indexes are built.
import type pg from "pg";
import type { TableMapping } from "../../mapping/mapping.js";
import { sql } from "../../sql-files.js";
import type { OwnColumn, TargetFacts } from "./merge.js";

interface FactRow {
  readonly name: string;
  readonly unique_indexes:
    | readonly {
        readonly columns: readonly string[];
        readonly plain: boolean;
        readonly depends: readonly string[];
      }[]
    | null;
  readonly always_identity: readonly string[] | null;
  readonly columns: readonly OwnColumn[] | null;
}

/** Facts by target table name, for the tables of one schema. */
export async function readFacts(
  client: pg.ClientBase,
  schema: string,
  mappings: readonly TableMapping[],
): Promise<Map<string, TargetFacts>> {
  const names = mappings.map((mapping) => mapping.target);
  const { rows } = await client.query<FactRow>(sql("postgres/facts"), [schema, names]);
  const facts = new Map<string, TargetFacts>();
  for (const mapping of mappings) {
    const row = rows.find((candidate) => candidate.name === mapping.target);
    const key = mapping.key.map((column) => column.target);
    const indexes = row?.unique_indexes ?? [];
    const isKey = (index: { columns: readonly string[]; plain: boolean }) =>
      index.plain &&
      index.columns.length === key.length &&
      key.every((column) => index.columns.includes(column));
    facts.set(mapping.target, {
      upserts: indexes.some(isKey),
      uniqueColumns: new Set(indexes.filter((index) => !isKey(index)).flatMap((index) => index.depends)),
      alwaysIdentity: new Set(row?.always_identity ?? []),
      own: (row?.columns ?? []).filter(({ name }) => !mapping.columns.some(({ target }) => target === name)),
    });
  }
  return facts;
}
