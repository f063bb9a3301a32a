// The copy at one position: a read transaction that holds on to what was there, while the target moves on in other
// sessions. It is counted, and some rows at a time are compared with the source's.
import type pg from "pg";
import { Refusal } from "../../codec/codec.js";
import type { PostgresConfig } from "../../config/config.js";
import { SwitchbackError } from "../../errors.js";
import { keyNames } from "../../mapping/key-spellings.js";
import type { TableMapping } from "../../mapping/mapping.js";
import { decodeKey } from "../../mapping/row-format.js";
import type {
  Chunk,
  Difference,
  EncodedRow,
  Position,
  RowsHeld,
  TargetSnapshot,
} from "../../protocol/contract.js";
import { quote } from "../../schema/model.js";
import { sql } from "../../sql-files.js";
import { cancelStatements, postgresError } from "../connection.js";
import { differing } from "./compare-view.js";
import { copyInto } from "./copy.js";
import { copyStage, createStage, qualifiedName } from "./merge.js";
import { arraysOf, copyArrayStage, createArrayStage, isWide, typedStage } from "./staged-rows.js";

interface SnapshotOptions {
  readonly client: pg.Client;
  readonly config: PostgresConfig;
  readonly source: string;
  readonly position: Position;
  mappingOf(table: string): TableMapping;
  /** The session is free again. */
  done(): void;
}

const QUARANTINED = sql("postgres/quarantined-count");
const QUARANTINED_AMONG =
  "SELECT key FROM switchback.quarantine WHERE source = $1 AND table_name = $2 AND key = ANY ($3)";
/** The staged rows are few and were never analyzed: without this the planner reads the whole table for them. */
const BY_INDEX = "SET LOCAL enable_hashjoin = off; SET LOCAL enable_mergejoin = off";

/** @throws SwitchbackError POSITION_CONFLICT when the target stands elsewhere; POSTGRES_* */
export async function openTargetSnapshot(options: SnapshotOptions): Promise<TargetSnapshot> {
  const snapshot = new PostgresSnapshot(options);
  await snapshot.begin();
  return snapshot;
}

class PostgresSnapshot implements TargetSnapshot {
  private closed = false;
  private cancelled = false;
  private readonly made = new Map<TableMapping, string>();

  constructor(private readonly options: SnapshotOptions) {}

  async begin(): Promise<void> {
    const { client, source, position } = this.options;
    try {
      await client.query("BEGIN ISOLATION LEVEL REPEATABLE READ");
      const { rows } = await client.query<{ position: string }>(
        "SELECT position FROM switchback.source WHERE name = $1",
        [source],
      );
      const found = Number(rows[0]?.position ?? -1);
      if (found !== position)
        throw new SwitchbackError("POSITION_CONFLICT", `the copy is at ${found}, not at ${position}`);
    } catch (error) {
      await this.close();
      throw postgresError(error);
    }
  }

  async count(tables: readonly string[]): Promise<ReadonlyMap<string, RowsHeld>> {
    const { client, source, mappingOf } = this.options;
    const counts = new Map<string, RowsHeld>();
    for (const table of tables) {
      this.assertWanted();
      const { rows } = await client.query<Record<keyof RowsHeld, string>>(
        `SELECT (SELECT count(*) FROM ${qualifiedName(mappingOf(table))}) AS rows, (${QUARANTINED}) AS quarantined`,
        [source, table],
      );
      const [row] = rows;
      counts.set(table, { rows: Number(row?.rows), quarantined: Number(row?.quarantined) });
    }
    return counts;
  }

  async compare(table: string, chunks: AsyncIterable<Chunk>): Promise<Difference> {
    const { client, mappingOf } = this.options;
    const mapping = mappingOf(table);
    const rows = await this.stage(mapping, chunks);
    this.assertWanted();
    await client.query(BY_INDEX);
    const { rows: found } = await client.query<{ kind: "missing" | "different"; key: (string | null)[] }>(
      differing(mapping, rows),
    );
    const quarantined = await this.quarantined(
      mapping,
      found.map(({ key }) => key),
    );
    const keys = found.filter(({ key }) => !quarantined.has(key));
    const count = (kind: "missing" | "different") => keys.filter((one) => one.kind === kind).length;
    return { missing: count("missing"), extra: 0, different: count("different"), keys };
  }

  /** Which of these rows are known not to be there. */
  private async quarantined(
    mapping: TableMapping,
    keys: readonly EncodedRow[],
  ): Promise<ReadonlySet<EncodedRow>> {
    if (keys.length === 0) return new Set();
    const names = new Map<string, EncodedRow>();
    for (const key of keys) {
      const values = decodeKey(mapping, key);
      if (values instanceof Refusal) continue;
      for (const name of keyNames(mapping, values, "two")) names.set(name, key);
    }
    const { client, source } = this.options;
    const { rows } = await client.query<{ key: string }>(QUARANTINED_AMONG, [
      source,
      mapping.table.name,
      [...names.keys()],
    ]);
    const found = new Set<EncodedRow>();
    for (const { key } of rows) {
      const row = names.get(key);
      if (row) found.add(row);
    }
    return found;
  }

  /** A cancellation between two statements would reach none. */
  private assertWanted(): void {
    if (this.cancelled) throw new SwitchbackError("POSTGRES_TRANSIENT", "the comparison was given up");
  }

  cancel(): Promise<void> {
    this.cancelled = true;
    return cancelStatements(this.options.config, [this.options.client]);
  }

  /** A commit empties the staging tables and keeps the new ones. */
  async close(): Promise<void> {
    if (this.closed) return;
    this.closed = true;
    const { client, done } = this.options;
    const ended = await client.query("COMMIT").catch(() => null);
    if (ended?.command === "COMMIT")
      for (const [mapping, name] of this.made) stagesOf(client).set(mapping, name);
    done();
  }

  /** Stages rows; returns how they are read as c0 … cn. */
  private async stage(mapping: TableMapping, chunks: AsyncIterable<Chunk>): Promise<string> {
    const { client } = this.options;
    const { columns } = mapping;
    const kept = stagesOf(client).get(mapping) ?? this.made.get(mapping);
    const name = kept ?? `switchback_compare_${made++}`;
    const wide = isWide(columns);
    if (kept === undefined) {
      await client.query(
        wide ? createArrayStage(name, "DELETE ROWS") : createStage(name, columns, "DELETE ROWS"),
      );
      this.made.set(mapping, name);
    }
    const csv = csvOf(chunks);
    if (wide) await copyInto(client, copyArrayStage(name), arraysOf(csv));
    else await copyInto(client, copyStage(name, columns), csv);
    return wide ? typedStage(name, columns) : `pg_temp.${quote(name)}`;
  }
}

/** The staging tables of a session, by mapping: each is made once, because making one adds rows to the catalogues. */
const stages = new WeakMap<pg.Client, Map<TableMapping, string>>();
let made = 0;

function stagesOf(client: pg.Client): Map<TableMapping, string> {
  const known = stages.get(client) ?? new Map<TableMapping, string>();
  stages.set(client, known);
  return known;
}

async function* csvOf(chunks: AsyncIterable<Chunk>): AsyncGenerator<Uint8Array> {
  for await (const { csv, rows } of chunks) if (rows > 0) yield csv;
}
