// Makes the records of both stores agree with the file as it is now: which tables are followed, how they are
// mapped, which must be copied, and that capture is in place for exactly those. Run at every start and whenever
// the file's tables change.
//
// Order matters to crashes: the target is told that a table must be copied anew before capture is repaired, so
// that an end in between finds the repair still to be done.
import type pg from "pg";
import type { Finding } from "./commands/command.js";
import type { SourceConfig } from "./config.js";
import { ERRORS, type ErrorCode, SwitchbackError } from "./errors.js";
import { decideMappings } from "./mapping/decide.js";
import type { TableMapping } from "./mapping/mapping.js";
import type { Oddity, Schema, Table } from "./schema.js";
import type { Problem } from "./status.js";
import type { Control, FollowedTable, SourceRecord } from "./store/postgres/control.js";
import { buildTargetSchema, inspectTarget, type TargetTable } from "./store/postgres/schema.js";
import { leaveTable, reshapeTable, restartTable, type Start, startTable } from "./store/postgres/tables.js";
import { forgottenTo, isOurStep, readCapture } from "./store/sqlite/capture.js";
import { forgetCarried } from "./store/sqlite/carried.js";
import { setEpoch } from "./store/sqlite/copy-state.js";
import type { SqliteSource } from "./store/sqlite/source.js";
import type { Position } from "./store/store.js";

export interface Reconciled {
  readonly position: Position;
  readonly mark: string | null;
  readonly followed: readonly FollowedTable[];
  readonly mappings: readonly TableMapping[];
  readonly targets: readonly TargetTable[];
  readonly findings: readonly Finding[];
  readonly oddities: readonly Oddity[];
  /** What stands in the way of a flip. */
  readonly problems: readonly Problem[];
  /** What was wrong and is being put right: news, not a hindrance. */
  readonly healed: readonly Problem[];
}

export interface Sides {
  readonly config: SourceConfig;
  readonly file: SqliteSource;
  readonly control: Control;
  readonly client: pg.ClientBase;
  readonly owner: string;
}

/** @throws SwitchbackError for everything that the operator must decide; nothing is changed before those checks */
export async function reconcile(sides: Sides): Promise<Reconciled> {
  const { config, file, control } = sides;
  const { schema, version } = file.schema();
  const known = new Map((await control.followed(config.name)).map((table) => [table.name, table]));
  const record = await control.source(config.name);
  checkIdentity(sides, record, known);
  const settled = settledMappings(schema, known, config);
  const present = { ...config, tables: withoutDropped(config, schema, known) };
  const { mappings, findings } = decideMappings(file.database, schema, present, settled);
  refuseBlockers(findings, config.name);
  const { tables, oddities } = buildTargetSchema(mappings);
  const start = (table: TargetTable): Start => ({
    source: config.name,
    settings: settingsOf(config, table.mapping.table.name),
    estimated: file.estimateOf(table.mapping.table),
    ranges: file.rangesOf(table.mapping.table),
  });
  const problems: Problem[] = [];
  const healed: Problem[] = [];
  const arriving = tables.filter(({ mapping }) => !known.has(mapping.table.name));
  const states = await inspectArrivals(sides, arriving);
  const changed = tables.filter(
    ({ mapping }) => known.has(mapping.table.name) && !settled.has(mapping.table.name),
  );
  if (config.target === "adopt") await inspectChanged(sides, changed);

  const lost = file.missingTriggers(mappings.filter((mapping) => known.has(mapping.table.name)));
  const missed = new Set(missedChanges(file, record));
  for (const name of missed) lost.add(name);
  const moved = record !== null && record.version >= 0 && !isOurStep(file.database, record.version, version);
  for (const table of tables) {
    const before = known.get(table.mapping.table.name);
    if (!before || changed.includes(table)) continue;
    if (lost.has(before.name)) {
      healed.push(healing(before, table.mapping, config.name, missed.has(before.name)));
    } else if (!(moved && renumberable(before))) {
      if (!sameIndexes(before.mapping.table, table.mapping.table))
        await refinish(control, config.name, before, table);
      continue;
    }
    await restartTable(control, before, table.mapping, start(table));
  }
  for (const table of changed) {
    const before = known.get(table.mapping.table.name);
    if (!before) continue;
    if (before.made) await reshapeTable(control, before, table, start(table));
    else await restartTable(control, before, table.mapping, start(table));
  }

  const captured = file.capture(mappings, version);
  if (!record) {
    // A file that joins later starts under the epoch that the others have reached, and as nobody's copy.
    setEpoch(file.database, (await control.route()).epoch);
    forgetCarried(file.database);
  }
  const claimed = await control.claim(
    { name: config.name, identity: captured.identity, file: config.sqlite, schema: config.schema },
    sides.owner,
  );
  for (const table of arriving) {
    const found = states.get(table.mapping.table.name) === "exists";
    await startTable(
      control,
      table,
      config.target === "adopt" ? "adopt" : found ? "found" : "make",
      start(table),
    );
  }
  for (const before of known.values()) {
    if (mappings.some((mapping) => mapping.table.name === before.name)) continue;
    const gone = await leave(sides, schema, before);
    if (gone) problems.push(gone);
  }
  await control.setVersion(config.name, captured.version);
  for (const mapping of await control.unfenced(mappings)) {
    await control.transaction(() => control.fence(mapping));
    healed.push(
      problem("FENCE_LOST", `the fence of ${mapping.table.name} was gone`, config.name, mapping.table.name),
    );
  }
  const followed = (await control.followed(config.name)).filter((table) =>
    mappings.some((m) => m.table.name === table.name),
  );
  return {
    position: claimed.position,
    mark: claimed.mark,
    followed,
    mappings,
    targets: tables,
    findings,
    oddities,
    problems,
    healed,
  };
}

