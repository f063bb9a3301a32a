// What rows hold in columns that only PostgreSQL has, kept while the rows are deleted and written again. A temporary
// table keeps it for a transaction, and a table of ours while a whole table is copied again.
import type pg from "pg";
import type { TableMapping } from "../../mapping/mapping.js";
import { quote } from "../../schema/model.js";
import { sql } from "../../sql-files.js";
import type { FollowedTable, Records } from "../records.js";
import { readFacts } from "./index-facts.js";
import { inTheWay, keyMatch, qualifiedName, type TargetFacts, withTouchedCheck } from "./merge.js";

/** The keys and the own columns of a table. */
function columnsOf(mapping: TableMapping, own: readonly { readonly name: string }[], alias = ""): string {
  const names = [...mapping.key.map(({ target }) => target), ...own.map(({ name }) => name)];
  return names.map((name) => `${alias}${quote(name)}`).join(", ");
}

/**
 * Deletes the rows that are in the way of those in `relation`, which has `rows` of them, and keeps what they had in a
 * temporary table beside the stage. Returns its name, as SQL.
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
  const target = qualifiedName(mapping);
  await client.query(
    `CREATE TEMP TABLE ${quote(`${stage}_kept`)} ON COMMIT DROP AS SELECT ${columnsOf(mapping, facts.own)} FROM ${target} WITH NO DATA`,
  );
  const where = inTheWay(mapping, facts, typed).join(" AND ");
  const moved = `moved AS (DELETE FROM ${target} AS t USING ${relation} WHERE ${where} RETURNING ${columnsOf(mapping, facts.own, "t.")}), `;
  const present = `(SELECT count(*) FROM ${target} AS t, ${relation} WHERE ${where})`;
  const keep = withTouchedCheck(`INSERT INTO ${kept} SELECT * FROM moved`, present, moved);
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

/** Where a followed table's own columns are saved while it is copied again. */
function savedName(table: { readonly id: number }): string {
  return `switchback.${quote(`kept_${table.id}`)}`;
}

/**
 * Saves what the rows hold in the target's own columns, before the table is emptied; beside what an earlier copy that
 * did not end has saved. The rows of a table that is followed by its rowid cannot be told afterwards.
 */
export async function saveOwnColumns(
  records: Records,
  known: FollowedTable,
  mapping: TableMapping,
): Promise<void> {
  const keys = (of: TableMapping) => of.key.map(({ target }) => target).join("\0");
  const same =
    qualifiedName(known.mapping) === qualifiedName(mapping) && keys(known.mapping) === keys(mapping);
  const facts = (await readFacts(records.session, mapping.schema, [mapping])).get(mapping.target);
  const saved = savedName(known);
  if (known.state === "streaming") await records.query(`DROP TABLE IF EXISTS ${saved}`);
  if (!facts || facts.own.length === 0 || !same || mapping.table.key.kind === "rowid") return;
  const list = columnsOf(mapping, facts.own);
  const target = qualifiedName(mapping);
  await records.query(
    `CREATE TABLE IF NOT EXISTS ${saved} AS SELECT ${list} FROM ${target} WITH NO DATA;
     CREATE INDEX IF NOT EXISTS ${quote(`kept_${known.id}_key`)} ON ${saved} (${columnsOf(mapping, [])})`,
  );
  const { rows } = await records.query<{ name: string }>(
    "SELECT attname AS name FROM pg_catalog.pg_attribute WHERE attrelid = $1::regclass AND attnum > 0 AND NOT attisdropped",
    [saved],
  );
  const shared = columnsOf(
    mapping,
    facts.own.filter(({ name }) => rows.some((row) => row.name === name)),
  );
  const match = mapping.key.map(({ target: key }) => `k.${quote(key)} = t.${quote(key)}`).join(" AND ");
  await records.query(`DELETE FROM ${saved} AS k USING ${target} AS t WHERE ${match}`);
  await records.query(`INSERT INTO ${saved} (${shared}) SELECT ${shared} FROM ${target}`);
  await records.query(`ANALYZE ${saved}`);
}

/** Forgets what was saved of a table, once all of it is there again. */
export async function dropSaved(records: Records, source: string, table: string): Promise<void> {
  const { rows } = await records.query<{ id: number }>(
    "SELECT id FROM switchback.followed WHERE source = $1 AND name = $2",
    [source, table],
  );
  for (const row of rows) await records.query(`DROP TABLE IF EXISTS ${savedName(row)}`);
}

/** What is saved of tables that are being copied, by the source's name of the table. */
export async function savedColumns(
  client: pg.ClientBase,
  source: string,
): Promise<Map<string, NonNullable<TargetFacts["saved"]>>> {
  const { rows } = await client.query<{ id: number; name: string; columns: string[] }>(
    sql("postgres/saved-columns"),
    [source],
  );
  return new Map(rows.map((row) => [row.name, { relation: savedName(row), columns: row.columns }]));
}
