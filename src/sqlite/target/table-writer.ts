// Writes the rows of one table from PostgreSQL's form into the file, and decides the result of each key value
// by value. A value that still encodes to what PostgreSQL holds is left unchanged, with its spelling, class
// and layout. A row without differences is not written at all.
//
// It owns no transaction and no quarantine: a row that SQLite cannot hold is returned, and its older version
// stays unchanged.
import type Database from "better-sqlite3";
import { sameValue, storedAs } from "../../codec/affinity.js";
import { Refusal, type SqliteValue } from "../../codec/codec.js";
import { keyNames } from "../../mapping/key-spellings.js";
import type { ColumnMapping, TableMapping } from "../../mapping/mapping.js";
import { decodeKey, encodedKeyText, encodeValue, keyIndexes, keyText } from "../../mapping/row-format.js";
import type { EncodedRow, RefusedRow } from "../../protocol/contract.js";
import { raiseIdCeiling } from "../autoincrement.js";
import { type Fault, type PresentRow, RowStatements, type WriteOutcome } from "./row-statements.js";
import { type DeferredRow, UniqueConflicts } from "./unique-conflicts.js";

/** The rows of one table in quarantine, including those of the present window. */
export interface TableQuarantine {
  isEmpty(): boolean;
  holds(key: string): boolean;
  refuse(row: RefusedRow): void;
}

interface Wanted {
  /** The values of every writable column. */
  readonly values: SqliteValue[];
  /** The positions in `mapping.columns` of the values that differ from the present row, and the values. */
  readonly changed: number[];
  readonly changedValues: SqliteValue[];
}

export class TableReplay {
  readonly table: string;
  private readonly statements: RowStatements;
  private readonly deferred: UniqueConflicts;
  private readonly keyPlaces: readonly number[];
  /** Ids removed in this window, in a table that never gives out an id twice. */
  private highestGone = 0n;

  /** `number` distinguishes the tables of one connection. */
  constructor(
    private readonly db: Database.Database,
    private readonly mapping: TableMapping,
    number: number,
  ) {
    this.table = mapping.table.name;
    this.keyPlaces = keyIndexes(mapping);
    this.statements = new RowStatements(db, mapping);
    this.deferred = new UniqueConflicts(db, number, {
      key: mapping.key.length,
      values: this.statements.writable.length,
      expected: this.statements.computed.length,
    });
  }

  /** Called before a window: an earlier transaction may have ended anywhere. */
  reset(): void {
    this.deferred.reset();
    this.highestGone = 0n;
  }

  /** The key text of an encoded key; where SQLite cannot hold the key, its texts as JSON. */
  nameOf(key: EncodedRow): string {
    return encodedKeyText(this.mapping, key);
  }

  /** The texts under which the row of an encoded key may be in quarantine. */
  namesOf(key: EncodedRow): string[] {
    const values = decodeKey(this.mapping, key);
    return values instanceof Refusal ? [this.nameOf(key)] : keyNames(this.mapping, values, "two");
  }

  /** The encoded key of an encoded row. */
  keyOf(row: EncodedRow): EncodedRow {
    return this.keyPlaces.map((i) => row[i] ?? null);
  }

  /** Deletes the row with that key; a key that SQLite cannot hold was never in the file. */
  remove(key: EncodedRow): void {
    const values = decodeKey(this.mapping, key);
    if (values instanceof Refusal) return;
    this.statements.delete(values);
    const [id] = values;
    if (this.mapping.table.autoincrement && typeof id === "bigint" && id > this.highestGone)
      this.highestGone = id;
  }

  /**
   * Called once all keys are removed. A row that was inserted and deleted within the window was never written
   * here, but its id must not be given out again.
   */
  keepNumbers(): void {
    if (this.highestGone > 0n) raiseIdCeiling(this.db, this.table, this.highestGone);
  }

  /** Writes a row, or defers it until `place`; returns why SQLite cannot hold it, or null. */
  write(row: EncodedRow): Fault | null {
    const key = decodeKey(this.mapping, this.keyOf(row));
    if (key instanceof Refusal) return this.refusedKey(row);
    const present = this.statements.find(key);
    const wanted = this.wanted(row, present);
    if ("reason" in wanted) return wanted;
    const { changed } = wanted;
    const expected = this.statements.computed.map((i) => row[i] ?? null);
    if (present && changed.length === 0) return this.computedFault(key, expected);
    const outcome = this.checked(key, expected, () =>
      present
        ? this.statements.update(key, changed, wanted.changedValues)
        : this.statements.insert(wanted.values, null),
    );
    if (outcome === "written") return null;
    if (outcome.kind === "refused") return outcome.fault;
    const rowid = present?.rowid ?? null;
    this.deferred.add({ key, present: present !== null, rowid, values: wanted.values, expected });
    return null;
  }

