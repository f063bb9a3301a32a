// What a verification asks of the direction that it proves. verification-forward.ts answers while SQLite has the
// writes, verification-reverse.ts while PostgreSQL has them; verification.ts judges either in the same way.
import type pg from "pg";
import type { PostgresConfig, SourceConfig } from "../config/config.js";
import type { SwitchbackError } from "../errors.js";
import type { TableMapping } from "../mapping/mapping.js";
import type { ShapeDifference } from "../postgres/ddl/shape-difference.js";
import type { Records } from "../postgres/records.js";
import type { Comparison } from "../protocol/compare.js";
import type { KeysByTable } from "../protocol/contract.js";
import type { SqliteSource } from "../sqlite/source/source.js";
import type { Quarantined } from "../sqlite/target/copy-record.js";

export interface VerifyOptions {
  readonly source: SourceConfig;
  readonly postgres: PostgresConfig;
  /** Only this table; all when undefined. */
  readonly table: string | undefined;
  readonly signal: AbortSignal;
  /** How long a lock in SQLite may block the process; short where it also follows and answers. */
  readonly patienceMs?: number;
  /** Applies what is logged when no sidecar does. */
  catchUp(): Promise<void>;
  /** What keeps a sidecar that runs from following, or null. */
  halted?(): SwitchbackError | null;
}

/** Both stores, open for reading. */
export interface OpenStores {
  readonly file: SqliteSource;
  readonly client: pg.Client;
  readonly records: Records;
  /** The tables to compare, by name. */
  readonly mappings: ReadonlyMap<string, TableMapping>;
}

export interface VerifiedDirection {
  /** The store that has the writes. */
  readonly writes: "sqlite" | "postgres";
  /** A sidecar must carry changes over, or there is nothing to compare. */
  assertFollowed(): Promise<void>;
  /** Compares the tables, naming at most `keysMax` keys per table. Missing rows are missing in the copy. */
  compare(keysMax: number): Promise<Comparison>;
  /** How many rows of a table the copy cannot hold, and at most `most` of them. */
  quarantined(table: string, most: number): Promise<{ count: number; rows: readonly Quarantined[] }>;
  /** Where a target table is not what a fresh copy would be. */
  shapes(): Promise<readonly ShapeDifference[]>;
  /** Has quarantined rows written again, where a reason may have gone away that no change of the row shows. */
  retryQuarantined(): Promise<void>;
  /** Has the rows of these keys written again, and waits until they are. */
  rewrite(keys: KeysByTable): Promise<void>;
}

/** A sidecar that follows is a few milliseconds behind; one that is away never arrives. */
export const SETTLE_MS = 15_000;
/** Keys repaired at a time; more differences take more rounds. */
export const REPAIR_KEYS = 10_000;
export const REPAIR_WAIT_MS = 60_000;

export function mappingOf({ mappings }: OpenStores, table: string): TableMapping {
  const mapping = mappings.get(table);
  if (!mapping) throw new Error(`table ${table} is not compared`);
  return mapping;
}
