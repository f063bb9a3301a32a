// The sequences behind identity and serial columns: after a copy they stand at 1, and after a flip the next
// number must be above every one given out before, in either store.
import type pg from "pg";
import type { TableMapping } from "../../mapping/mapping.js";
import { quote } from "../../schema.js";
import { sql } from "../../sql.js";
import type { Marks } from "../store.js";
import { targetName } from "./merge.js";

export interface Sequence {
  readonly source: string;
  /** The table's name in the source. */
  readonly table: string;
  /** Quoted names, for SQL. */
  readonly target: string;
  readonly column: string;
  readonly sequence: string;
  /** True when the column counts the source's rows, so that the source's marks are about it. */
  readonly numbersRows: boolean;
}

/** Statements of this many sequences at a time, so that no text grows without bound. */
const GROUP = 500;

export async function readSequences(
  client: pg.ClientBase,
  tables: readonly { readonly source: string; readonly mapping: TableMapping }[],
): Promise<Sequence[]> {
  const { rows } = await client.query<{ place: number; column: string; sequence: string }>(
    sql("postgres/sequences"),
    [tables.map(({ mapping }) => targetName(mapping))],
  );
  return rows.flatMap(({ place, column, sequence }) => {
    const found = tables[place - 1];
    if (!found) return [];
    const { source, mapping } = found;
    const written = mapping.columns.find(({ target }) => target === column);
    return [
      {
        source,
        table: mapping.table.name,
        target: targetName(mapping),
        column: quote(column),
        sequence,
        numbersRows: written !== undefined && written.column === mapping.table.integerPrimaryKey,
      },
    ];
  });
}

/**
 * Lets each sequence go on after its table's largest value, after the mark where there is one, and after what it
 * gave out itself. Returns what each was set to; 0 for one that starts anew.
 */
export async function alignSequences(
  client: pg.ClientBase,
  sequences: readonly Sequence[],
  marks: Marks,
): Promise<Map<string, bigint>> {
  const set = new Map<string, bigint>();
  for (let i = 0; i < sequences.length; i += GROUP) {
    const group = sequences.slice(i, i + GROUP);
    const largest = group.map(({ source, table, target, column, numbersRows }, n) => {
      const mark = numbersRows ? (marks.get(source)?.get(table) ?? 0n) : 0n;
      const given = `pg_catalog.pg_sequence_last_value(($1::text[])[${n + 1}]::regclass)`;
      return `SELECT ${n} AS n, greatest((SELECT max(${column}) FROM ${target}), ${mark}, ${given}, 0) AS value`;
    });
    const names = group.map(({ sequence }) => sequence);
    const { rows } = await client.query<{ n: number; value: string }>(
      `SELECT n, value, setval(($1::text[])[n + 1]::regclass, greatest(value, 1), value >= 1)
         FROM (${largest.join(" UNION ALL ")}) AS x`,
      [names],
    );
    for (const { n, value } of rows) set.set(names[n] ?? "", BigInt(value));
  }
  return set;
}

/** The highest number that each sequence gave out. */
export async function readMarks(client: pg.ClientBase, sequences: readonly Sequence[]): Promise<Marks> {
  const counting = sequences.filter(({ numbersRows }) => numbersRows);
  const { rows } = await client.query<{ place: string; value: string | null }>(
    `SELECT n AS place, pg_catalog.pg_sequence_last_value(s::regclass) AS value
       FROM unnest($1::text[]) WITH ORDINALITY AS x(s, n)`,
    [counting.map(({ sequence }) => sequence)],
  );
  const marks = new Map<string, Map<string, bigint>>();
  for (const { place, value } of rows) {
    const found = counting[Number(place) - 1];
    if (!found || value === null) continue;
    const mine = marks.get(found.source) ?? new Map<string, bigint>();
    marks.set(found.source, mine.set(found.table, BigInt(value)));
  }
  return marks;
}
