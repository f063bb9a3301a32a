// The mapping of a SQLite table onto a PostgreSQL table: which columns, which types, which codecs. It is
// decided once (mapping/decide.ts), stored in the target beside the copy, and read by everything that moves
// rows. It knows no SQL of either engine beyond the codecs'.
import type { Table } from "../schema.js";
import type { Codec } from "./codec.js";

/** The column that carries the rowid of a table without a usable key. */
export const ROWID_COLUMN = "_switchback_rowid";

export interface ColumnMapping {
  /** The SQLite expression to read, quoted: the column, or the rowid's alias for ROWID_COLUMN. */
  readonly source: string;
  /** The SQLite column's name; null for the rowid. */
  readonly column: string | null;
  /** The target column's name, unquoted. */
  readonly target: string;
  readonly codec: Codec;
  readonly notNull: boolean;
}

export interface TableMapping {
  readonly table: Table;
  readonly schema: string;
  /** The target table's name, unquoted. */
  readonly target: string;
  /** Every column that is written, in the target's order. Columns that PostgreSQL generates are not here. */
  readonly columns: readonly ColumnMapping[];
  /** The columns of `columns` that make up the key, in the key's order. Their target columns are the primary key. */
  readonly key: readonly ColumnMapping[];
}
