// What is counted when rows reach PostgreSQL: a range's rows read, written and refused. Numbers that disagree are an error of their own, so that nothing is called exact uncounted.
import type pg from "pg";
import { SwitchbackError } from "../../errors.js";
import type { TableMapping } from "../../mapping/mapping.js";
import type { Chunk, Counted, Range, RangeReading, RefusedRow } from "../../protocol/contract.js";
import { sqlState } from "../connection.js";
import { qualifiedName } from "./merge.js";
import type { Written } from "./row-by-row.js";

export function countMismatch(mapping: TableMapping, what: string): SwitchbackError {
  return new SwitchbackError("COUNT_MISMATCH", `${qualifiedName(mapping)}: ${what}`, {
    table: mapping.table.name,
  });
}

/**
 * True when a statement touched another number of rows than were sent. PostgreSQL itself refuses counted statements
 * on a table with rules (0A000).
 */
export function isMiscount(error: unknown): boolean {
  return /^(SB002|0A000)$/.test(sqlState(error) ?? "");
}

/** What PostgreSQL said of it, for the operator. */
export function miscount(error: unknown, source: string): SwitchbackError {
  const cause = error instanceof SwitchbackError && error.cause !== undefined ? error.cause : error;
  const { message, table } = cause as pg.DatabaseError;
  const where = { source, ...(table === undefined ? {} : { table }) };
  return new SwitchbackError("COUNT_MISMATCH", `PostgreSQL: ${message}`, where, { cause });
}

/** Passes a reading on as CSV, and keeps count of what came by. */
export class RangeTally {
  readonly refused: RefusedRow[] = [];
  private rows = 0;
  private counted: Counted | null = null;

  constructor(
    private readonly mapping: TableMapping,
    private readonly range: Range,
  ) {}

  async *csv(reading: RangeReading): AsyncGenerator<Uint8Array> {
    try {
      for (;;) {
        const next: IteratorResult<Chunk, Counted> = await reading.next();
        if (next.done) {
          this.counted = next.value;
          return;
        }
        this.rows += next.value.rows;
        this.refused.push(...next.value.refused);
        if (next.value.rows > 0) yield next.value.csv;
      }
    } finally {
      if (!this.counted) await reading.return({ rows: 0, refused: 0 });
    }
  }

  /** @throws COUNT_MISMATCH unless every row that was read was either written or refused */
  check(outcome: Written): void {
    const read = this.counted;
    const at = `range ${this.range.number}`;
    if (!read) throw countMismatch(this.mapping, `${at} was not read to its end`);
    if (read.rows !== this.rows || read.refused !== this.refused.length) {
      const counted = `the reader counted ${read.rows} rows and refused ${read.refused}`;
      throw countMismatch(
        this.mapping,
        `${at}: ${counted}, but ${this.rows} and ${this.refused.length} arrived`,
      );
    }
    if (outcome.written + outcome.refused.length !== this.rows) {
      throw countMismatch(
        this.mapping,
        `${at}: of ${this.rows} rows PostgreSQL wrote ${outcome.written} and refused ${outcome.refused.length}`,
      );
    }
  }
}
