// The whole `switchback backfill` command beside \copy of a file made beforehand plus the same indexes one after
// another (the limit), row-by-row INSERTs (what hand-written scripts do) and pgloader. They run in turn, on one
// server.
import { copyFileSync, createReadStream, createWriteStream } from "node:fs";
import { join } from "node:path";
import { pipeline } from "node:stream/promises";
import Database from "better-sqlite3";
import { from as copyFrom, to as copyTo } from "pg-copy-streams";
import { connect, installed, median, start, switchback, timed } from "./measure.js";
import { makeOrders } from "./orders.js";

/** Row by row is slow enough that a part tells the whole. */
const INSERT_ROWS = 20_000;

/** @param {import("./measure.js").Server} server @param {{ rows: number, runs: number }} sizes */
export async function benchBackfill(server, { rows, runs }) {
  const source = join(server.folder, "orders.db");
  makeOrders(source, rows);
  const csv = join(server.folder, "orders.csv");
  const psql = await installed("psql");
  const pgloader = await installed("pgloader");
  const seconds = {
    switchback: /** @type {number[]} */ ([]),
    copy: /** @type {number[]} */ ([]),
    pgloader: /** @type {number[]} */ ([]),
  };
  let peakMiB = 0;
  let insertSeconds = Number.NaN;
  for (let run = 0; run < runs; run++) {
    const file = join(server.folder, `orders-${run}.db`);
    copyFileSync(source, file);
    const ours = await server.database();
    const result = await switchback([
      "backfill",
      "--sqlite",
      file,
      "--postgres",
      ours,
      "--log-level",
      "error",
    ]).ended;
    seconds.switchback.push(result.seconds);
    peakMiB = Math.max(peakMiB, result.peakMiB ?? 0);
    const shape = await shapeOf(ours);
    if (shape.rows !== rows) throw new Error(`the backfill left ${shape.rows} rows of ${rows}`);
    if (run === 0) await exportCsv(ours, csv);
    seconds.copy.push(await limit(await server.database(), shape, csv, psql));
    if (run === 0)
      insertSeconds = await inserts(await server.database(), shape, source, Math.min(rows, INSERT_ROWS));
    if (pgloader)
      seconds.pgloader.push((await start("pgloader", [source, await server.database()]).ended).seconds);
  }
  const own = median(seconds.switchback);
  const limitSeconds = median(seconds.copy);
  return {
    rows,
    runs,
    switchbackSeconds: own,
    limitSeconds,
    limitWith: psql ? "psql \\copy" : "COPY through node",
    timesTheLimit: own / limitSeconds,
    insertsSeconds: (insertSeconds * rows) / Math.min(rows, INSERT_ROWS),
    insertsMeasuredRows: Math.min(rows, INSERT_ROWS),
    fasterThanInserts: (insertSeconds * rows) / Math.min(rows, INSERT_ROWS) / own,
    pgloaderSeconds: pgloader ? median(seconds.pgloader) : null,
    fasterThanPgloader: pgloader ? median(seconds.pgloader) / own : null,
    peakMiB,
    all: seconds,
  };
}

/** @typedef {{ rows: number, create: string, indexes: string[] }} Shape */

/** The table that switchback made, as statements that make it again. @param {string} url @returns {Promise<Shape>} */
async function shapeOf(url) {
  const client = await connect(url);
  const columns = await client.query(
    `SELECT string_agg(format('%I %s%s', attname, format_type(atttypid, atttypmod), CASE WHEN attnotnull THEN ' NOT NULL' ELSE '' END), ', ' ORDER BY attnum) AS list
     FROM pg_attribute WHERE attrelid = 'orders'::regclass AND attnum > 0 AND NOT attisdropped`,
  );
  const indexes = await client.query(
    `SELECT CASE WHEN c.oid IS NULL THEN pg_get_indexdef(i.indexrelid)
            ELSE format('ALTER TABLE orders ADD CONSTRAINT %I %s', c.conname, pg_get_constraintdef(c.oid)) END AS statement
     FROM pg_index i LEFT JOIN pg_constraint c ON c.conindid = i.indexrelid AND c.contype IN ('p', 'u') WHERE i.indrelid = 'orders'::regclass`,
  );
  const { rows } = await client.query("SELECT count(*)::int AS n FROM orders");
  await client.end();
  return {
    rows: rows[0].n,
    create: `CREATE TABLE orders(${columns.rows[0].list})`,
    indexes: indexes.rows.map((row) => row.statement),
  };
}

/** @param {string} url @param {string} csv */
async function exportCsv(url, csv) {
  const client = await connect(url);
  await pipeline(client.query(copyTo("COPY orders TO STDOUT (FORMAT csv)")), createWriteStream(csv));
  await client.end();
}

/** @param {string} url @param {Shape} shape @param {string} csv @param {boolean} psql */
async function limit(url, shape, csv, psql) {
  const client = await connect(url);
  await client.query(shape.create);
  const seconds = await timed(async () => {
    if (psql) await start("psql", [url, "-qc", `\\copy orders from '${csv}' csv`]).ended;
    else await pipeline(createReadStream(csv), client.query(copyFrom("COPY orders FROM STDIN (FORMAT csv)")));
    for (const statement of shape.indexes) await client.query(statement);
  });
  await client.end();
  return seconds;
}

/** Seconds for that many rows, indexes in place, one transaction. @param {string} url @param {Shape} shape @param {string} file @param {number} count */
async function inserts(url, shape, file, count) {
  const client = await connect(url);
  await client.query(shape.create);
  for (const statement of shape.indexes) await client.query(statement);
  const database = new Database(file, { readonly: true });
  const rows = database.prepare("SELECT * FROM orders LIMIT ?").raw();
  const seconds = await timed(async () => {
    await client.query("BEGIN");
    for (const row of rows.iterate(count)) {
      await client.query(
        "INSERT INTO orders VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
        /** @type {unknown[]} */ (row),
      );
    }
    await client.query("COMMIT");
  });
  database.close();
  await client.end();
  return seconds;
}
