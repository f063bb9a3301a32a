// What rows hold in columns that only PostgreSQL has, kept while the rows are deleted and written again: in a temporary
// table for as long as a transaction, and in a table of ours while a whole table is copied again.
import type pg from "pg";
import type { TableMapping } from "../../mapping/mapping.js";
import { quote } from "../../schema.js";
import { counted, inTheWay, keyMatch, type TargetFacts, targetName } from "./merge.js";

/** The keys and the own columns of a table. */
function columnsOf(mapping: TableMapping, own: readonly { readonly name: string }[], alias = ""): string {
  const names = [...mapping.key.map(({ target }) => target), ...own.map(({ name }) => name)];
  return names.map((name) => `${alias}${quote(name)}`).join(", ");
}

/**
 * Deletes the rows that are in the way of those in `relation`, which has `rows` of them, and keeps what they had in a
 * temporary table beside the stage; its name, as SQL.
 */
export async function keepDeleted(
  client: pg.Client,
  mapping: TableMapping,
  facts: TargetFacts,
  stage: string,
  source: { readonly relation: string; readonly typed: boolean; readonly rows: number },
): Promise<string> {
  const { relation, typed, rows } = source;
  const kept = `pg_temp.${quote(`${stage}_kept`)}`;
  const target = targetName(mapping);
  await client.query(
    `CREATE TEMP TABLE ${quote(`${stage}_kept`)} ON COMMIT DROP AS SELECT ${columnsOf(mapping, facts.own)} FROM ${target} WITH NO DATA`,
  );
  const where = inTheWay(mapping, facts, typed).join(" AND ");
  const moved = `moved AS (DELETE FROM ${target} AS t USING ${relation} WHERE ${where} RETURNING ${columnsOf(mapping, facts.own, "t.")}), `;
  const present = `(SELECT count(*) FROM ${target} AS t, ${relation} WHERE ${where})`;
  const keep = counted(`INSERT INTO ${kept} SELECT * FROM moved`, present, moved);
  await client.query(keep, [mapping.table.name, rows]);
  const saved = facts.own.filter(({ name }) => facts.saved?.columns.includes(name));
  if (facts.saved && saved.length > 0) {
    const list = columnsOf(mapping, saved);
    await client.query(
      `INSERT INTO ${kept} (${list}) SELECT ${columnsOf(mapping, saved, "k.")} FROM ${facts.saved.relation} AS k, ${relation}
        WHERE ${keyMatch(mapping, typed, "k").join(" AND ")}
          AND NOT EXISTS (SELECT 1 FROM ${kept} AS h WHERE ${mapping.key.map(({ target: key }) => `h.${quote(key)} = k.${quote(key)}`).join(" AND ")})`,
    );
  }
  await client.query(`ANALYZE ${kept}`);
  return kept;
}
