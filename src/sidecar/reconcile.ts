// Makes the records of both stores agree with the file as it is now: which tables are followed, how they are mapped,
// and which must be copied. Capture is in place for exactly those. Run at every start and whenever the file's tables
// change.
//
// The order matters after a crash. The target is told that a table must be copied again before capture is repaired,
// so that a restart finds the repair still to be done.
import type pg from "pg";
import type { SourceConfig, TableConfig } from "../config/config.js";
import { entriesFor, isPattern, tableSettings } from "../config/table-settings.js";
import { SwitchbackError } from "../errors.js";
import type { Finding } from "../findings.js";
import { decideMappings } from "../mapping/decide.js";
import type { TableMapping } from "../mapping/mapping.js";
import { readAdopted } from "../postgres/ddl/adopted.js";
import { leaveTable, type Start, startTable } from "../postgres/ddl/lifecycle.js";
import { toleratedIn } from "../postgres/ddl/shape.js";
import type { TargetTable } from "../postgres/ddl/tables.js";
import type { FollowedTable, Records, SourceRecord } from "../postgres/records.js";
import { problem } from "../problem.js";
import { type Position, SourceChanged } from "../protocol/contract.js";
import { folded, type Schema } from "../schema/model.js";
import { forgottenTo, isOurStep, readCapture, schemaVersion } from "../sqlite/capture/install.js";
import type { SqliteSource } from "../sqlite/source/source.js";
import { forgetCarried } from "../sqlite/target/applied-windows.js";
import { setEpoch } from "../sqlite/target/copy-record.js";
import type { Problem } from "../status.js";
import { followRenames } from "./reconcile-renames.js";
import { putRight } from "./reconcile-tables.js";
import { fittingTables, refuseBlockers } from "./reconcile-target.js";
import { UnsettledTables } from "./unsettled-tables.js";

export interface Reconciled {
  readonly position: Position;
  readonly mark: string | null;
  readonly followed: readonly FollowedTable[];
  readonly mappings: readonly TableMapping[];
  readonly targets: readonly TargetTable[];
  readonly findings: readonly Finding[];
  readonly unsettled: UnsettledTables;
  /** What stands in the way of a flip. */
  readonly problems: readonly Problem[];
  /** What was wrong and is being put right: news, not a hindrance. */
  readonly healed: readonly Problem[];
}

export interface Sides {
  readonly config: SourceConfig;
  readonly file: SqliteSource;
  readonly records: Records;
  readonly client: pg.ClientBase;
  readonly owner: string;
}

/**
 * @throws SwitchbackError for everything that the operator must decide; nothing is changed before those checks
 * @throws SourceChanged when the file's tables changed meanwhile
 */
export async function reconcile(sides: Sides): Promise<Reconciled> {
  const { schema, version } = sides.file.schema();
  try {
    return await reconcileAt(sides, schema, version);
  } catch (error) {
    // A table that is read and was dropped meanwhile: whatever SQLite says, the next look sees it as it is.
    if (isSqliteError(error) && sides.file.look(schemaVersion) !== version) throw new SourceChanged();
    throw error;
  }
}

function isSqliteError(error: unknown): boolean {
  const code = (e: unknown) => String((e as { code?: unknown } | null)?.code);
  return code(error) === "SQLITE_ERROR" || code((error as Error | null)?.cause) === "SQLITE_ERROR";
}

