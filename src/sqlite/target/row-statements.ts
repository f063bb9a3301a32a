// The prepared statements that read and write one table's rows by key, and SQLite's reason for a row that it
// cannot hold. Values have SQLite's form here; table-writer.ts translates them from PostgreSQL's.
//
// Every write says OR ABORT: the table's own DDL may say REPLACE or ROLLBACK, which would evict rows or end
// the transaction. Every write is counted: it affects exactly one row, or fails.
import Database from "better-sqlite3";
import type { SqliteValue } from "../../codec/codec.js";
import { exactValues, StoredText } from "../../codec/stored-text.js";
import { SwitchbackError } from "../../errors.js";
import { sameZeros, spelledColumns } from "../../mapping/key-spellings.js";
import type { ColumnMapping, TableMapping } from "../../mapping/mapping.js";
import { keyIndexes } from "../../mapping/row-format.js";
import { columnOf, quote, type Table } from "../../schema/model.js";
import { exactList, fromTable } from "../source/queries.js";

/** UPDATEs differ by the columns they set; beyond this many the cache starts empty again. */
const UPDATES_MAX = 128;

/** Why SQLite cannot hold a row, as the operator reads it. */
export interface Fault {
  readonly column: string | null;
  readonly reason: string;
}

/** The result of a write: `collided` when another row has one of the row's unique values at the moment. */
export type WriteOutcome = "written" | { readonly kind: "collided" | "refused"; readonly fault: Fault };

const COLLIDED: WriteOutcome = {
  kind: "collided",
  fault: { column: null, reason: "SQLite refuses it: another row holds one of its unique values" },
};

export interface PresentRow {
  /** In the order of `mapping.columns`. */
  readonly values: readonly SqliteValue[];
  /** The rowid where it is reachable and no column of the mapping; else null. */
  readonly rowid: bigint | null;
}

export class RowStatements {
  /** The positions of the writable columns in `mapping.columns`. */
  readonly writable: readonly number[];
  /** The positions of the columns that SQLite computes. */
  readonly computed: readonly number[];
  private readonly rowidSource: string | null;
  private readonly finding: Database.Statement<unknown[]>;
  private readonly deleting: Database.Statement<unknown[]>;
  private readonly inserting: Database.Statement<unknown[]>;
  private readonly updates = new Map<string, Database.Statement<unknown[]>>();
  private readonly match: string;
  /** How often each key value is bound. */
  private readonly uses: readonly number[];
  private readonly text: StoredText;
  private readonly keyPlaces: readonly number[];
  /** True when two keys of PostgreSQL may be one key to SQLite. */
  private readonly spelled: boolean;

  constructor(
    private readonly db: Database.Database,
    private readonly mapping: TableMapping,
  ) {
    const { table, columns } = mapping;
    this.text = StoredText.of(db);
    this.keyPlaces = keyIndexes(mapping);
    this.spelled = spelledColumns(mapping).length > 0;
    const places = columns.map((_, i) => i);
    this.computed = places.filter((i) => isComputed(table, columns[i]));
    this.writable = places.filter((i) => !this.computed.includes(i));
    this.rowidSource = hiddenRowid(mapping);
    const terms = mapping.key.map((column) => keyTerms(table, column, this.text.slot));
    this.match = terms.flat().join(" AND ");
    this.uses = terms.map((list) => list.length);
    const rowid = this.rowidSource === null ? "NULL" : `r.${this.rowidSource}`;
    this.finding = this.prepare(
      `SELECT ${exactList(columns)}, ${rowid} FROM ${fromTable(table)} WHERE ${this.match}`,
    ).raw();
    this.deleting = this.prepare(`DELETE FROM ${fromTable(table)} WHERE ${this.match}`);
    this.inserting = this.prepare(this.insertion("ABORT"));
  }

  /**
   * The row with that key, byte for byte. A row whose key is equal only to SQLite, as -0.0 is to 0, is
   * another row of PostgreSQL: overwriting or deleting it would lose it.
   */
  find(key: readonly SqliteValue[]): PresentRow | null {
    const row = this.finding.get(...this.bound(key)) as unknown[] | undefined;
    if (!row) return null;
    const count = this.mapping.columns.length;
    const values = this.text.values(row, count);
    const own = this.keyPlaces.map((i) => values[i] ?? null);
    if (!sameZeros(this.mapping, own, key)) return null;
    return { values, rowid: row[count + 1] as bigint | null };
  }

