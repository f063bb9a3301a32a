// A view of the target at one position. In a REPEATABLE READ transaction, rows of the source are staged and compared
// with the copy, in PostgreSQL's own types and by PostgreSQL itself. It changes nothing but temporary tables, and
// always rolls back.
import type pg from "pg";
import type { ColumnMapping, TableMapping } from "../../mapping/mapping.js";
import { at, only } from "../../present.js";
import type { Chunk, Difference, EncodedRow, Position, TableWindow, View } from "../../protocol/contract.js";
import { quote } from "../../schema/model.js";
import { postgresError } from "../connection.js";
import { copyInto, csvOf } from "./copy.js";
import { copyStage, createStage, qualifiedName } from "./merge.js";
import { arraysOf, copyArrayStage, createArrayStage, isWide, typedStage } from "./staged-rows.js";

/** Differing keys brought back, a kind and a table. */
const KEYS_MAX = 10_000;
const KINDS = ["missing", "extra", "different"] as const;

export async function openView(
  client: pg.Client,
  source: string,
  mappingOf: (table: string) => TableMapping,
): Promise<View> {
  try {
    await client.query("BEGIN ISOLATION LEVEL REPEATABLE READ");
    await client.query("SET LOCAL work_mem = '64MB'");
    const { rows } = await client.query<{ position: string }>(
      "SELECT position FROM switchback.source WHERE name = $1",
      [source],
    );
    const position = Number(only(rows, `record of source ${source}`).position);
    return new PostgresView(client, position, mappingOf);
  } catch (error) {
    await client.query("ROLLBACK").catch(() => {});
    throw postgresError(error);
  }
}

/** A temporary table, and how its rows are read as c0 … cn. */
interface Stage {
  readonly name: string;
  readonly rows: string;
}

class PostgresView implements View {
  private stages = 0;

  constructor(
    private readonly client: pg.Client,
    readonly position: Position,
    private readonly mappingOf: (table: string) => TableMapping,
  ) {}

  async compareAll(
    table: string,
    rows: AsyncIterable<Chunk>,
    exempt: () => TableWindow | null,
  ): Promise<Difference & { readonly target: number }> {
    return this.guard(async () => {
      const mapping = this.mappingOf(table);
      const staged = await this.stage(mapping.columns, csvOfChunks(rows));
      const spared = await this.stageKeys(mapping, exempt());
      await this.client.query(`ANALYZE pg_temp.${quote(staged.name)}`);
      const match = matchKeys(mapping, "t", (i) => `s.c${columnIndex(mapping, i)}`);
      const sparing = (alias: "s" | "t") => notSpared(mapping, spared, alias);
      const key = (alias: "s" | "t") => keyArray(mapping, alias);
      const target = qualifiedName(mapping);
      const stage = staged.rows;
      const noTarget = `t.${quote(at(mapping.key, 0, "key column").target)} IS NULL`;
      const found = await this.collect({
        missing: `SELECT ${key("s")} AS key FROM ${stage} s LEFT JOIN ${target} t ON ${match} WHERE ${noTarget} AND ${sparing("s")}`,
        extra: `SELECT ${key("t")} AS key FROM ${target} t LEFT JOIN ${stage} s ON ${match} WHERE s.c${columnIndex(mapping, 0)} IS NULL AND ${sparing("t")}`,
        different: `SELECT ${key("s")} AS key FROM ${stage} s JOIN ${target} t ON ${match} WHERE ${differs(mapping)} AND ${sparing("s")}`,
      });
      const { rows: counted } = await this.client.query<{ count: string }>(`SELECT count(*) FROM ${target}`);
      await this.drop(staged, spared);
      return { ...found, target: Number(only(counted, "count").count) };
    });
  }

  async compareWindow(window: TableWindow, exempt: TableWindow | null): Promise<Difference> {
    return this.guard(async () => {
      const mapping = this.mappingOf(window.table);
      const staged = await this.stage(mapping.columns, csvOf(window.rows));
      const gone = await this.stage(mapping.key, csvOf(window.gone));
      const spared = await this.stageKeys(mapping, exempt);
      const match = matchKeys(mapping, "t", (i) => `s.c${columnIndex(mapping, i)}`);
      const sparing = (alias: "s" | "t") => notSpared(mapping, spared, alias);
      const target = qualifiedName(mapping);
      const stage = staged.rows;
      const noTarget = `t.${quote(at(mapping.key, 0, "key column").target)} IS NULL`;
      const found = await this.collect({
        missing: `SELECT ${keyArray(mapping, "s")} AS key FROM ${stage} s LEFT JOIN ${target} t ON ${match} WHERE ${noTarget} AND ${sparing("s")}`,
        extra: `SELECT ${keyArray(mapping, "t")} AS key FROM ${gone.rows} g JOIN ${target} t ON ${matchKeys(mapping, "t", (i) => `g.c${i}`)} WHERE ${sparing("t")}`,
        different: `SELECT ${keyArray(mapping, "s")} AS key FROM ${stage} s JOIN ${target} t ON ${match} WHERE ${differs(mapping)} AND ${sparing("s")}`,
      });
      await this.drop(staged, gone, spared);
      return found;
    });
  }

  async close(): Promise<void> {
    await this.client.query("ROLLBACK").catch(() => {});
  }