/** Everything in the configuration that decides how a table is mapped, as text: when it changes, so may the mapping. */
export function settingsOf(config: SourceConfig, table: string): string {
  return JSON.stringify([config.schema, config.target, config.lengths, config.tables[table] ?? null]);
}

/** The configured tables, but for those that were followed and are gone: they are a problem of their own. */
function withoutDropped(
  config: SourceConfig,
  schema: Schema,
  known: ReadonlyMap<string, FollowedTable>,
): SourceConfig["tables"] {
  const there = new Set(schema.tables.map(({ name }) => name));
  return Object.fromEntries(
    Object.entries(config.tables).filter(([name]) => there.has(name) || !known.has(name)),
  );
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
  const forgotten = forgottenTo(file.database);
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
 * Tables whose capture was lost and mended after the position that the target has: it has been copied anew since,
 * but this target is older than that.
 */
function missedChanges(file: SqliteSource, record: SourceRecord | null): string[] {
  const since = readCapture(file.database)?.since ?? new Map<string, Position>();
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
    if (!before || before.ddl !== table.sql || before.settings !== settingsOf(config, table.name)) continue;
    // The key stays too: a NULL that turned up in it since is a row for quarantine, not another key.
    settled.set(table.name, { ...before.mapping, table: { ...table, key: before.mapping.table.key } });
  }
  return settled;
}

/** True when VACUUM, which also moves the schema version, may have given the table's rows other rowids that matter. */
function renumberable(table: FollowedTable): boolean {
  const { key, integerPrimaryKey, withoutRowid } = table.mapping.table;
  if (integerPrimaryKey !== null || withoutRowid) return false;
  return key.kind === "rowid" || table.ranges.some((range) => range.rows === null);
}

function sameIndexes(a: Table, b: Table): boolean {
  // Spelled out, because PostgreSQL's jsonb hands the members back in another order.
  const shape = (table: Table) =>
    table.indexes.map(({ name, unique, origin, where, terms }) => [
      ...[name, unique, origin, where],
      terms.map(({ column, expression, collation, descending }) => [
        column,
        expression,
        collation,
        descending,
      ]),
    ]);
  return JSON.stringify(shape(a)) === JSON.stringify(shape(b));
}