  /** The row need not exist. @throws SwitchbackError COUNT_MISMATCH when it exists and stays */
  delete(key: readonly SqliteValue[]): void {
    if (this.spelled && this.find(key) === null) return;
    const { changes } = this.deleting.run(...this.bound(key));
    if (changes === 0 && this.find(key) !== null) throw this.miscounted("DELETE", 0);
  }

  /** `values` are those of the writable columns; a null `rowid` lets SQLite choose one. */
  insert(values: readonly SqliteValue[], rowid: bigint | null): WriteOutcome {
    return this.write(this.inserting, this.rowidSource === null ? values : [...values, rowid]);
  }

  /**
   * As `insert`, but replaces the rows that hold its unique values, provided that `yields` permits it for
   * each of their keys. Slow: it is meant for collisions that `insert` has met.
   */
  insertOver(
    values: readonly SqliteValue[],
    rowid: bigint | null,
    yields: (key: readonly SqliteValue[]) => boolean,
  ): WriteOutcome {
    const { table, key } = this.mapping;
    const columns = key.map((_, i) => `k${i}`).join(", ");
    const old = key.map((column) => `OLD.${column.source}`).join(", ");
    // REPLACE does not report what it evicts, but with recursive triggers it fires the DELETE triggers for
    // it.
    this.db.pragma("recursive_triggers = ON");
    this.db.exec(`SAVEPOINT switchback_over;
      CREATE TABLE temp._switchback_evicted (${columns});
      CREATE TEMP TRIGGER _switchback_evicting AFTER DELETE ON main.${quote(table.name)}
      BEGIN INSERT INTO _switchback_evicted VALUES (${old}); END`);
    const replacing = this.prepare(this.insertion("REPLACE"));
    const outcome = this.write(replacing, this.rowidSource === null ? values : [...values, rowid]);
    const exact = exactValues(key.map((_, i) => `k${i}`));
    const evicted = this.prepare(`SELECT ${exact} FROM temp._switchback_evicted`)
      .raw()
      .all()
      .map((row) => this.text.values(row as unknown[], key.length));
    const agreed = outcome === "written" && evicted.every(yields);
    if (agreed) {
      this.db.exec("DROP TRIGGER temp._switchback_evicting; DROP TABLE temp._switchback_evicted");
    } else {
      this.db.exec("ROLLBACK TO switchback_over");
    }
    this.db.exec("RELEASE switchback_over");
    if (agreed) return "written";
    return outcome === "written" ? COLLIDED : outcome;
  }

  /** Sets the columns at `places` of `mapping.columns`, in place. */
  update(
    key: readonly SqliteValue[],
    places: readonly number[],
    values: readonly SqliteValue[],
  ): WriteOutcome {
    const name = places.join();
    let statement = this.updates.get(name);
    if (!statement) {
      if (this.updates.size === UPDATES_MAX) this.updates.clear();
      const sets = places.map((i) => `${this.source(i)} = ${this.text.slot}`).join(", ");
      statement = this.prepare(
        `UPDATE OR ABORT ${fromTable(this.mapping.table)} SET ${sets} WHERE ${this.match}`,
      );
      this.updates.set(name, statement);
    }
    return this.writeWith(statement, [...this.text.bind(values), ...this.bound(key)]);
  }

  private write(statement: Database.Statement<unknown[]>, values: readonly SqliteValue[]): WriteOutcome {
    return this.writeWith(statement, this.text.bind(values));
  }

  private writeWith(statement: Database.Statement<unknown[]>, parameters: readonly unknown[]): WriteOutcome {
    try {
      const { changes } = statement.run(...parameters);
      if (changes !== 1) throw this.miscounted("write", changes);
      return "written";
    } catch (error) {
      const outcome = outcomeOf(error, this.mapping.table);
      if (outcome === null) throw error;
      return outcome;
    }
  }

