// Reads one range of a table as chunks of COPY CSV, inside the connection's open read transaction. The bulk
// form handles whole groups of rows. A group that is not clean is read again in the exact form, where a row
// that cannot be encoded is refused by name. Groups adapt to the width of the rows, so that bytes bound the
// memory, not rows.
import type Database from "better-sqlite3";
import { Refusal, type SqliteValue } from "../../codec/codec.js";
import { exactValues, StoredText } from "../../codec/stored-text.js";
import type { TableMapping } from "../../mapping/mapping.js";
import { csvBytes, encodeRow, keyOf } from "../../mapping/row-format.js";
import type { Chunk, Counted, Range, RefusedRow } from "../../protocol/contract.js";
import {
  beyond,
  boundParameters,
  cleanExpression,
  csvExpression,
  exactList,
  fromTable,
  isSound,
  orderColumns,
  orderedByRowid,
} from "./queries.js";
import { boundValues } from "./ranges.js";

/** The target size of a chunk: large enough to amortise a message, small enough to hold several. */
const CHUNK_BYTES = 512 * 1024;
const GROUP_ROWS_MAX = 20_000;
/** The width of the rows is not known yet: wide ones must not make the first group huge. It grows fast. */
const GROUP_ROWS_FIRST = 1;

type Key = readonly SqliteValue[];

interface Group {
  readonly rows: number;
  readonly clean: boolean;
  readonly csv: Buffer | null;
  /** The order columns of the group's last row. */
  readonly last: Key;
}

/** A range's chunks; the return value is the number of rows read, and of those refused. */
export function* readRange(
  db: Database.Database,
  mapping: TableMapping,
  range: Range,
): Generator<Chunk, Counted> {
  const reader = rangeStatements(db, mapping, range);
  const counted = { rows: 0, refused: 0 };
  let after: Key | null = range.lo === null ? null : boundValues(range.lo);
  let limit = GROUP_ROWS_FIRST;
  for (;;) {
    const group = reader.group(after, limit);
    if (group === "too big") {
      limit = Math.max(1, Math.floor(limit / 8));
      if (limit > 1) continue;
    }
    if (typeof group === "object" && group.rows === 0) return counted;
    if (typeof group === "object" && group.clean && group.csv !== null && isSound(group.csv)) {
      counted.rows += group.rows;
      yield { csv: group.csv, rows: group.rows, refused: [] };
      limit = nextLimit(limit, group.csv.length);
      after = group.last;
      continue;
    }
    const exact = reader.exact(after, typeof group === "object" ? Math.min(limit, group.rows) : limit);
    if (exact.chunk.rows + exact.chunk.refused.length === 0) return counted;
    counted.rows += exact.chunk.rows;
    counted.refused += exact.chunk.refused.length;
    yield exact.chunk;
    limit = nextLimit(limit, exact.chunk.csv.length);
    after = exact.last;
  }
}

function nextLimit(limit: number, bytes: number): number {
  const fitting = Math.floor((limit * CHUNK_BYTES) / Math.max(bytes, 1));
  return Math.max(1, Math.min(GROUP_ROWS_MAX, fitting, limit * 4));
}

function rangeStatements(db: Database.Database, mapping: TableMapping, range: Range) {
  const { table } = mapping;
  const order = orderColumns(table);
  const text = StoredText.of(db);
  const parametersOf = (bound: Key) => boundParameters(table, text, bound);
  const hi = range.hi === null ? [] : parametersOf(boundValues(range.hi));
  const rows = (list: string, bounded: boolean) => {
    const where = [...(bounded ? [beyond(table, ">")] : []), ...(hi.length > 0 ? [beyond(table, "<=")] : [])];
    const filter = where.length === 0 ? "" : ` WHERE ${where.join(" AND ")}`;
    return `SELECT ${list} FROM ${fromTable(table)}${filter} ORDER BY ${order.join(", ")} LIMIT ?`;
  };
  const named = order.map((column, i) => `${column} AS o${i}`).join(", ");
  const bulk = (bounded: boolean) =>
    prepare(
      db,
      `SELECT count(*), min(clean), CAST(group_concat(line, '') AS BLOB), ${orderedByRowid(table) ? "max(o0)" : "NULL"}
         FROM (${rows(`${named}, ${cleanExpression(mapping)} AS clean, ${csvExpression(mapping)} AS line`, bounded)})`,
    );
  const exactOf = (bounded: boolean) =>
    prepare(db, rows(`${exactValues(order)}, ${exactList(mapping.columns)}`, bounded));
  const lastOf = (bounded: boolean) =>
    prepare(
      db,
      `SELECT ${exactValues(order.map((_, i) => `o${i}`))} FROM (${rows(named, bounded)}) ORDER BY ${order.map((_, i) => `o${i} DESC`).join(", ")} LIMIT 1`,
    );
  const both = (make: (bounded: boolean) => Database.Statement<unknown[]>) =>
    [make(false), make(true)] as const;
  const statements = {
    bulk: both(bulk),
    exact: both(exactOf),
    last: orderedByRowid(table) ? null : both(lastOf),
  };
  const pick = (
    pair: readonly [Database.Statement<unknown[]>, Database.Statement<unknown[]>],
    after: Key | null,
  ) => (after === null ? pair[0] : pair[1]);
  const parameters = (after: Key | null, limit: number) => [
    ...(after === null ? [] : parametersOf(after)),
    ...hi,
    limit,
  ];

  return {
    group(after: Key | null, limit: number): Group | "too big" | "exact only" {
      if (!text.isUtf8) return "exact only";
      try {
        const [count, clean, csv, last] = pick(statements.bulk, after).get(...parameters(after, limit)) as [
          bigint,
          bigint | null,
          Buffer | null,
          bigint | null,
        ];
        const rows = Number(count);
        const lastKey =
          rows === 0 ? [] : statements.last ? lastKeyOf(statements.last, after, limit) : [last ?? 0n];
        return { rows, clean: clean !== 0n, csv, last: lastKey };
      } catch (error) {
        // SQLITE_TOOBIG: the group's text exceeds SQLite's limit for one value.
        if ((error as { code?: string }).code === "SQLITE_TOOBIG") return "too big";
        throw error;
      }
    },
    exact(after: Key | null, limit: number): { chunk: Chunk; last: Key } {
      const lines: Buffer[] = [];
      const refused: RefusedRow[] = [];
      let last: Key = after ?? [];
      for (const raw of pick(statements.exact, after).iterate(...parameters(after, limit))) {
        const row = raw as unknown[];
        last = text.values(row, order.length);
        const values = text.values(row, mapping.columns.length, order.length + 1);
        const encoded = encodeRow(mapping.columns, values);
        const line = encoded.row ? csvBytes(encoded.row) : null;
        if (line !== null && !(line instanceof Refusal)) lines.push(line);
        else
          refused.push({
            table: table.name,
            key: keyOf(mapping, values),
            column: encoded.column,
            reason: line === null ? encoded.reason : line.reason,
          });
      }
      return { chunk: { csv: Buffer.concat(lines), rows: lines.length, refused }, last };
    },
  };

  function lastKeyOf(
    pair: readonly [Database.Statement<unknown[]>, Database.Statement<unknown[]>],
    after: Key | null,
    limit: number,
  ): Key {
    return text.values(pick(pair, after).get(...parameters(after, limit)) as unknown[], order.length);
  }
}

function prepare(db: Database.Database, text: string): Database.Statement<unknown[]> {
  return db.prepare<unknown[]>(text).raw().safeIntegers();
}