/** New indexes in SQLite are built in the target as well, and dropped ones dropped; the rows need no second look. */
async function refinish(
  control: Control,
  source: string,
  before: FollowedTable,
  table: TargetTable,
): Promise<void> {
  const [old] = buildTargetSchema([before.mapping]).tables;
  const kept = table.indexes.map(({ name }) => name);
  const dropped = (old?.indexes ?? []).map(({ name }) => name).filter((name) => !kept.includes(name));
  await control.transaction(async () => {
    for (const name of before.made ? dropped : []) await control.dropIndex(before.mapping, name);
    await control.updateMapping(source, table.mapping);
    if (before.state === "streaming") await control.setState(source, before.name, "finishing");
  });
}

/** Why a table is copied anew that was followed: what it missed is unknown. */
function healing(before: FollowedTable, mapping: TableMapping, source: string, missed: boolean): Problem {
  if (missed) {
    const message = `the change log holds every change of ${before.name} only from a later position on; it is copied again`;
    return problem("CAPTURE_LOST", message, source, before.name);
  }
  const why = sameIndexes(before.mapping.table, mapping.table)
    ? `the triggers of ${before.name} had vanished`
    : `${before.name} has a new unique index, and what a REPLACE evicted through it so far was not captured`;
  return problem("CAPTURE_LOST", `${why}; it is copied anew`, source, before.name);
}

async function inspectArrivals(sides: Sides, arriving: readonly TargetTable[]) {
  if (arriving.length === 0) return new Map<string, string>();
  const { findings, tables } = await inspectTarget(
    sides.client,
    arriving,
    sides.config.target,
    sides.config.name,
  );
  refuseBlockers(findings, sides.config.name);
  return tables;
}

async function inspectChanged(sides: Sides, changed: readonly TargetTable[]): Promise<void> {
  if (changed.length === 0) return;
  const { findings } = await inspectTarget(sides.client, changed, "adopt", sides.config.name);
  // The table is full of our own copy, of course.
  const blocker = findings.find(
    ({ severity, code }) => severity === "blocker" && code !== "target-not-empty",
  );
  if (!blocker) return;
  const where = {
    source: sides.config.name,
    ...(blocker.table === undefined ? {} : { table: blocker.table }),
  };
  throw new SwitchbackError(
    "SCHEMA_CHANGED",
    `the table changed in SQLite, and its target does not fit: ${blocker.message}`,
    where,
  );
}

const BLOCKER_CODES: Readonly<Record<string, ErrorCode>> = {
  "target-not-empty": "TARGET_NOT_EMPTY",
  "postgres-rights": "POSTGRES_RIGHTS",
  "postgres-version": "POSTGRES_VERSION",
  "target-row-security": "POSTGRES_ROW_SECURITY",
};

/** All blockers in one error: the first decides its code, every one is a line. */
function refuseBlockers(findings: readonly Finding[], source: string): void {
  const blockers = findings.filter((finding) => finding.severity === "blocker");
  const first = blockers[0];
  if (!first) return;
  const isTarget = first.code.startsWith("target-") || first.code.startsWith("postgres-");
  const code = BLOCKER_CODES[first.code] ?? (isTarget ? "TARGET_MISMATCH" : "BLOCKED");
  const lines = blockers.map(({ table, column, message }) => {
    const place = [table, column].filter((part) => part !== undefined).join(".");
    return place === "" ? message : `${place}: ${message}`;
  });
  throw new SwitchbackError(code, [...new Set(lines)].join("; "), {
    source,
    ...(first.table === undefined ? {} : { table: first.table }),
  });
}

/** A followed table that is no longer mapped: excluded now, or dropped in SQLite. */
async function leave(sides: Sides, schema: Schema, before: FollowedTable): Promise<Problem | null> {
  const { control, config } = sides;
  const excluded = schema.tables.some((table) => table.name === before.name);
  if (excluded || !(await control.tableExists(before.mapping))) {
    await leaveTable(control, config.name, before);
    return null;
  }
  const copy = `${before.mapping.schema}.${before.mapping.target}`;
  return problem(
    "TABLE_DROPPED",
    `the table ${before.name} was dropped in SQLite; ${copy} still holds its rows`,
    config.name,
    before.name,
  );
}

export function problem(code: ErrorCode, message: string, source: string, table?: string): Problem {
  return { code, message, hint: ERRORS[code].hint, source, ...(table === undefined ? {} : { table }) };
}