  /** A trigger with RAISE(IGNORE) skips a row without an error. */
  private miscounted(what: string, rows: number): SwitchbackError {
    const { name } = this.mapping.table;
    return new SwitchbackError(
      "COUNT_MISMATCH",
      `SQLite: table ${name}: a ${what} of one row touched ${rows}`,
      { table: name },
    );
  }

  private insertion(policy: "ABORT" | "REPLACE"): string {
    const written = this.writable.map((i) => this.source(i));
    const targets = this.rowidSource === null ? written : [...written, this.rowidSource];
    const marks = targets.map(() => this.text.slot).join(", ");
    return `INSERT OR ${policy} INTO ${quote(this.mapping.table.name)} (${targets.join(", ")}) VALUES (${marks})`;
  }

  private bound(key: readonly SqliteValue[]): readonly unknown[] {
    return this.text.bind(key.flatMap((value, i) => new Array<SqliteValue>(this.uses[i] ?? 1).fill(value)));
  }

  private source(place: number): string {
    const column = this.mapping.columns[place];
    if (!column) throw new Error(`table ${this.mapping.table.name} has no mapped column ${place}`);
    return column.source;
  }

  private prepare(text: string): Database.Statement<unknown[]> {
    return this.db.prepare<unknown[]>(text).safeIntegers();
  }
}

function isComputed(table: Table, column: ColumnMapping | undefined): boolean {
  return column != null && column.column !== null && columnOf(table, column.column).generated !== "no";
}

/** The rowid's alias where the table has a rowid that is no column: a restored row must keep it. */
function hiddenRowid({ table, key }: TableMapping): string | null {
  if (table.withoutRowid || table.integerPrimaryKey !== null) return null;
  return key.some((column) => column.column === null) ? null : table.rowidAlias;
}

/**
 * SQL that finds a key's column. Equality in the collation of the primary key's index finds the row through
 * that index. Where that collation is not binary, a second equality excludes other rows.
 */
function keyTerms(table: Table, column: ColumnMapping, slot: string): string[] {
  const source = `r.${column.source}`;
  if (column.column === null) return [`${source} = ${slot}`];
  const own = columnOf(table, column.column).collation;
  const index = table.indexes.find(({ origin }) => origin === "pk");
  const collation = index?.terms.find((term) => term.column === column.column)?.collation ?? own;
  const equal = collation === own ? `${source} = ${slot}` : `${source} COLLATE ${quote(collation)} = ${slot}`;
  return collation === "BINARY" ? [equal] : [equal, `${source} COLLATE BINARY = ${slot}`];
}

/** Errors of an expression in a CHECK, an index or a generated column that only this row's values cause. */
const OF_THE_VALUES = /malformed JSON|bad JSON path|JSON path error|integer overflow|pattern too complex/;

/** The part of an error that concerns the written row; null when it is not about the row. */
function outcomeOf(error: unknown, table: Table): WriteOutcome | null {
  if (!(error instanceof Database.SqliteError)) return null;
  const fault = { column: columnIn(error.message, table), reason: `SQLite refuses it: ${error.message}` };
  switch (error.code) {
    case "SQLITE_CONSTRAINT_UNIQUE":
    case "SQLITE_CONSTRAINT_PRIMARYKEY":
    case "SQLITE_CONSTRAINT_ROWID":
      return { kind: "collided", fault };
    case "SQLITE_CONSTRAINT_CHECK":
    case "SQLITE_CONSTRAINT_NOTNULL":
    case "SQLITE_CONSTRAINT_DATATYPE":
    case "SQLITE_MISMATCH":
    case "SQLITE_TOOBIG":
      return { kind: "refused", fault };
    default:
      return error.code === "SQLITE_ERROR" && OF_THE_VALUES.test(error.message)
        ? { kind: "refused", fault }
        : null;
  }
}

/** The column that the message names, as `table.column` at its end; null where it names several. */
function columnIn(message: string, table: Table): string | null {
  const named = table.columns.find(({ name }) => message.endsWith(` ${table.name}.${name}`));
  const several = named !== undefined && message.endsWith(`, ${table.name}.${named.name}`);
  return several ? null : (named?.name ?? null);
}
