// Turns the rows of a window, in any of their forms, into batches of encoded rows. A batch is small enough
// that the event loop runs in between. It knows no table and no database.
import type { EncodedRow, Rows } from "../../protocol/contract.js";

/** At 20,000 rows per second and more, a batch blocks the event loop for less than 50 ms. */
const BATCH_ROWS = 1_000;

const QUOTE = 0x22;
const NEWLINE = 0x0a;

/** The rows in order; a batch has at least one row and at most BATCH_ROWS. */
export async function* rowBatches(rows: Rows): AsyncGenerator<readonly EncodedRow[]> {
  if (rows.kind === "values") {
    yield* pieces(rows.values);
    return;
  }
  const source = rows.kind === "csv" ? csvBatches(rows.chunks()) : rows.batches();
  for await (const batch of source) yield* pieces(batch);
}

function* pieces(rows: readonly EncodedRow[]): Generator<readonly EncodedRow[]> {
  if (rows.length > 0 && rows.length <= BATCH_ROWS) yield rows;
  else for (let i = 0; i < rows.length; i += BATCH_ROWS) yield rows.slice(i, i + BATCH_ROWS);
}

/** Chunks of COPY's CSV may break anywhere; the bytes after the last whole line wait for the next chunk. */
async function* csvBatches(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<readonly EncodedRow[]> {
  let rest: Uint8Array = Buffer.alloc(0);
  for await (const chunk of chunks) {
    const bytes = rest.length === 0 ? chunk : Buffer.concat([rest, chunk]);
    const end = wholeLines(bytes);
    if (end > 0) yield csvRows(Buffer.from(bytes.subarray(0, end)).toString("utf8"));
    rest = bytes.subarray(end);
  }
  if (rest.length > 0) throw new Error("rows as CSV ended in the middle of a line");
}

/** The length in bytes of the whole lines at the beginning: a newline between quotes ends no line. */
function wholeLines(bytes: Uint8Array): number {
  let end = 0;
  let quoted = false;
  for (let i = 0; i < bytes.length; i++) {
    if (bytes[i] === QUOTE) quoted = !quoted;
    else if (bytes[i] === NEWLINE && !quoted) end = i + 1;
  }
  return end;
}

/** Lines as csvLine() writes them: every value in quotes, NULL as an empty field. */
function csvRows(text: string): EncodedRow[] {
  const rows: EncodedRow[] = [];
  let row: (string | null)[] = [];
  let at = 0;
  while (at < text.length) {
    if (text[at] === '"') {
      const end = closingQuote(text, at + 1);
      row.push(text.slice(at + 1, end).replaceAll('""', '"'));
      at = end + 1;
    } else {
      row.push(null);
    }
    if (text[at] === "\n") {
      rows.push(row);
      row = [];
    }
    at += 1;
  }
  return rows;
}

function closingQuote(text: string, from: number): number {
  for (let at = text.indexOf('"', from); ; at = text.indexOf('"', at + 2)) {
    if (text[at + 1] !== '"') return at;
  }
}