async function reconcileAt(sides: Sides, schema: Schema, version: number): Promise<Reconciled> {
  const { config, file, records } = sides;
  const read = async () => new Map((await records.followed(config.name)).map((table) => [table.name, table]));
  let known = await read();
  const record = await records.source(config.name);
  checkIdentity(sides, record, known);
  const vanished = await leaveVanished(sides, known);
  if (vanished.length > 0) known = await read();
  if (await followRenames(sides, schema, version, known)) known = await read();
  const settled = settledMappings(schema, known, config);
  const { tables: configured, problems } = withoutGone(config, schema, record !== null);
  const present = { ...config, tables: configured };
  const adopted = config.target === "adopt" ? await readAdopted(sides.client, config.schema) : null;
  const decided = file.look((db) => decideMappings(db, schema, present, settled, adopted));
  refuseBlockers(decided.findings, config.name);
  const fitting = await fittingTables(sides, decided.mappings, { known, settled, first: record === null });
  const { mappings, tables, oddities, shapes, arriving, changed, states } = fitting;
  problems.push(...fitting.problems);
  const start = (table: TargetTable): Start => ({
    source: config.name,
    settings: mappingSettings(config, table.mapping.table.name),
    estimated: file.estimateOf(table.mapping.table),
    ranges: file.rangesOf(table.mapping.table),
    shape: shapes.want.get(table.mapping.table.name) ?? null,
    tolerated: toleratedIn(table, oddities),
  });
  const changedNames = new Set(changed.map(({ mapping }) => mapping.table.name));
  const lost = file.missedTables(mappings.filter((mapping) => known.has(mapping.table.name)));
  const missed = new Set(missedChanges(file, record));
  for (const name of missed) lost.add(name);
  const healed = await putRight(sides, {
    ...{ tables, known, lost, missed, shapes, start },
    changed: changedNames,
    moved:
      record !== null && record.version >= 0 && !file.look((db) => isOurStep(db, record.version, version)),
    position: record?.position ?? 0,
  });

  healed.push(...vanished);

  const captured = file.capture(mappings, version);
  // A table that was written to without triggers, after the look above: the next look copies it again.
  if (captured.fresh.some((name) => known.has(name) && !changedNames.has(name) && !lost.has(name)))
    throw new SourceChanged();
  if (!record) {
    // A file that joins later starts under the epoch that the others have reached, and as a copy of no database.
    const { epoch } = await records.route();
    file.look((db) => setEpoch(db, epoch));
    file.look(forgetCarried);
  }
  const claimed = await records.claim(
    { name: config.name, identity: captured.identity, file: config.sqlite, schema: config.schema },
    sides.owner,
  );
  for (const table of arriving) {
    const found = states.get(table.mapping.table.name) === "exists";
    await startTable(
      records,
      table,
      config.target === "adopt" ? "adopt" : found ? "found" : "make",
      start(table),
    );
  }
  const dropped: FollowedTable[] = [];
  for (const before of known.values()) {
    if (mappings.some((mapping) => mapping.table.name === before.name) || fitting.unfit.has(before.name))
      continue;
    const gone = await leave(sides, schema, before);
    if (!gone) continue;
    dropped.push(before);
    problems.push(gone);
  }
  await records.setVersion(config.name, captured.version);
  for (const mapping of await records.unfenced(mappings)) {
    await records.transaction(() => records.fence(mapping));
    const table = mapping.table.name;
    healed.push(problem("FENCE_LOST", `the fence of ${table} was gone`, { source: config.name, table }));
  }
  const followed = (await records.followed(config.name)).filter((table) =>
    mappings.some((m) => m.table.name === table.name),
  );
  return {
    position: claimed.position,
    mark: claimed.mark,
    followed,
    mappings,
    targets: tables,
    findings: decided.findings,
    unsettled: new UnsettledTables(config, dropped, fitting.stillUnfit),
    problems,
    healed,
  };
}

/** Everything in the configuration that decides how a table is mapped, as text: when it changes, so may the mapping. */
function mappingSettings(config: SourceConfig, table: string): string {
  const [own, ...patterns] = [tableSettings(config.tables, table), ...patternsFor(config, table)];
  return JSON.stringify([config.schema, config.target, config.lengths, own ?? null, ...patterns]);
}

function patternsFor({ tables }: SourceConfig, table: string): TableConfig[] {
  return entriesFor(tables, table).flatMap(([key, settings]) => (isPattern(key) ? [settings] : []));
}

/**
 * The configuration without tables and columns that the file no longer has: in a source that is followed already they
 * are a problem, and stop no other table. At first they are refused as misspelled.
 */
function withoutGone(
  config: SourceConfig,
  schema: Schema,
  isFollowed: boolean,
): { readonly tables: SourceConfig["tables"]; readonly problems: Problem[] } {
  if (!isFollowed) return { tables: config.tables, problems: [] };
  const problems: Problem[] = [];
  const gone = (table: string, message: string) =>
    problems.push(
      problem("TABLE_UNKNOWN", `${message}, which the configuration names`, { source: config.name, table }),
    );
  const tables: Record<string, SourceConfig["tables"][string]> = {};
  for (const [name, settings] of Object.entries(config.tables)) {
    if (isPattern(name)) {
      tables[name] = settings;
      continue;
    }
    const table = schema.tables.find((one) => folded(one.name) === folded(name));
    if (!table) {
      gone(name, `there is no table ${name}`);
      continue;
    }
    const has = (column: string) =>
      isPattern(column) || table.columns.some((one) => folded(one.name) === folded(column));
    const columns = Object.entries(settings.columns).filter(([column]) => {
      if (!has(column)) gone(name, `${name} has no column ${column}`);
      return has(column);
    });
    tables[name] = { ...settings, columns: Object.fromEntries(columns) };
  }
  return { tables, problems };
}

