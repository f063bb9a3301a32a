// Reads a window of reverse replication. The logged changes leave the log, the position moves past them, and their
// rows are read, all in one REPEATABLE READ transaction. Its one snapshot makes the window an exact state of
// PostgreSQL, in whatever order the writers committed. The transaction stays open until the target has the window, so
// that the changes do not leave the log earlier. A narrow window is held in memory; a wide one is read in batches.
import { randomUUID } from "node:crypto";
import type pg from "pg";
import { SwitchbackError } from "../../errors.js";
import { encodedKeyText } from "../../mapping/row-format.js";
import { only } from "../../present.js";
import type { EncodedRow, Position, RefusedRow, Rows, TableWindow, Window } from "../../protocol/contract.js";
import { sql } from "../../sql-files.js";
import { postgresError } from "../connection.js";
import { qualifiedName } from "../target/merge.js";
import {
  interchanged,
  listKeys,
  readBatch,
  readFew,
  readGone,
  readLarge,
  selectListBatches,
  TAKEN,
  type TableReading,
  TEXT_MAX,
} from "./queries.js";

/** A window with more changes is wide. */
const NARROW_CHANGES = 2_000;
const BEGIN = "BEGIN ISOLATION LEVEL REPEATABLE READ";
/**
 * As for a target's wide windows: large joins stay in memory, and an index is faster than a scan of a whole large
 * table.
 */
const WIDE_SETTINGS = "SET LOCAL work_mem = '64MB'; SET LOCAL random_page_cost = 1.1";
const TAKE_ALL = sql("postgres/take-all-changes");
const MOVE = sql("postgres/move-position");

export interface WindowRequest {
  readonly source: string;
  readonly owner: string;
  readonly after: Position;
  readonly readings: ReadonlyMap<number, TableReading>;
}

/** A logged key that lacks a value for one of its table's key columns. */
export class UnreadableKey extends Error {}

/** Ends a window's transaction. */
type Close = (applied: boolean) => Promise<void>;

/** A table's file in the transaction's snapshot is not the one that was read. */
const MOVED = sql("postgres/moved-tables");

/**
 * Why no window was returned. null: there are no changes. "wide": there are too many for memory, or their rows are
 * too large. "again": a TRUNCATE came between the snapshot and the read. It empties a table for older snapshots too,
 * so that they see half of its transaction.
 */
type Nothing = "wide" | "again" | null;

/**
 * A window in memory.
 * `client` pipelines. @throws SwitchbackError POSITION_CONFLICT, POSTGRES_*
 */
export async function readNarrow(client: pg.Client, request: WindowRequest): Promise<Window | Nothing> {
  return inTransaction(client, async () => {
    const mark = randomUUID();
    const taken = await takeFew(client, request, mark);
    if (taken === null || taken === "wide") return taken;
    const reading = Promise.allSettled(
      taken.map(async ({ id, changes, keys }): Promise<TableWindow | null> => {
        const reading = readingOf(request, id);
        const found = await client.query<(string | null)[]>({
          ...prepared(readFew(reading)),
          values: [JSON.stringify(keys)],
          ...TEXTS,
        });
        if (Number(found.rows[0]?.[0] ?? 0) !== found.rows.length || found.rows.length === 0) return null;
        return tableWindow(reading, changes, ...divided(reading, found.rows));
      }),
    );
    // Sent after the lock statements: the reply means that all tables are locked.
    const [tables, [moved]] = await Promise.all([
      reading,
      Promise.allSettled([
        movedSince(
          client,
          taken.map(({ id }) => readingOf(request, id)),
        ),
      ]),
    ]);
    const read: TableWindow[] = [];
    for (const table of tables) {
      if (table.status === "rejected") throw table.reason;
      if (table.value === null) return "wide";
      read.push(table.value);
    }
    if (moved.status === "rejected") throw moved.reason;
    if (moved.value) return "again";
    return windowOf(request, mark, read, closing(client));
  });
}

interface Taken {
  readonly id: number;
  readonly changes: number;
  readonly keys: readonly (readonly string[])[];
}

