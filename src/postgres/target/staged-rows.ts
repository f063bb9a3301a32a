// Rows staged as one array of text each, for when a batch must be written row by row. A temporary table with a column
// for every value has PostgreSQL's limit on a row's width too, and typed columns fail on the values at fault. COPY's
// CSV is re-written into COPY's CSV of arrays without becoming JavaScript strings, so that a value may be large.
import type { ColumnMapping } from "../../mapping/mapping.js";
import { quote } from "../../schema/model.js";

const [QUOTE, COMMA, NEWLINE, BACKSLASH] = [0x22, 0x2c, 0x0a, 0x5c];
const PIECE_BYTES = 256 * 1024;

/** DDL of the stage: each row numbered in the order in which it was sent. */
export function createArrayStage(stage: string, onCommit: "DROP" | "DELETE ROWS" = "DROP"): string {
  return `CREATE TEMP TABLE ${quote(stage)} (n bigint GENERATED ALWAYS AS IDENTITY, v text[]) ON COMMIT ${onCommit}`;
}

export function copyArrayStage(stage: string): string {
  return `COPY pg_temp.${quote(stage)} (v) FROM STDIN (FORMAT csv)`;
}

/** More columns than this may not fit into a page, even where every value is moved out of the row that can be. */
const COLUMNS_IN_A_PAGE = 300;

/** True for tables whose rows may fit into no table of one column a value, a temporary one included. */
export function isWide(columns: readonly ColumnMapping[]): boolean {
  return columns.length > COLUMNS_IN_A_PAGE;
}

/** A relation with the columns c0 … cn, from the elements of an array: as text, or in the columns' types. */
export function arrayRelation(
  columns: readonly ColumnMapping[],
  array: string,
  from: string,
  typed: boolean,
): string {
  const list = columns.map(({ codec }, i) => `${array}[${i + 1}]${typed ? `::${codec.type}` : ""} AS c${i}`);
  return `(SELECT ${list.join(", ")} FROM ${from})`;
}

/** The rows of an array stage in the columns' types. OFFSET 0 keeps each array in memory while its elements are taken. */
export function typedStage(stage: string, columns: readonly ColumnMapping[]): string {
  const arrays = `(SELECT array_append(v, NULL) AS v FROM pg_temp.${quote(stage)} OFFSET 0) AS w`;
  return arrayRelation(columns, "w.v", arrays, true);
}

/** `counted` is told how many rows were passed on. */
export async function* arraysOf(
  csv: AsyncIterable<Uint8Array>,
  counted: (rows: number) => void = () => {},
): AsyncGenerator<Uint8Array> {
  let batch: Uint8Array[] = [];
  let bytes = 0;
  for await (const record of recordsOf(csv)) {
    const pieces = arrayLine(record);
    batch.push(...pieces);
    bytes += pieces.reduce((sum, piece) => sum + piece.length, 0);
    counted(1);
    if (bytes < PIECE_BYTES) continue;
    yield* batch.length > 1 && bytes < 4 * PIECE_BYTES ? [Buffer.concat(batch)] : batch;
    batch = [];
    bytes = 0;
  }
  if (batch.length > 0) yield Buffer.concat(batch);
}

/** Splits CSV into records, each without its newline. A record may be spread over many pieces. */
async function* recordsOf(csv: AsyncIterable<Uint8Array>): AsyncGenerator<Buffer> {
  let held: Uint8Array[] = [];
  // A doubled quote inside a field turns this twice.
  let quoted = false;
  for await (const bytes of csv) {
    const piece = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    let start = 0;
    for (let at = 0; at < piece.length; at++) {
      if (piece[at] === QUOTE) quoted = !quoted;
      else if (piece[at] === NEWLINE && !quoted) {
        const end = piece.subarray(start, at);
        yield held.length === 0 ? end : Buffer.concat([...held, end]);
        held = [];
        start = at + 1;
      }
    }
    if (start < piece.length) held.push(piece.subarray(start));
  }
  if (held.length > 0) throw new Error("COPY's CSV ended within a row");
}

/** One record as a CSV line with one field: the text of an array. */
function arrayLine(record: Buffer): Buffer[] {
  const pieces: Buffer[] = [Buffer.from('"{')];
  let at = 0;
  for (let first = true; first || at <= record.length; first = false) {
    if (!first) pieces.push(Buffer.from(","));
    const field = fieldAt(record, at);
    if (field.text === null) pieces.push(Buffer.from("NULL"));
    else pieces.push(Buffer.from('""'), escaped(field.text), Buffer.from('""'));
    // Past the comma; past the end after the last field.
    at = field.end + 1;
  }
  pieces.push(Buffer.from('}"\n'));
  return pieces;
}

/** A field with its quotes still doubled; null for NULL, which is empty and not quoted. `end` is where its comma is. */
function fieldAt(record: Buffer, at: number): { text: Buffer | null; end: number } {
  if (record[at] !== QUOTE) {
    const comma = record.indexOf(COMMA, at);
    const end = comma < 0 ? record.length : comma;
    return { text: end === at ? null : record.subarray(at, end), end };
  }
  let close = record.indexOf(QUOTE, at + 1);
  while (record[close + 1] === QUOTE) close = record.indexOf(QUOTE, close + 2);
  return { text: record.subarray(at + 1, close), end: close + 1 };
}

/** An array's element within CSV: a backslash before each backslash and before each (doubled) quote. */
function escaped(text: Buffer): Buffer {
  if (!text.includes(BACKSLASH) && !text.includes(QUOTE)) return text;
  let more = 0;
  for (let at = 0; at < text.length; at++) {
    if (text[at] === BACKSLASH) more++;
    else if (text[at] === QUOTE) {
      more++;
      at++;
    }
  }
  const out = Buffer.allocUnsafe(text.length + more);
  let to = 0;
  for (let at = 0; at < text.length; at++) {
    const byte = text[at] as number;
    if (byte === BACKSLASH || byte === QUOTE) out[to++] = BACKSLASH;
    out[to++] = byte;
    if (byte === QUOTE) out[to++] = text[++at] as number;
  }
  return out;
}