  private async collect(queries: Record<(typeof KINDS)[number], string>): Promise<Difference> {
    const counts = { missing: 0, extra: 0, different: 0 };
    const keys: { kind: (typeof KINDS)[number]; key: EncodedRow }[] = [];
    for (const kind of KINDS) {
      // Counting and naming in one pass: the window function numbers every row, the outer query keeps the first.
      const { rows } = await this.client.query<{ key: (string | null)[]; total: string }>(
        `SELECT key, count(*) OVER () AS total FROM (${queries[kind]}) AS d LIMIT ${KEYS_MAX}`,
      );
      // No row where nothing differs.
      counts[kind] = Number(rows[0]?.total ?? 0);
      keys.push(...rows.map(({ key }) => ({ kind, key })));
    }
    return { ...counts, keys };
  }

  private async stage(columns: readonly ColumnMapping[], csv: AsyncIterable<Uint8Array>): Promise<Stage> {
    const name = `switchback_view_${this.stages++}`;
    if (isWide(columns)) {
      await this.client.query(createArrayStage(name));
      await copyInto(this.client, copyArrayStage(name), arraysOf(csv));
      return { name, rows: typedStage(name, columns) };
    }
    await this.client.query(createStage(name, columns));
    await copyInto(this.client, copyStage(name, columns), csv);
    return { name, rows: `pg_temp.${quote(name)}` };
  }

  /** The keys of a window, present rows and gone ones alike. */
  private async stageKeys(mapping: TableMapping, window: TableWindow | null): Promise<Stage> {
    const keys = await this.stage(mapping.key, csvOf(window?.gone ?? { kind: "values", values: [] }));
    if (window) {
      const rows = await this.stage(mapping.columns, csvOf(window.rows));
      const list = mapping.key.map((_, i) => `c${columnIndex(mapping, i)}`).join(", ");
      await this.client.query(
        `INSERT INTO pg_temp.${quote(keys.name)} SELECT ${list} FROM ${rows.rows} AS r`,
      );
      await this.drop(rows);
    }
    await this.client.query(`ANALYZE pg_temp.${quote(keys.name)}`);
    return keys;
  }

  private async drop(...stages: Stage[]): Promise<void> {
    for (const { name } of stages) await this.client.query(`DROP TABLE pg_temp.${quote(name)}`);
  }

  private async guard<T>(work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (error) {
      throw postgresError(error);
    }
  }
}

/** The staged rows that the target does not have alike, by key. All of them: a caller leaves out quarantined ones. */
export function differing(mapping: TableMapping, staged: string): string {
  const match = matchKeys(mapping, "t", (i) => `s.c${columnIndex(mapping, i)}`);
  const absent = `t.${quote(at(mapping.key, 0, "key column").target)} IS NULL`;
  return `SELECT CASE WHEN ${absent} THEN 'missing' ELSE 'different' END AS kind, ${keyArray(mapping, "s")} AS key
    FROM ${staged} AS s LEFT JOIN ${qualifiedName(mapping)} AS t ON ${match}
   WHERE ${absent} OR ${differs(mapping)}`;
}

/** Where the key's i-th column stands among all columns. */
function columnIndex(mapping: TableMapping, i: number): number {
  return mapping.columns.findIndex((column) => column.target === at(mapping.key, i, "key column").target);
}

function matchKeys(mapping: TableMapping, alias: string, other: (i: number) => string): string {
  return mapping.key.map((column, i) => `${alias}.${quote(column.target)} = ${other(i)}`).join(" AND ");
}

function keyArray(mapping: TableMapping, alias: "s" | "t"): string {
  const values = mapping.key.map((column, i) =>
    alias === "t" ? `t.${quote(column.target)}` : `s.c${columnIndex(mapping, i)}`,
  );
  return `ARRAY[${values.map((value) => `${value}::text`).join(", ")}]`;
}

function notSpared(mapping: TableMapping, spared: Stage, alias: "s" | "t"): string {
  const own = (i: number) =>
    alias === "t" ? `t.${quote(at(mapping.key, i, "key column").target)}` : `s.c${columnIndex(mapping, i)}`;
  const match = mapping.key.map((_, i) => `x.c${i} = ${own(i)}`).join(" AND ");
  return `NOT EXISTS (SELECT 1 FROM ${spared.rows} x WHERE ${match})`;
}

/**
 * True when any value is not the one that the other store holds. Equality alone would pass -0 for 0 and, in a column
 * of any type, 1.0 for 1. The text alone would tell 19.90 from 19.9, which SQLite cannot, so that no repair would
 * help.
 */
function differs(mapping: TableMapping): string {
  const tests = mapping.columns.map((column, i) => {
    const [staged, held] = [`s.c${i}`, `t.${quote(column.target)}`];
    return compared(column)
      .map((exact) => `${exact(staged)} IS DISTINCT FROM ${exact(held)}`)
      .join(" OR ");
  });
  return `(${tests.join(" OR ")})`;
}

/** What must be the same of two values. */
function compared({ codec: { name, type } }: ColumnMapping): ((value: string) => string)[] {
  if (/^double/i.test(type)) return [(value) => `float8send(${value})`];
  if (/^(real|float4)/i.test(type)) return [(value) => `float4send(${value})`];
  if (name === "any") return [(value) => value, isReal];
  if (/^(json|char)/i.test(type)) return [(value) => `${value}::text`];
  return /^(text|varchar)/i.test(type) ? [(value) => `${value} COLLATE "C"`] : [(value) => value];
}

/** In a column of any type: a number with a point is SQLite's REAL, one without its INTEGER. */
function isReal(value: string): string {
  return `(jsonb_typeof(${value}) = 'number' AND ${value}::text LIKE '%.%')`;
}

async function* csvOfChunks(chunks: AsyncIterable<Chunk>): AsyncGenerator<Uint8Array> {
  for await (const chunk of chunks) if (chunk.rows > 0) yield chunk.csv;
}