async function takeFew(
  client: pg.Client,
  request: WindowRequest,
  mark: string,
): Promise<readonly Taken[] | "wide" | null> {
  const begun = client.query(BEGIN);
  const [begin, result] = await Promise.allSettled([
    begun,
    client.query<{ seen: number; moved: boolean; taken: Taken[] }>({
      ...prepared(sql("postgres/take-changes")),
      values: [
        [...request.readings.keys()],
        request.source,
        request.owner,
        request.after,
        NARROW_CHANGES,
        mark,
      ],
    }),
  ]);
  if (begin.status === "rejected") throw begin.reason;
  if (result.status === "rejected") throw result.reason;
  const row = result.value.rows[0];
  if (!row || row.seen === 0) return null;
  if (row.seen > NARROW_CHANGES) return "wide";
  if (!row.moved) throw conflict(request);
  for (const { id, keys } of row.taken) {
    const { length } = readingOf(request, id).keyTypes;
    const sound = (key: readonly unknown[]) =>
      key.length === length && key.every((part) => typeof part === "string");
    if (!keys.every(sound)) throw new UnreadableKey(`a change of table number ${id} has no whole key`);
  }
  return row.taken;
}

/** A window of any size, in bounded memory. `client` does not pipeline. */
export async function readWide(
  client: pg.Client,
  request: WindowRequest,
): Promise<Window | Exclude<Nothing, "wide">> {
  return inTransaction(client, async () => {
    await client.query(
      `${BEGIN}; ${WIDE_SETTINGS}; CREATE TEMP TABLE ${TAKEN} (t int, key text[]) ON COMMIT DROP`,
    );
    const { rowCount } = await client.query(TAKE_ALL, [[...request.readings.keys()]]);
    const changes = rowCount ?? 0;
    if (changes === 0) return null;
    const mark = randomUUID();
    const moved = await client.query(MOVE, [request.source, request.owner, request.after, changes, mark]);
    if (moved.rowCount !== 1) throw conflict(request);
    const { rows } = await client.query<{ id: number; n: string }>(
      `SELECT t AS id, count(*) AS n FROM ${TAKEN} GROUP BY t ORDER BY t`,
    );
    const tables: TableWindow[] = [];
    for (const { id, n } of rows) {
      const reading = readingOf(request, id);
      await assertWhole(client, reading);
      await client.query(listKeys(reading));
      const present = await batched(client, reading, true);
      const gone = await batched(client, reading, false);
      tables.push({
        ...tableWindow(reading, Number(n), present, gone),
        refused: await large(client, reading),
      });
    }
    if (
      await movedSince(
        client,
        rows.map(({ id }) => readingOf(request, id)),
      )
    )
      return "again";
    return windowOf(request, mark, tables, closing(client));
  });
}

async function assertWhole(client: pg.Client, { id, keyTypes }: TableReading): Promise<void> {
  const { rows } = await client.query<{ broken: boolean }>(
    `SELECT EXISTS (SELECT FROM ${TAKEN} WHERE t = $1 AND (cardinality(key) <> $2 OR ${keyTypes
      .map((_, i) => `key[${i + 1}] IS NULL`)
      .join(" OR ")})) AS broken`,
    [id, keyTypes.length],
  );
  if (only(rows, "answer").broken) throw new UnreadableKey(`a change of table number ${id} has no whole key`);
}

async function movedSince(client: pg.Client, readings: readonly TableReading[]): Promise<boolean> {
  const { rows } = await client.query<{ moved: boolean }>({
    ...prepared(MOVED),
    values: [readings.map(({ mapping }) => qualifiedName(mapping))],
  });
  return only(rows, "answer").moved;
}

/** Rows that cannot be read, for the target to put in quarantine. */
async function large(client: pg.Client, reading: TableReading): Promise<RefusedRow[]> {
  const { mapping } = reading;
  const { rows } = await client.query<(string | null)[]>({ text: readLarge(reading), ...TEXTS });
  return rows.map((key) => ({
    table: mapping.table.name,
    key: encodedKeyText(mapping, interchanged(mapping.key, key)),
    column: null,
    reason: `is too large: as text it passes ${TEXT_MAX / 2 ** 20} MiB`,
  }));
}

