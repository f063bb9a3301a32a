// The sequences behind columns: identities, serials, and defaults that name a sequence, which tables may share. After a
// copy they stand at 1, and after a flip the next number must be above every one given out before, in either store.
import type pg from "pg";
import type { Finding } from "../findings.js";
import type { TableMapping } from "../mapping/mapping.js";
import { at } from "../present.js";
import type { IdCeilings } from "../protocol/contract.js";
import { quote } from "../schema/model.js";
import { sql } from "../sql-files.js";
import { qualifiedName } from "./target/merge.js";

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

/** Why the next number of a sequence cannot be told or set. */
type SequenceObstacle = "unknown" | "expression" | "descending" | "rights";

interface SequenceRow {
  readonly place: number;
  readonly column: string;
  readonly expression: string | null;
  readonly sequence: string | null;
  readonly obstacle: SequenceObstacle | null;
}

async function readRows(
  client: pg.ClientBase,
  mappings: readonly TableMapping[],
): Promise<readonly SequenceRow[]> {
  return (await client.query<SequenceRow>(sql("postgres/sequences"), [mappings.map(qualifiedName)])).rows;
}

/** The sequences that can be set; one that the role may not set is among them, so that setting it fails aloud. */
export async function readSequences(
  client: pg.ClientBase,
  tables: readonly { readonly source: string; readonly mapping: TableMapping }[],
): Promise<Sequence[]> {
  const rows = await readRows(
    client,
    tables.map(({ mapping }) => mapping),
  );
  return rows.flatMap(({ place, column, sequence, obstacle }) => {
    if (sequence === null || (obstacle !== null && obstacle !== "rights")) return [];
    const { source, mapping } = at(tables, place - 1, "table");
    const written = mapping.columns.find(({ target }) => target === column);
    return [
      {
        source,
        table: mapping.table.name,
        target: qualifiedName(mapping),
        column: quote(column),
        sequence,
        numbersRows: written !== undefined && written.column === mapping.table.integerPrimaryKey,
      },
    ];
  });
}

const OBSTACLES: Readonly<Record<SequenceObstacle, readonly [what: string, remedy: string]>> = {
  unknown: [
    "takes its numbers from where the catalogue does not tell",
    "Write the default as nextval('the_sequence'); or set the sequence yourself right after the cutover.",
  ],
  expression: [
    "computes its numbers, so that the sequence's next number cannot be told from the rows",
    "Write the default as nextval('the_sequence'); or set the sequence yourself right after the cutover.",
  ],
  descending: ["counts downwards", "Set the sequence yourself right after the cutover."],
  rights: ["takes its numbers from a sequence that the role may not set", "Grant UPDATE on the sequence."],
};

/** What stands in the way of numbers that continue after the cutover, as findings of `check`. */
export async function sequenceFindings(
  client: pg.ClientBase,
  mappings: readonly TableMapping[],
): Promise<Omit<Finding, "source">[]> {
  const rows = await readRows(client, mappings);
  return rows.flatMap(({ place, column, expression, sequence, obstacle }) => {
    if (obstacle === null) return [];
    const [what, remedy] = OBSTACLES[obstacle];
    const named = [expression === null ? [] : `default ${expression}`, sequence ?? []].flat().join(", ");
    return {
      severity: obstacle === "rights" ? ("blocker" as const) : ("warning" as const),
      code: "sequence-not-set",
      table: at(mappings, place - 1, "table").table.name,
      column,
      message: `${column} in PostgreSQL (${named}) ${what}; switchback cannot set it at the cutover`,
      remedy,
    };
  });
}

/**
 * Lets each sequence continue after the largest value of every column that it numbers, after the mark where there is
 * one, and after what it gave out itself. Returns what each was set to; 0 for one that starts again.
 */
export async function alignSequences(
  client: pg.ClientBase,
  sequences: readonly Sequence[],
  marks: IdCeilings,
): Promise<Map<string, bigint>> {
  const set = new Map<string, bigint>();
  const names = [...new Set(sequences.map(({ sequence }) => sequence))];
  for (let i = 0; i < names.length; i += GROUP) {
    const group = names.slice(i, i + GROUP);
    const largest = sequences
      .filter(({ sequence }) => group.includes(sequence))
      .map(({ source, table, target, column, numbersRows, sequence }) => {
        const mark = numbersRows ? (marks.get(source)?.get(table) ?? 0n) : 0n;
        return `SELECT ${group.indexOf(sequence) + 1} AS n, greatest((SELECT max(${column}) FROM ${target}), ${mark}) AS value`;
      });
    const { rows } = await client.query<{ n: number; value: string }>(
      `SELECT n, value, setval(($1::text[])[n]::regclass, greatest(value, 1), value >= 1)
         FROM (SELECT n, greatest(max(value), pg_catalog.pg_sequence_last_value(($1::text[])[n]::regclass), 0)::bigint AS value
                 FROM (${largest.join(" UNION ALL ")}) AS x GROUP BY n) AS y`,
      [group],
    );
    for (const { n, value } of rows) set.set(at(group, n - 1, "sequence"), BigInt(value));
  }
  return set;
}

/** The highest number that each sequence gave out. */
export async function readIdCeilings(
  client: pg.ClientBase,
  sequences: readonly Sequence[],
): Promise<IdCeilings> {
  const counting = sequences.filter(({ numbersRows }) => numbersRows);
  const { rows } = await client.query<{ place: string; value: string | null }>(
    sql("postgres/sequence-values"),
    [counting.map(({ sequence }) => sequence)],
  );
  const marks = new Map<string, Map<string, bigint>>();
  for (const { place, value } of rows) {
    // A sequence that gave out nothing yet.
    if (value === null) continue;
    const found = at(counting, Number(place) - 1, "sequence");
    const mine = marks.get(found.source) ?? new Map<string, bigint>();
    marks.set(found.source, mine.set(found.table, BigInt(value)));
  }
  return marks;
}
