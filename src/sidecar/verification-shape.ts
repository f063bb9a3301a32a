// The part of a verification that looks at no rows: is each target table what a fresh copy of the file as it is now
// would make? A sidecar that follows may be about to see a change of the file's tables; it is given time for that.
import type pg from "pg";
import type { SourceConfig } from "../config/config.js";
import { compareShapes } from "../postgres/ddl/compare-shapes.js";
import type { ShapeDifference } from "../postgres/ddl/shape-difference.js";
import type { FollowedTable, Records } from "../postgres/records.js";
import { pause } from "../retry.js";
import type { SqliteSource } from "../sqlite/source/source.js";

/** A sidecar that has not seen a change yet sees it within milliseconds; building what came takes longer. */
const NOTICE_MS = 1_000;
const SETTLE_MS = 10_000;
const LOOK_MS = 50;

interface ShapeOptions {
  readonly source: SourceConfig;
  readonly file: SqliteSource;
  readonly records: Records;
  readonly client: pg.Client;
  readonly signal: AbortSignal;
}

/** The differences of all followed tables of the source that SQLite still has. */
export async function verifyShapes(options: ShapeOptions): Promise<ShapeDifference[]> {
  for (const started = performance.now(); ; await pause(LOOK_MS, options.signal)) {
    const { found, settled } = await shapesNow(options);
    const waitMs = settled ? NOTICE_MS : SETTLE_MS;
    if (found.length === 0 || performance.now() - started > waitMs) return found;
  }
}

/** The same at one moment; `settled` false while a sidecar that follows may be about to change what was found. */
export async function shapesNow({
  source,
  file,
  records,
  client,
}: Omit<ShapeOptions, "signal">): Promise<{ found: ShapeDifference[]; settled: boolean }> {
  const present = new Map(file.schema().schema.tables.map((table) => [table.name, table]));
  const outdated: ShapeDifference[] = [];
  const tables: Pick<FollowedTable, "mapping" | "shape">[] = [];
  const followed = await records.followed(source.name);
  for (const { name, ddl, mapping, shape } of followed) {
    const table = present.get(name);
    if (!table) continue;
    // The key is as it was decided: a NULL in it since is a row for quarantine.
    if (ddl === table.sql)
      tables.push({ mapping: { ...mapping, table: { ...table, key: mapping.table.key } }, shape });
    else outdated.push({ table: name, what: "table", source: table.sql, target: `the copy of ${ddl}` });
  }
  const found = [...outdated, ...(await compareShapes(client, source.target, tables))];
  return { found, settled: outdated.length === 0 && followed.every(({ state }) => state === "streaming") };
}
