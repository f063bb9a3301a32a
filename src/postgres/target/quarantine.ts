// The quarantine in PostgreSQL's records. Rows enter it by their keys and are released when their keys are touched. A
// row that is refused again for the same reason keeps its first time. Also its keys, a batch at a time, to be tried
// again.
import type pg from "pg";
import { Refusal } from "../../codec/codec.js";
import type { TableMapping } from "../../mapping/mapping.js";
import { decodeKey, encodeRow, hasNull, keyText, parseKeyText } from "../../mapping/row-format.js";
import { only } from "../../present.js";
import type { EncodedRow, KeysByTable, NullKey, RefusedRow, TableWindow } from "../../protocol/contract.js";
import { sql } from "../../sql-files.js";
import { countMismatch } from "./counts.js";

/** $1 source, $2 table, $3 key texts. */
export const RELEASE = sql("postgres/leave-quarantine");
const ENTER = sql("postgres/enter-quarantine");

interface Entry {
  readonly key: string;
  readonly column: string | null;
  readonly reason: string;
  readonly since: string;
}

/** What left the quarantine within the same transaction, by key text. */
type Left = ReadonlyMap<string, Entry>;

async function leave(
  client: pg.ClientBase,
  source: string,
  table: string,
  keys: readonly string[],
): Promise<{ readonly count: number; readonly left: Left }> {
  const { rows } = await client.query<Entry>(RELEASE, [source, table, keys]);
  return { count: rows.length, left: new Map(rows.map((row) => [row.key, row])) };
}

/** Records refused rows; those that `left`, or leave here, and are refused for the same reason are marked as known. */
export async function enter(
  client: pg.ClientBase,
  source: string,
  mapping: TableMapping,
  refused: readonly RefusedRow[],
  left: Left = new Map(),
): Promise<RefusedRow[]> {
  if (refused.length === 0) return [];
  const { name } = mapping.table;
  const also = await leave(
    client,
    source,
    name,
    // Rows whose key has a NULL share its text with other rows.
    refused.map(({ key }) => key).filter((key) => !hasNull(key)),
  );
  const since = ({ key, column, reason }: RefusedRow) => {
    const before = also.left.get(key) ?? left.get(key);
    return before?.column === column && before.reason === reason ? before.since : null;
  };
  const rows = refused.map((row) => {
    const { key, column, reason } = row;
    return { key, column_name: column, reason, since: since(row) };
  });
  const { rowCount } = await client.query(ENTER, [source, name, JSON.stringify(rows)]);
  if (rowCount !== refused.length)
    throw countMismatch(mapping, `quarantine took ${rowCount} of ${refused.length} rows`);
  return refused.map((row, i) => (rows[i]?.since ? { ...row, again: true } : row));
}

/** A table's part of a window: touched rows leave, refused ones enter. `left` serves those that are refused later. */
export async function moveQuarantine(
  client: pg.ClientBase,
  source: string,
  mapping: TableMapping,
  { touched, refused, nullKeys = [] }: TableWindow,
): Promise<{ readonly refused: readonly RefusedRow[]; readonly released: number; readonly left: Left }> {
  const none = { count: 0, left: new Map() };
  const { count, left } =
    touched.length > 0 ? await leave(client, source, mapping.table.name, touched) : none;
  const entered = await enter(client, source, mapping, refused, left);
  const unkeyed = await matchNullKeys(client, source, nullKeys);
  return { refused: [...entered, ...unkeyed.refused], released: count + unkeyed.released, left };
}

/** Brings the rows under keys with a NULL up to their numbers; returns those that came, and how many went. */
async function matchNullKeys(
  client: pg.ClientBase,
  source: string,
  keys: readonly NullKey[],
): Promise<{ readonly refused: readonly RefusedRow[]; readonly released: number }> {
  const refused: RefusedRow[] = [];
  let released = 0;
  for (const { refusal, rows: wanted } of keys) {
    const { table, key, column, reason } = refusal;
    const { rows } = await client.query<{ come: number; gone: number }>(sql("postgres/match-null-key"), [
      ...[source, table, key, column, reason],
      wanted,
    ]);
    const { come, gone } = only(rows, "count of rows under a key with a NULL");
    for (let n = 0; n < come; n++) refused.push(refusal);
    released += gone;
  }
  return { refused, released };
}

/** A place among the quarantined rows, in the order of their index. */
export interface QuarantineCursor {
  readonly table: string;
  readonly digest: string;
}

export interface QuarantinedKeys {
  readonly keys: KeysByTable;
  /** The last row that was read; null when there was none. */
  readonly last: QuarantineCursor | null;
}

export interface Wanted {
  readonly source: string;
  readonly mappingOf: (table: string) => TableMapping | undefined;
  readonly after: QuarantineCursor | null;
  readonly most: number;
  /** False for rows that PostgreSQL refused; true for those that a codec refused as well. */
  readonly codecs: boolean;
}

/** The keys of quarantined rows behind a place. Those that cannot be read back exactly are left out. */
export async function quarantinedKeys(client: pg.ClientBase, wanted: Wanted): Promise<QuarantinedKeys> {
  const { source, after, most, codecs } = wanted;
  const { rows } = await client.query<QuarantineCursor & { key: string }>(sql("postgres/quarantined-keys"), [
    source,
    after?.table ?? "",
    after?.digest ?? "",
    codecs,
    most,
  ]);
  const keys = new Map<string, EncodedRow[]>();
  for (const { table, key } of rows) {
    const mapping = wanted.mappingOf(table);
    const read = mapping && readBack(mapping, key);
    if (!read) continue;
    // A window names the row as SQLite stores its key; the record must have that name to leave.
    if (read.text !== key)
      await client.query(
        "UPDATE switchback.quarantine SET key = $4 WHERE source = $1 AND table_name = $2 AND key = $3",
        [source, table, key, read.text],
      );
    const mine = keys.get(table);
    if (mine) mine.push(read.key);
    else keys.set(table, [read.key]);
  }
  return { keys, last: rows.at(-1) ?? null };
}

/** A key text in the interchange form, and as the source names it; null where another key would be read again. */
function readBack(mapping: TableMapping, text: string): { key: EncodedRow; text: string } | null {
  const parsed = parseKeyText(mapping, text);
  if (parsed === null || parsed.includes(null)) return null;
  const { row } = encodeRow(mapping.key, parsed);
  if (row === null) return null;
  const decoded = decodeKey(mapping, row);
  if (decoded instanceof Refusal || keyText(decoded) !== keyText(parsed)) return null;
  return { key: row, text: keyText(parsed) };
}
