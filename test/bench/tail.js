// A backlog of changes made while no sidecar ran, caught up by one command, beside the same merge done in SQL alone
// from staging tables that hold the rows already.
import { copyFileSync } from "node:fs";
import { join } from "node:path";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import Database from "better-sqlite3";
import { from as copyFrom } from "pg-copy-streams";
import { connect, switchback, timed } from "./measure.js";
import { makeBacklog, makeOrders } from "./orders.js";

/** Tells two tables' contents apart whatever the order of their rows, which a sum of floats would not. */
const CONTENT = "SELECT count(*)::int AS n, sum(hashtext(orders::text))::text AS total FROM orders";

/** @param {import("./measure.js").Server} server @param {{ changes: number }} sizes */
export async function benchTail(server, { changes }) {
  const rows = changes;
  const file = join(server.folder, "tail.db");
  makeOrders(file, rows);
  const before = join(server.folder, "tail-before.db");
  copyFileSync(file, before);
  const url = await server.database();
  const args = ["backfill", "--sqlite", file, "--postgres", url, "--log-level", "error"];
  await switchback(args).ended;
  // The same command with nothing to do: what starting costs, which is no part of a tail's throughput.
  const idle = await switchback(args).ended;
  makeBacklog(file, rows, changes);
  const caught = await switchback(args).ended;
  const plain = await server.database();
  await switchback(["backfill", "--sqlite", before, "--postgres", plain, "--log-level", "error"]).ended;
  const merge = await mergeInSql(plain, file, before);
  const client = await connect(url);
  const equal = await client.query(CONTENT);
  await client.end();
  const seconds = caught.seconds - idle.seconds;
  return {
    changes,
    seconds,
    startSeconds: idle.seconds,
    perSecond: changes / seconds,
    mergeSeconds: merge.seconds,
    mergePerSecond: changes / merge.seconds,
    timesTheMerge: merge.seconds / seconds,
    loadAndMergeSeconds: merge.loadSeconds + merge.seconds,
    peakMiB: caught.peakMiB,
    sameRows: equal.rows[0].n === merge.rows && equal.rows[0].total === merge.total,
  };
}

/**
 * The rows that differ between the two files, staged, then one DELETE and one upsert in one transaction, on a table
 * with the same indexes but without switchback's triggers.
 * @param {string} url @param {string} after @param {string} before
 */
async function mergeInSql(url, after, before) {
  const client = await connect(url);
  const triggers = await client.query(
    "SELECT tgname FROM pg_trigger WHERE tgrelid = 'orders'::regclass AND NOT tgisinternal",
  );
  for (const { tgname } of triggers.rows) await client.query(`DROP TRIGGER ${tgname} ON orders`);
  await client.query(
    "CREATE UNLOGGED TABLE staged AS SELECT * FROM orders LIMIT 0; CREATE UNLOGGED TABLE gone(id bigint)",
  );
  const database = new Database(after, { readonly: true });
  database.exec(`ATTACH '${before}' AS old`);
  const changed = database
    .prepare(
      "SELECT n.* FROM main.orders n LEFT JOIN old.orders o USING (id) WHERE o.id IS NULL OR o.notes <> n.notes",
    )
    .raw()
    .all();
  const gone = database
    .prepare("SELECT id FROM old.orders WHERE id NOT IN (SELECT id FROM main.orders)")
    .raw()
    .all();
  database.close();
  const loadSeconds = await timed(async () => {
    await pipeline(
      Readable.from(csvOf(changed)),
      client.query(copyFrom("COPY staged FROM STDIN (FORMAT csv)")),
    );
    await pipeline(Readable.from(csvOf(gone)), client.query(copyFrom("COPY gone FROM STDIN (FORMAT csv)")));
  });
  await client.query("ANALYZE staged; ANALYZE gone");
  const { rows: columns } = await client.query(
    `SELECT string_agg(format('%1$I = excluded.%1$I', attname), ', ') AS sets FROM pg_attribute
     WHERE attrelid = 'orders'::regclass AND attnum > 0 AND NOT attisdropped AND attname <> 'id'`,
  );
  const seconds = await timed(async () => {
    await client.query("BEGIN");
    await client.query("DELETE FROM orders USING gone WHERE orders.id = gone.id");
    await client.query(
      `INSERT INTO orders SELECT * FROM staged ON CONFLICT (id) DO UPDATE SET ${columns[0].sets}`,
    );
    await client.query("COMMIT");
  });
  const { rows } = await client.query(CONTENT);
  await client.end();
  return { seconds, loadSeconds, rows: rows[0].n, total: rows[0].total };
}

/** @param {unknown[]} rows */
function* csvOf(rows) {
  for (const row of rows) yield `${/** @type {unknown[]} */ (row).map(csvValue).join(",")}\n`;
}

/** @param {unknown} value */
function csvValue(value) {
  if (value === null) return "";
  if (Buffer.isBuffer(value)) return `\\x${value.toString("hex")}`;
  return typeof value === "string" ? `"${value.replaceAll('"', '""')}"` : String(value);
}
