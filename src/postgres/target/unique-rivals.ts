// Finds the rows that keep others out: those that hold a value of a unique or exclusion index that a refused row has
// too. The refused rows are put into a table like the target, without its constraints. So PostgreSQL itself computes
// what its indexes see of them: expressions, predicates and generated columns included.
import type pg from "pg";
import type { TableMapping } from "../../mapping/mapping.js";
import {
  type EncodedRow,
  type KeysByTable,
  type Position,
  StaleRows,
  type Window,
} from "../../protocol/contract.js";
import { quote } from "../../schema/model.js";
import { sql } from "../../sql-files.js";
import { interchanged } from "../source/queries.js";
import { keyMatch, qualifiedName, type TargetFacts, writeRows } from "./merge.js";
import { arrayRelation } from "./staged-rows.js";

/** So many rows at most: where more are in the way, the target is stricter than the source, not stale. */
const RIVALS_MAX = 10_000;

/** What a window read again: what stands under those keys at its position is the source's own. */
export class Confirmed {
  private readonly keys = new Set<string>();

  constructor(private readonly window: Window | null) {
    for (const [table, rows] of window?.doubted ?? [])
      for (const row of rows) this.keys.add(JSON.stringify([table, row]));
  }

  /** @throws StaleRows naming those among `rivals` that were not read again at that position */
  assertNoOther(rivals: KeysByTable, position: Position): void {
    const here = this.window?.to === position;
    if (here && this.keys.size >= RIVALS_MAX) return;
    const stale = new Map<string, EncodedRow[]>();
    for (const [table, rows] of rivals) {
      const unread = rows.filter((row) => !(here && this.keys.has(JSON.stringify([table, row]))));
      if (unread.length > 0) stale.set(table, unread);
    }
    if (stale.size > 0) throw new StaleRows(stale);
  }
}

interface UniqueIndex {
  readonly predicate: string | null;
  readonly nulls_equal: boolean;
  readonly terms: readonly {
    readonly expression: string;
    readonly operator: string | null;
    readonly collation: string | null;
  }[];
}

/** The keys, in the interchange form, of rows outside the stage that conflict with the staged rows numbered `refused`. */
export async function rivalsOf(
  client: pg.Client,
  mapping: TableMapping,
  facts: TargetFacts,
  stage: string,
  refused: readonly string[],
): Promise<EncodedRow[]> {
  const like = `${stage}_like`;
  await client.query(
    `CREATE TEMP TABLE ${quote(like)} (LIKE ${qualifiedName(mapping)} INCLUDING DEFAULTS INCLUDING GENERATED) ON COMMIT DROP`,
  );
  await letNullsIn(client, mapping, like);
  const those = `(SELECT * FROM pg_temp.${quote(stage)} WHERE n = ANY ($1::bigint[])) AS s`;
  const write = writeRows(
    mapping,
    { ...facts, upserts: false },
    `${arrayRelation(mapping.columns, "s.v", those, false)} AS x`,
    false,
  );
  await client.query(write.replace(qualifiedName(mapping), `pg_temp.${quote(like)}`), [refused]);
  const { rows: indexes } = await client.query<UniqueIndex>(sql("postgres/unique-terms"), [
    qualifiedName(mapping),
  ]);
  const rivals = new Map<string, EncodedRow>();
  for (const index of indexes) {
    if (index.terms.some(({ operator }) => operator === null)) continue;
    const { rows } = await client.query<(string | null)[]>({
      text: conflicting(mapping, index, like, stage),
      rowMode: "array",
      types: { getTypeParser: () => (text: string) => text },
    });
    for (const row of rows) {
      const key = interchanged(mapping.key, row);
      rivals.set(JSON.stringify(key), key);
    }
  }
  await client.query(`DROP TABLE pg_temp.${quote(like)}`);
  return [...rivals.values()].slice(0, RIVALS_MAX);
}

/** Columns that only the target has may have no default. */
async function letNullsIn(client: pg.Client, mapping: TableMapping, like: string): Promise<void> {
  const { rows } = await client.query<{ name: string }>(
    "SELECT attname AS name FROM pg_catalog.pg_attribute WHERE attrelid = $1::regclass AND attnum > 0 AND attnotnull",
    [`pg_temp.${quote(like)}`],
  );
  const own = rows.filter(({ name }) => !mapping.columns.some(({ target }) => target === name));
  for (const { name } of own)
    await client.query(`ALTER TABLE pg_temp.${quote(like)} ALTER COLUMN ${quote(name)} DROP NOT NULL`);
}

function conflicting(mapping: TableMapping, index: UniqueIndex, like: string, stage: string): string {
  const term = (i: number) => quote(`switchback ${i}`);
  const terms = index.terms.map(({ expression }, i) => `(${expression}) AS ${term(i)}`).join(", ");
  const where = index.predicate === null ? "" : ` WHERE ${index.predicate}`;
  const keys = mapping.key.map(({ target }) => quote(target));
  const conflicts = index.terms.map(({ operator, collation }, i) => {
    const equal = `t.${term(i)} ${operator} n.${term(i)}${collation ?? ""}`;
    return index.nulls_equal ? `(${equal} OR (t.${term(i)} IS NULL AND n.${term(i)} IS NULL))` : equal;
  });
  const staged = arrayRelation(mapping.columns, "s.v", `pg_temp.${quote(stage)} AS s`, false);
  return `SELECT DISTINCT ${keys.map((key) => `t.${key}`).join(", ")}
    FROM (SELECT ${keys.join(", ")}, ${terms} FROM ${qualifiedName(mapping)}${where}) AS t
    JOIN (SELECT ${terms} FROM pg_temp.${quote(like)}${where}) AS n ON ${conflicts.join(" AND ")}
   WHERE NOT EXISTS (SELECT 1 FROM ${staged} AS x WHERE ${keyMatch(mapping, false).join(" AND ")})
   LIMIT ${RIVALS_MAX}`;
}
