// A copy of a SQLite file into tables that the test made by hand in PostgreSQL: real stores and the real link, with
// ranges as small as the test likes. What the tables' constraints refuse is the test's business.
import type { SourceConfig } from "#switchback/config/config.js";
import { decideMappings } from "#switchback/mapping/decide.js";
import type { TableMapping } from "#switchback/mapping/mapping.js";
import { connectPostgres } from "#switchback/postgres/connection.js";
import { beginTable } from "#switchback/postgres/followed.js";
import { Records } from "#switchback/postgres/records.js";
import { PostgresTarget } from "#switchback/postgres/target/target.js";
import { Link, type TargetMirror } from "#switchback/protocol/link.js";
import { cutRanges } from "#switchback/sqlite/source/ranges.js";
import { SqliteSource } from "#switchback/sqlite/source/source.js";
import { configOf } from "./postgres-source.js";

const OWNER = "the test";

export interface CopyOptions {
  readonly file: string;
  readonly url: string;
  readonly workers: number;
  readonly rowsPerRange: number;
  /** The target's DDL, run before anything is copied. */
  readonly target: string;
}

export interface Copying {
  readonly link: Link;
  readonly held: TargetMirror;
  readonly source: SqliteSource;
  readonly target: PostgresTarget;
  readonly mappings: readonly TableMapping[];
  close(): Promise<void>;
}

export function sourceConfig(sqlite: string): SourceConfig {
  return {
    ...{ name: "app", sqlite, schema: "public", target: "create", lengths: "drop" },
    ...{ include: ["*"], exclude: [], tables: {} },
  };
}

/** Everything ready for `link.copy`. */
export async function prepareCopy(options: CopyOptions): Promise<Copying> {
  const postgres = configOf(options.url);
  const client = await connectPostgres(postgres, { name: "test" });
  const source = new SqliteSource("app", options.file, options.workers);
  const records = new Records(client);
  await records.install();
  await client.query(`SET search_path = public; ${options.target}`);
  const { schema, version } = source.schema();
  const { mappings } = source.look((db) => decideMappings(db, schema, sourceConfig(options.file)));
  const { identity } = source.capture(mappings, version);
  await records.claim({ name: "app", identity, file: options.file, schema: "public" }, OWNER);
  const held: TargetMirror = { position: 0, tables: new Map() };
  for (const mapping of mappings) {
    const { table } = mapping;
    const rows = source.estimateOf(table);
    const ranges = source.look((db) => cutRanges(db, table, rows, options.rowsPerRange));
    await beginTable(records, "app", {
      ...{ mapping, settings: "", estimated: rows, made: true, ranges, shape: null },
    });
    const [pending, total] = [[...ranges], ranges.length];
    held.tables.set(table.name, { pending, copied: [], total, rows: 0, quarantined: 0 });
  }
  const target = await PostgresTarget.open(postgres, "app", OWNER, options.workers);
  await target.follow(mappings);
  const link = new Link(source, target, held, { advanced() {}, copied() {}, refused() {} });
  return {
    ...{ link, held, source, target, mappings },
    async close() {
      await target.close();
      await source.close();
      await client.end();
    },
  };
}
