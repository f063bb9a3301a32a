// The shape of a target as PostgreSQL's catalogue prints it, by code that shares nothing with the product. Also a
// sidecar in this process, and the target that a fresh start makes of a file.
import { copyFileSync } from "node:fs";
import { join } from "node:path";
import Database from "better-sqlite3";
import pg from "pg";
import { type Config, loadConfig } from "#switchback/config/config.js";
import { keepForeignKeys } from "#switchback/postgres/ddl/constraints.js";
import { Records } from "#switchback/postgres/records.js";
import { Sidecar } from "#switchback/sidecar/sidecar.js";
import { removeCapture } from "#switchback/sqlite/capture/install.js";

import { silentLog } from "./log.js";
import { temporaryFolder } from "./scratch.js";

import { testDatabase, type Version } from "./servers.js";

const SHAPE = `
  SELECT format('%s column %s %s %s%s default=%s %s%s', c.relname,
                row_number() OVER (PARTITION BY c.oid ORDER BY a.attnum), a.attname, format_type(a.atttypid, a.atttypmod),
                CASE WHEN a.attnotnull THEN ' not null' END, pg_get_expr(d.adbin, d.adrelid), a.attidentity, a.attgenerated) AS line
    FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
    LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
   WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'r'
  UNION ALL
  SELECT format('%s constraint %s %s', conrelid::regclass, conname, pg_get_constraintdef(oid))
    FROM pg_constraint WHERE connamespace = 'public'::regnamespace AND contype <> 'n'
  UNION ALL
  SELECT indexdef FROM pg_indexes WHERE schemaname = 'public'
  UNION ALL
  SELECT format('%s later %s', table_name, definition) FROM switchback.suspended WHERE kind = 'foreign key'
  ORDER BY 1`;

/** One line for each column, constraint and index, and for each foreign key that a cutover would add. */
export async function shapeLines(url: string): Promise<string[]> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    const records = new Records(client);
    await keepForeignKeys(records, "app", await records.followed("app"));
    return (await client.query<{ line: string }>(SHAPE)).rows.map(({ line }) => line);
  } finally {
    await client.end();
  }
}

export function configFor(path: string, url: string): Config {
  // One reader: starting a thread takes longer than these copies.
  return { ...loadConfig({ sqlite: [path], postgres: url }, {}, join(path, "..")), backfill: { workers: 1 } };
}

export function sidecarFor(config: Config): Sidecar {
  if (!config.postgres) throw new Error("the configuration names no server");
  return new Sidecar(config, config.postgres, silentLog(), { table() {}, phase() {}, done() {} });
}

/** What `switchback backfill` does. */
export async function backfill(path: string, url: string): Promise<void> {
  const sidecar = sidecarFor(configFor(path, url));
  try {
    await sidecar.backfill(new AbortController().signal, true);
  } finally {
    await sidecar.close();
  }
}

/** The shape of a new target made from the file as it is now. */
export async function freshShape(path: string, version: Version): Promise<string[]> {
  const { folder, remove } = temporaryFolder();
  const database = await testDatabase(version);
  try {
    const copy = join(folder, "app.db");
    const file = new Database(path);
    file.pragma("wal_checkpoint(TRUNCATE)");
    file.close();
    copyFileSync(path, copy);
    const bare = new Database(copy);
    removeCapture(bare);
    bare.close();
    await backfill(copy, database.url);
    return await shapeLines(database.url);
  } finally {
    await database.drop();
    remove();
  }
}
