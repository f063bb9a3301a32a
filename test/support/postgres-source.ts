// What the tests of PostgreSQL as a source share: tables with hand-made mappings in a database that holds
// switchback's records, and a copy in memory that windows are applied to.
import pg from "pg";
import { type CodecSpec, codecFor } from "#switchback/codec/registry.js";
import type { PostgresConfig } from "#switchback/config/config.js";
import type { ColumnMapping, TableMapping } from "#switchback/mapping/mapping.js";
import { type CapturedTable, installPostgresCapture } from "#switchback/postgres/capture.js";
import { connectPostgres } from "#switchback/postgres/connection.js";
import { Records } from "#switchback/postgres/records.js";
import { PostgresSource } from "#switchback/postgres/source/source.js";
import type { EncodedRow, Rows, Scope, Window } from "#switchback/protocol/contract.js";
import { type TestDatabase, testDatabase, type Version } from "./servers.js";

export const OWNER = "the test";
export const SCOPE: Scope = { copied: () => "all", quarantined: () => false };

type Spec = Partial<CodecSpec> & { readonly type: string };

export function columnOf(target: string, spec: Spec, notNull = false): ColumnMapping {
  const whole: CodecSpec = { affinity: "BLOB", ...spec };
  return { source: `"${target}"`, column: target, target, spec: whole, codec: codecFor(whole), notNull };
}

/** A mapping onto an existing table; `name` is SQLite's name of it. */
export function mappingOf(
  name: string,
  columns: Readonly<Record<string, Spec | string>>,
  key: readonly string[],
  place: { schema?: string; target?: string } = {},
): TableMapping {
  const mapped = Object.entries(columns).map(([target, spec]) =>
    columnOf(target, typeof spec === "string" ? { type: spec } : spec),
  );
  return {
    table: {
      name,
      columns: [],
      key: { kind: "columns", columns: key },
      primaryKey: key,
      integerPrimaryKey: null,
      autoincrement: false,
      withoutRowid: false,
      rowidAlias: null,
      indexes: [],
      foreignKeys: [],
      checks: [],
      sql: "",
    },
    schema: place.schema ?? "public",
    target: place.target ?? name,
    columns: mapped,
    key: key.map((target) => mapped.find((column) => column.target === target) as ColumnMapping),
  };
}

export function configOf(url: string): PostgresConfig {
  const { hostname, port, pathname, username, password } = new URL(url);
  return {
    host: hostname,
    port: Number(port),
    database: pathname.slice(1),
    user: username,
    password,
    ssl: false,
    maxConnections: 10,
  };
}

/** A database with followed tables, a session of the application's and one of the sidecar's. */
export interface FileIdentity {
  readonly database: TestDatabase;
  readonly config: PostgresConfig;
  readonly app: pg.Client;
  readonly sidecar: pg.Client;
  readonly tables: readonly CapturedTable[];
  readonly source: PostgresSource;
  end(): Promise<void>;
}

export async function place(
  version: Version,
  ddl: string,
  mappings: readonly TableMapping[],
  database?: TestDatabase,
): Promise<FileIdentity> {
  const made = database ?? (await testDatabase(version));
  const config = configOf(made.url);
  const app = await made.client();
  const sidecar = await connectPostgres(config, { name: "sidecar" });
  await new Records(sidecar).install();
  await sidecar.query(
    "INSERT INTO switchback.source (name, identity, file, schema, owner) VALUES ('s', 'i', 'f', 'public', $1)",
    [OWNER],
  );
  await app.query(ddl);
  const tables: CapturedTable[] = [];
  for (const mapping of mappings) {
    const { rows } = await sidecar.query<{ id: number }>(
      `INSERT INTO switchback.followed (source, name, mapping, ddl, settings, state, made)
       VALUES ('s', $1, '{}', '', '', 'streaming', true) RETURNING id`,
      [mapping.table.name],
    );
    tables.push({ id: rows[0]?.id ?? 0, mapping });
  }
  await installPostgresCapture(sidecar, tables);
  const source = await PostgresSource.open(config, "s", OWNER);
  source.follow(tables);
  return {
    database: made,
    config,
    app,
    sidecar,
    tables,
    source,
    async end() {
      await source.close();
      await sidecar.end().catch(() => {});
      await made.drop();
    },
  };
}

export async function* eachRow(rows: Rows): AsyncGenerator<EncodedRow> {
  if (rows.kind === "csv") throw new Error("PostgreSQL as a source gives no CSV");
  if (rows.kind === "values") yield* rows.values;
  else for await (const batch of rows.batches()) yield* batch;
}

/** What a target of the windows would hold: rows by key, per table. */
export class Copy {
  position = 0;
  readonly tables: ReadonlyMap<string, Map<string, EncodedRow>>;
  private readonly at: ReadonlyMap<string, readonly number[]>;

  constructor(mappings: readonly TableMapping[]) {
    this.tables = new Map(mappings.map(({ table }) => [table.name, new Map()]));
    this.at = new Map(
      mappings.map(({ table, columns, key }) => [table.name, key.map((column) => columns.indexOf(column))]),
    );
  }

  rows(table: string): EncodedRow[] {
    return [...(this.tables.get(table)?.values() ?? [])].sort((a, b) =>
      JSON.stringify(a) < JSON.stringify(b) ? -1 : 1,
    );
  }

  /** Applies a window and closes it as applied. */
  async apply(window: Window): Promise<void> {
    if (window.from !== this.position) throw new Error(`a window from ${window.from} at ${this.position}`);
    for (const { table, rows, gone } of window.tables) {
      const held = this.tables.get(table) as Map<string, EncodedRow>;
      for await (const key of eachRow(gone)) held.delete(JSON.stringify(key));
      for await (const row of eachRow(rows)) {
        held.set(JSON.stringify(this.at.get(table)?.map((i) => row[i])), row);
      }
    }
    await window.close(true);
    this.position = window.to;
  }

  /** Applies what there is now; how many changes that were. */
  async follow(source: PostgresSource): Promise<number> {
    const window = await source.window(this.position, SCOPE);
    if (!window) return 0;
    await this.apply(window);
    return window.changes;
  }
}

/** The table's present rows as PostgreSQL prints them, in the interchange form's order of columns. */
export async function present(client: pg.ClientBase, mapping: TableMapping): Promise<EncodedRow[]> {
  const list = mapping.columns.map(({ target }) => pg.escapeIdentifier(target)).join(", ");
  const { rows } = await client.query<(string | null)[]>({
    text: `SELECT ${list} FROM ${pg.escapeIdentifier(mapping.schema)}.${pg.escapeIdentifier(mapping.target)}`,
    rowMode: "array",
    types: { getTypeParser: () => (text: string) => text },
  });
  return rows.sort((a, b) => (JSON.stringify(a) < JSON.stringify(b) ? -1 : 1));
}