async function batched(client: pg.Client, reading: TableReading, present: boolean): Promise<Rows> {
  const { rows } = await client.query<{ batch: string }>(selectListBatches(reading, present));
  if (rows.length === 0) return { kind: "values", values: [] };
  const text = present ? readBatch(reading) : readGone(reading);
  const { columns, key } = reading.mapping;
  return {
    kind: "batches",
    async *batches() {
      for (const { batch } of rows) {
        yield (await read(client, text, batch)).map((row) => interchanged(present ? columns : key, row));
      }
    },
  };
}

async function read(client: pg.Client, text: string, batch: string): Promise<(string | null)[][]> {
  try {
    return (await client.query<(string | null)[]>({ text, values: [batch], ...TEXTS })).rows;
  } catch (error) {
    throw postgresError(error);
  }
}

/** The rows of `readFew`, split into present rows and deleted keys. */
function divided({ mapping }: TableReading, found: readonly (string | null)[][]): [Rows, Rows] {
  const [values, gone]: [EncodedRow[], EncodedRow[]] = [[], []];
  const width = 2 + mapping.key.length;
  for (const row of found) {
    if (row[1] === "t") values.push(interchanged(mapping.columns, row.slice(width)));
    else gone.push(interchanged(mapping.key, row.slice(2, width)));
  }
  return [
    { kind: "values", values },
    { kind: "values", values: gone },
  ];
}

function tableWindow({ mapping }: TableReading, changes: number, rows: Rows, gone: Rows): TableWindow {
  return { table: mapping.table.name, changes, rows, gone, refused: [], touched: [] };
}

function windowOf(
  { after }: WindowRequest,
  mark: string,
  tables: readonly TableWindow[],
  close: Close,
): Window {
  const changes = tables.reduce((sum, table) => sum + table.changes, 0);
  return { from: after, to: after + changes, changes, mark, tables, close };
}

/** Runs the read of a window; when it gives no window, its transaction is rolled back. */
async function inTransaction<T>(client: pg.Client, work: () => Promise<T>): Promise<T> {
  try {
    const result = await work();
    if (result === null || result === "wide" || result === "again") await client.query("ROLLBACK");
    return result;
  } catch (error) {
    await client.query("ROLLBACK").catch(() => {});
    throw postgresError(error);
  }
}

function closing(client: pg.Client): Close {
  let closed = false;
  return async (applied) => {
    if (closed) return;
    closed = true;
    try {
      if (!applied) {
        await client.query("ROLLBACK");
        return;
      }
      // PostgreSQL answers a COMMIT after a failed statement with ROLLBACK and no error.
      const { command } = await client.query("COMMIT");
      if (command !== "COMMIT")
        throw new SwitchbackError("POSTGRES_TRANSIENT", `the reading of a window ended with ${command}`);
    } catch (error) {
      // A lost session has rolled back already.
      if (applied) throw postgresError(error);
    }
  };
}

function readingOf(request: WindowRequest, id: number): TableReading {
  const reading = request.readings.get(id);
  if (!reading) throw new Error(`changes of table number ${id}, which was not asked for`);
  return reading;
}

function conflict({ source, after }: WindowRequest): SwitchbackError {
  return new SwitchbackError(
    "POSITION_CONFLICT",
    `source ${source}: PostgreSQL's position is not ${after}, or its owner changed`,
    { source },
  );
}

/** Values as PostgreSQL prints them, in arrays. */
const TEXTS = { rowMode: "array" as const, types: { getTypeParser: () => (text: string) => text } };

/** Prepared statements are named by their text, so that each is parsed and planned once per session. */
const names = new Map<string, string>();
function prepared(text: string): { readonly name: string; readonly text: string } {
  let name = names.get(text);
  if (name === undefined) {
    name = `switchback_read_${names.size}`;
    names.set(text, name);
  }
  return { name, text };
}