function checkIdentity(
  { config, file }: Sides,
  record: SourceRecord | null,
  known: ReadonlyMap<string, FollowedTable>,
): void {
  if (!record) return;
  const where = { source: config.name, file: config.sqlite };
  const identity = file.recordedIdentity();
  if (identity !== record.identity) {
    const what = identity === null ? "has no change log" : "is another file";
    throw new SwitchbackError(
      "TARGET_FOREIGN",
      `${config.sqlite} ${what}, but source ${config.name} in this database was copied from ${record.file}`,
      where,
    );
  }
  const newest = file.position();
  const rewound = (what: string) => new SwitchbackError("SQLITE_REWOUND", `${config.sqlite}: ${what}`, where);
  if (newest < record.position) {
    throw rewound(`the change log ends at ${newest}, but ${record.position} was already applied`);
  }
  const forgotten = file.look(forgottenTo);
  const holds = [...known.values()].some(({ ranges }) => ranges.some(({ rows }) => rows !== null));
  if (forgotten > record.position && holds) {
    throw new SwitchbackError(
      "LOG_TAMPERED",
      `${config.sqlite}: the change log begins after ${forgotten}, but PostgreSQL holds the changes up to ${record.position} only, as after restoring a backup of PostgreSQL`,
      where,
    );
  }
  if (record.position > 0 && record.mark !== null && file.markAt(record.position) !== record.mark) {
    throw rewound(
      `the change log at ${record.position} is not the one that was applied, as after a restored backup or a power cut`,
    );
  }
}

/**
 * Tables whose capture was lost and repaired after the position that the target has: it has been copied again since,
 * but this target is older than that.
 */
function missedChanges(file: SqliteSource, record: SourceRecord | null): string[] {
  const since = file.look(readCapture)?.since ?? new Map<string, Position>();
  return [...since].filter(([, from]) => record && record.position < from).map(([name]) => name);
}

/** Mappings that stay as they were decided: the table's DDL and its configuration are the same. */
function settledMappings(
  schema: Schema,
  known: ReadonlyMap<string, FollowedTable>,
  config: SourceConfig,
): Map<string, TableMapping> {
  const settled = new Map<string, TableMapping>();
  for (const table of schema.tables) {
    const before = known.get(table.name);
    if (!before || before.ddl !== table.sql || before.settings !== mappingSettings(config, table.name))
      continue;
    // The key stays too: a NULL that turned up in it since is a row for quarantine, not another key.
    settled.set(table.name, { ...before.mapping, table: { ...table, key: before.mapping.table.key } });
  }
  return settled;
}

/** Copies that were made here and that others dropped: they are made and filled again, as those of new tables. */
async function leaveVanished(
  { config, records }: Sides,
  known: ReadonlyMap<string, FollowedTable>,
): Promise<Problem[]> {
  const made = [...known.values()].filter((table) => table.made);
  const vanished = await records.vanished(made);
  for (const before of vanished) await leaveTable(records, config.name, before);
  return vanished.map(({ name, mapping }) => {
    const message = `the table ${mapping.schema}.${mapping.target} was dropped or renamed in PostgreSQL; it is copied again`;
    return problem("SHAPE_DIFFERS", message, { source: config.name, table: name });
  });
}

/** A followed table that is no longer mapped: excluded now, or dropped in SQLite. */
async function leave(sides: Sides, schema: Schema, before: FollowedTable): Promise<Problem | null> {
  const { records, config } = sides;
  const excluded = schema.tables.some((table) => table.name === before.name);
  if (excluded || !(await records.tableExists(before.mapping))) {
    await leaveTable(records, config.name, before);
    return null;
  }
  const copy = `${before.mapping.schema}.${before.mapping.target}`;
  const message = `the table ${before.name} was dropped in SQLite; ${copy} still holds its rows`;
  return problem("TABLE_DROPPED", message, { source: config.name, table: before.name });
}