  /**
   * Writes the deferred rows, once every other row of the window has been written. The older version of a row
   * in quarantine is removed for a row that needs one of its unique values.
   */
  async place(quarantine: TableQuarantine, breathe: () => Promise<void>): Promise<void> {
    const yields = (key: readonly SqliteValue[]) =>
      keyNames(this.mapping, key, "two").some((name) => quarantine.holds(name));
    const insert = (row: DeferredRow) =>
      this.checked(row.key, row.expected, () => {
        const outcome = this.statements.insert(row.values, row.rowid);
        if (outcome === "written" || outcome.kind === "refused" || quarantine.isEmpty()) return outcome;
        const over = this.statements.insertOver(row.values, row.rowid, yields);
        return over === "written" ? over : outcome;
      });
    await this.deferred.place(
      {
        remove: (key) => this.statements.delete(key),
        insert,
        refuse: (key, fault) => quarantine.refuse({ table: this.table, key: keyText(key), ...fault }),
      },
      breathe,
    );
  }

  private wanted(row: EncodedRow, present: PresentRow | null): Wanted | Fault {
    const values: SqliteValue[] = [];
    const changed: number[] = [];
    const changedValues: SqliteValue[] = [];
    for (const i of this.statements.writable) {
      const column = this.column(i);
      const old = present ? (present.values[i] ?? null) : undefined;
      const value = valueFor(column, row[i] ?? null, old);
      if (value instanceof Refusal) return { column: column.column ?? column.target, reason: value.reason };
      values.push(value);
      // -0.0 === 0.0, but they are two values.
      if (Object.is(value, old)) continue;
      changed.push(i);
      changedValues.push(value);
    }
    return { values, changed, changedValues };
  }

  /**
   * Where SQLite computes columns, their values are compared afterwards, and the write is undone where
   * PostgreSQL holds another value.
   */
  private checked(
    key: readonly SqliteValue[],
    expected: readonly (string | null)[],
    write: () => WriteOutcome,
  ): WriteOutcome {
    if (expected.length === 0) return write();
    this.db.exec("SAVEPOINT switchback_row");
    try {
      const outcome = write();
      const fault = outcome === "written" ? this.computedFault(key, expected) : null;
      if (fault === null) return outcome;
      this.db.exec("ROLLBACK TO switchback_row");
      return { kind: "refused", fault };
    } finally {
      if (this.db.inTransaction) this.db.exec("RELEASE switchback_row");
    }
  }

  private computedFault(key: readonly SqliteValue[], expected: readonly (string | null)[]): Fault | null {
    if (expected.length === 0) return null;
    const row = this.statements.find(key);
    for (const [n, i] of this.statements.computed.entries()) {
      const column = this.column(i);
      const value = row?.values[i] ?? null;
      const kept = valueFor(column, expected[n] ?? null, value);
      if (Object.is(kept, value)) continue;
      const text = encodeValue(column, value);
      const computed = text instanceof Refusal ? text.reason : (text ?? "NULL");
      const reason = `SQLite computes this column as ${shown(computed)}, and PostgreSQL holds ${shown(expected[n] ?? "NULL")}`;
      return { column: column.column, reason };
    }
    return null;
  }

  private refusedKey(row: EncodedRow): Fault {
    for (const i of this.keyPlaces) {
      const column = this.column(i);
      const value = column.codec.decode(row[i] ?? null);
      if (value instanceof Refusal) return { column: column.column ?? column.target, reason: value.reason };
    }
    throw new Error(`every column of a key of ${this.table} can be held`);
  }

  private column(place: number): ColumnMapping {
    const column = this.mapping.columns[place];
    if (!column) throw new Error(`table ${this.table} has no mapped column ${place}`);
    return column;
  }
}

/**
 * The value of a column where PostgreSQL holds `text`: `old` itself, the same object, where it already means
 * the same. `old` is undefined for a new row.
 */
function valueFor(
  column: ColumnMapping,
  text: string | null,
  old: SqliteValue | undefined,
): SqliteValue | Refusal {
  if (old === undefined) return column.codec.decode(text);
  if (old === null && text === null) return old;
  const held = old === null || text === null ? null : encodeValue(column, old);
  if (held !== null && held === text) return old;
  const value = column.codec.decode(text);
  if (value instanceof Refusal || value === null || old === null) return value;
  const stored = storedAs(value, column.spec.affinity);
  // PostgreSQL prints some values differently from `encode`: numeric(10,2) has 5.00 for 5.
  return sameValue(stored, old) || (typeof held === "string" && encodeValue(column, stored) === held)
    ? old
    : value;
}

function shown(text: string): string {
  return text.length <= 60 ? text : `${text.slice(0, 60)}…`;
}
