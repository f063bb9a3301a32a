// Rows on their way into PostgreSQL: the two forms in which a window brings them, and COPY.
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import type pg from "pg";
import { from as copyFrom } from "pg-copy-streams";
import { csvLine } from "../../mapping/row-format.js";
import type { Rows } from "../../protocol/contract.js";

/** Runs a COPY … FROM STDIN to its end; the rows that PostgreSQL says it copied. */
export async function copyInto(
  client: pg.Client,
  text: string,
  bytes: AsyncIterable<Uint8Array>,
): Promise<number> {
  const stream = client.query(copyFrom(text));
  await pipeline(Readable.from(bytes, { objectMode: true, highWaterMark: 1 }), stream);
  return Number(stream.rowCount);
}

/** The values of a narrow window's rows. */
export function valuesOf(rows: Rows): (string | null)[][] {
  if (rows.kind !== "values") throw new Error("a narrow window has no spooled rows");
  return rows.values as (string | null)[][];
}

/** True when there are no rows. */
export function isEmpty(rows: Rows): boolean {
  if (rows.kind === "batches") return false;
  return (rows.kind === "values" ? rows.values.length : rows.rows) === 0;
}

/** The rows as COPY's CSV, in pieces. */
export async function* csvOf(rows: Rows): AsyncGenerator<Uint8Array> {
  if (rows.kind === "csv") yield* rows.chunks();
  else if (rows.kind === "batches") {
    for await (const batch of rows.batches()) yield Buffer.from(batch.map(csvLine).join(""), "utf8");
  } else if (rows.values.length > 0) yield Buffer.from(rows.values.map(csvLine).join(""), "utf8");
}
