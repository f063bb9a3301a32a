// The mapping of a SQLite table onto a PostgreSQL table: which columns, which types, which codecs. It is
// decided once (decide.ts), stored in the target beside the copy, and read by everything that moves rows. It
// knows no SQL of either engine beyond the codecs'.

import type { Codec } from "../codec/codec.js";
import { type CodecSpec, codecFor } from "../codec/registry.js";
import type { Table } from "../schema/model.js";

/** The column that carries the rowid of a table without a usable key. */
export const ROWID_COLUMN = "_switchback_rowid";

export interface ColumnMapping {
  /** The SQLite expression to read, quoted: the column, or the rowid's alias for ROWID_COLUMN. */
  readonly source: string;
  /** The SQLite column's name; null for the rowid. */
  readonly column: string | null;
  /** The target column's name, unquoted. */
  readonly target: string;
  /** The plain data from which `codec` was made. */
  readonly spec: CodecSpec;
  readonly codec: Codec;
  readonly notNull: boolean;
}

export interface TableMapping {
  readonly table: Table;
  readonly schema: string;
  /** The target table's name, unquoted. */
  readonly target: string;
  /** Every column that is written, in the target's order. Columns that PostgreSQL generates are not included. */
  readonly columns: readonly ColumnMapping[];
  /** The columns of `columns` that make up the key, in the key's order. Their target columns are the primary key. */
  readonly key: readonly ColumnMapping[];
}

/** A mapping as plain JSON data, for the target's catalogue and for worker threads. */
export interface TableMappingJson {
  readonly table: Table;
  readonly schema: string;
  readonly target: string;
  readonly columns: readonly Omit<ColumnMapping, "codec">[];
  /** The positions of the key's columns in `columns`. */
  readonly key: readonly number[];
}

export function mappingToJson(mapping: TableMapping): TableMappingJson {
  return {
    table: mapping.table,
    schema: mapping.schema,
    target: mapping.target,
    columns: mapping.columns.map(({ codec: _, ...column }) => column),
    key: mapping.key.map((column) => mapping.columns.indexOf(column)),
  };
}

/** The inverse of `mappingToJson`. `json` must come from it; PostgreSQL's jsonb may have reordered its keys. */
export function mappingFromJson(json: TableMappingJson): TableMapping {
  const columns = json.columns.map((column) => ({ ...column, codec: codecFor(column.spec) }));
  const key = json.key.map((i) => {
    const column = columns[i];
    if (!column) throw new Error(`the stored mapping of ${json.table.name} names a key column it lacks`);
    return column;
  });
  return { table: json.table, schema: json.schema, target: json.target, columns, key };
}
