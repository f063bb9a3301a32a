// Rows of one table that collided with another row's unique value while a window was applied. Examples: two
// rows that swap a value, a rotation, a new row in the place of one that moves later. They wait in a
// temporary table, which SQLite keeps on disk when it grows, and are placed once every other row has been
// written. First all of their present versions are removed, then each is inserted in its new version, with
// its old rowid.
//
// It knows nothing of PostgreSQL's form of a row.
import type Database from "better-sqlite3";
import type { SqliteValue } from "../../codec/codec.js";
import { exactValues, StoredText } from "../../codec/stored-text.js";
import type { Fault, WriteOutcome } from "./row-statements.js";

export interface DeferredRow {
  readonly key: readonly SqliteValue[];
  /** True when the row is in the table now, in an older version. */
  readonly present: boolean;
  readonly rowid: bigint | null;
  /** The values of the writable columns. */
  readonly values: readonly SqliteValue[];
  /** The texts to which the computed columns must encode. */
  readonly expected: readonly (string | null)[];
}

/** The writes to the table itself. */
interface Placing {
  remove(key: readonly SqliteValue[]): void;
  insert(row: DeferredRow): WriteOutcome;
  /** Called once for each row that cannot be placed, when its older version is restored. */
  refuse(key: readonly SqliteValue[], fault: Fault): void;
}

interface Failed {
  readonly n: bigint;
  readonly key: readonly SqliteValue[];
  readonly fault: Fault;
}

/** Rows read at a time. */
const PAGE_ROWS = 500;

/**
 * A row that cannot be placed keeps its older version, which may block another row in turn. After this many
 * rounds the older versions of refused rows are removed as well, so that a long chain is not more expensive.
 */
const ROUNDS_MAX = 8;

export class UniqueConflicts {
  private waiting = 0;
  private adding: Database.Statement<unknown[]> | null = null;
  private readonly name: string;
  private readonly text: StoredText;

  /** `number` distinguishes the temporary tables of one connection. */
  constructor(
    private readonly db: Database.Database,
    number: number,
    private readonly width: { readonly key: number; readonly values: number; readonly expected: number },
  ) {
    this.text = StoredText.of(db);
    this.name = `temp._switchback_deferred_${number}`;
  }

  /** Deletes what an earlier transaction left behind. */
  reset(): void {
    if (this.waiting > 0) this.db.exec(`DROP TABLE IF EXISTS ${this.name}`);
    this.waiting = 0;
  }

  add(row: DeferredRow): void {
    if (this.waiting === 0 || !this.adding) {
      const columns = this.columns().join(", ");
      const marks = this.columns().map(() => this.text.slot);
      // No types, so that every value keeps its storage class.
      this.db.exec(`CREATE TABLE ${this.name} (n INTEGER PRIMARY KEY, ${columns})`);
      this.adding = this.db.prepare(`INSERT INTO ${this.name} (${columns}) VALUES (${marks.join(", ")})`);
    }
    this.waiting += 1;
    const values = [row.present ? 1n : 0n, row.rowid, ...row.key, ...row.values, ...row.expected];
    this.adding.run(...this.text.bind(values));
  }

  /** Places every waiting row that the table can hold. */
  async place(placing: Placing, breathe: () => Promise<void>): Promise<void> {
    for (let round = 1; this.waiting > 0; round++) {
      this.db.exec("SAVEPOINT switchback_placing");
      const failed = await this.attempt(placing, breathe);
      const settled = failed.length === 0 || round === ROUNDS_MAX;
      if (!settled) this.db.exec("ROLLBACK TO switchback_placing");
      this.db.exec("RELEASE switchback_placing");
      for (const { key, fault } of failed) placing.refuse(key, fault);
      if (settled) break;
      const forget = this.db.prepare(`DELETE FROM ${this.name} WHERE n = ?`);
      for (const { n } of failed) forget.run(n);
      this.waiting -= failed.length;
      if (this.waiting === 0) this.waiting = this.dropped();
    }
    if (this.waiting > 0) this.waiting = this.dropped();
  }

  private async attempt(placing: Placing, breathe: () => Promise<void>): Promise<Failed[]> {
    for await (const { row } of this.rows("present = 1", breathe)) placing.remove(row.key);
    const failed: Failed[] = [];
    // New rows come last: SQLite would give one the rowid of a row that is about to be restored.
    for (const part of ["present = 1", "present = 0"]) {
      for await (const { n, row } of this.rows(part, breathe)) {
        const outcome = placing.insert(row);
        if (outcome !== "written") failed.push({ n, key: row.key, fault: outcome.fault });
      }
    }
    return failed;
  }

  private async *rows(
    where: string,
    breathe: () => Promise<void>,
  ): AsyncGenerator<{ readonly n: bigint; readonly row: DeferredRow }> {
    const { key, values, expected } = this.width;
    const page = this.db
      .prepare(
        `SELECT n, ${exactValues(this.columns())} FROM ${this.name} WHERE n > ? AND ${where} ORDER BY n LIMIT ${PAGE_ROWS}`,
      )
      .raw()
      .safeIntegers();
    let after = 0n;
    for (;;) {
      const list = page.all(after) as unknown[][];
      for (const raw of list) {
        after = raw[0] as bigint;
        const [present, rowid, ...rest] = this.text.values(raw, 2 + key + values + expected, 1);
        const row = {
          present: present === 1n,
          rowid: rowid as bigint | null,
          key: rest.slice(0, key),
          values: rest.slice(key, key + values),
          expected: rest.slice(key + values) as (string | null)[],
        };
        yield { n: after, row };
      }
      if (list.length < PAGE_ROWS) return;
      await breathe();
    }
  }

  private dropped(): 0 {
    this.db.exec(`DROP TABLE ${this.name}`);
    return 0;
  }

  private columns(): string[] {
    const list = (prefix: string, count: number) => Array.from({ length: count }, (_, i) => `${prefix}${i}`);
    const { key, values, expected } = this.width;
    return ["present", "r", ...list("k", key), ...list("v", values), ...list("e", expected)];
  }
}
