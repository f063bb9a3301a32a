// Decides the mapping of every table that the configuration includes: types, codecs, names and keys, with a
// reason for each column. The configuration overrides the defaults of default-type.ts. It reads only the
// columns whose declaration leaves the type open, so that a backfill of a large table starts immediately.
// src/sqlite/check/values.ts counts the rows that a mapping refuses; suggest.ts proposes stronger types.
import type Database from "better-sqlite3";
import { type CodecSpec, codecFor } from "../codec/registry.js";
import type { ColumnConfig, SourceConfig } from "../config/config.js";
import { columnSettings, isPattern, tableSettings } from "../config/table-settings.js";
import { SwitchbackError } from "../errors.js";
import type { Finding } from "../findings.js";
import { present } from "../present.js";
import { type Column, columnOf, folded, quote, type Schema, type Table } from "../schema/model.js";
import type { MomentSource } from "../schema/moment-source.js";
import { defaultTargetName } from "../schema/pg-names.js";
import { parseType, TYPE_NAMES } from "../schema/pg-types.js";
import { type ColumnTarget, translateGenerated } from "../translate/translate.js";
import { type AdoptedColumn, type AdoptedTables, adoptedType } from "./adopted.js";
import { type Choice, chooseType } from "./default-type.js";
import { type Evidence, evidenceOf } from "./evidence.js";
import { type ColumnMapping, ROWID_COLUMN, type TableMapping } from "./mapping.js";
import { type Place, placesOf, targetNameOf } from "./places.js";
import { ambiguousFindings, foreignKeyFindings, mappingFindings } from "./review.js";
import { usualSource } from "./siblings.js";
import { sourceOf, spellingFor } from "./spelling.js";

/** The decision on one SQLite column, and its reason. */
export interface ColumnDecision {
  readonly column: string;
  /** The name in PostgreSQL. */
  readonly target: string;
  readonly spec: CodecSpec;
  /** The reason, in words that follow the type. */
  readonly why: string;
  readonly configured: boolean;
  /** PostgreSQL computes the column by this expression, and nothing is copied; else null. */
  readonly generatedAs: string | null;
}

export interface TableDecision {
  readonly mapping: TableMapping;
  readonly columns: readonly ColumnDecision[];
}

export interface Decided {
  readonly decisions: readonly TableDecision[];
  readonly mappings: readonly TableMapping[];
  readonly findings: readonly Finding[];
}

/**
 * The mappings of every included table, in the schema's order. `settled` holds mappings that were decided
 * before, by the table's name. They stay as they are; their data is not read again. `adopted` holds the tables that
 * stand in PostgreSQL for them, whose names and types they take.
 * @throws SwitchbackError TABLE_UNKNOWN for tables or columns that the configuration names and the file lacks,
 * CONFIG_INVALID for types that no codec knows and for two things with one name. All problems are in one
 * message.
 */
export function decideMappings(
  db: Database.Database,
  schema: Schema,
  source: SourceConfig,
  settled: ReadonlyMap<string, TableMapping> = new Map(),
  adopted: AdoptedTables | null = null,
): Decided {
  checkNames(schema, source);
  const tables = includedTables(db, schema, source);
  const places = placesOf(tables, source, adopted);
  const read = new Map(tables.map((table) => [table, evidenceOf(db, table)]));
  const evidence = (table: Table) => present(read.get(table), "evidence of the table");
  const decided = tables.map((table) => {
    const mapping = settled.get(table.name);
    if (mapping) return { decision: { mapping, columns: [] }, findings: [] };
    const usual = () => usualSource(table, tables, evidence);
    return decideMapping(table, source, evidence(table), { place: places.get(table.name) ?? null, usual });
  });
  const decisions = decided.map(({ decision }) => decision);
  checkTargets(decisions);
  const mappings = decisions.map(({ mapping }) => mapping);
  const foreignKeys = foreignKeyFindings(mappings, source.name);
  return { decisions, mappings, findings: [...decided.flatMap(({ findings }) => findings), ...foreignKeys] };
}

/** What decides a mapping besides the table itself. */
interface Around {
  readonly place: Place | null;
  /** How the file's other moments are spelled; null where there are none. */
  readonly usual: () => MomentSource | null;
}

const ALONE: Around = { place: null, usual: () => null };

/** The mapping of one table, and its findings for the operator. */
export function decideMapping(
  table: Table,
  source: SourceConfig,
  evidence: Evidence,
  around: Around = ALONE,
): { readonly decision: TableDecision; readonly findings: readonly Finding[] } {
  const config = tableSettings(source.tables, table.name);
  const { place } = around;
  const chosen = table.columns.map((column) => chosenFor(table, column, source, evidence, around));
  const targets = new Map<string, ColumnTarget>();
  for (const { column, configured, target, spec } of chosen) {
    // A generated column's type follows from its expression, unless the configuration fixes it.
    if (column.generated !== "no" && !configured) continue;
    targets.set(column.name, { target, type: codecFor(spec).type });
  }
  const columns = chosen.map(({ column, choice, configured, target, spec }): ColumnDecision => {
    const generatedAs = column.generated === "no" ? null : translateGenerated(table, column, targets);
    return { column: column.name, target, spec, why: choice.why, configured, generatedAs };
  });
  const decision = { mapping: mappingOf(table, source, config?.name ?? place?.name, columns), columns };
  const doubts = chosen.flatMap(({ column, choice }) =>
    choice.doubt === undefined ? [] : [{ column: column.name, choice }],
  );
  const ambiguous = [...(place?.columns ?? [])].filter(([, found]) => found.length > 1);
  return {
    decision,
    findings: [
      ...mappingFindings(decision, doubts, source.name),
      ...ambiguousFindings(decision.mapping, ambiguous, source.name),
    ],
  };
}

interface Chosen {
  readonly column: Column;
  readonly choice: Choice;
  readonly configured: boolean;
  readonly target: string;
  readonly spec: CodecSpec;
}

function chosenFor(
  table: Table,
  column: Column,
  source: SourceConfig,
  evidence: Evidence,
  { place, usual }: Around,
): Chosen {
  const settings = columnSettings(source.tables, table.name, column.name);
  const strict = identifies(table, column.name);
  const configured = settings?.type !== undefined || settings?.from !== undefined;
  const found = place?.columns.get(column.name) ?? [];
  const standing = found.length === 1 ? (found[0] ?? null) : null;
  const choice =
    (configured ? null : adoptedChoice(column, standing, evidence, usual)) ??
    (settings && configured
      ? configuredChoice(column, { ...typeOf(standing), ...settings }, evidence, usual)
      : chooseType(column, evidence, { keepLengths: source.lengths === "keep", strict, usual }));
  const target = settings?.name ?? standing?.name ?? targetNameOf(table, column.name);
  return { column, choice, configured, target, spec: specOf(table, column, choice, strict) };
}

function mappingOf(
  table: Table,
  source: SourceConfig,
  target: string | undefined,
  decisions: readonly ColumnDecision[],
): TableMapping {
  const keyNames = table.key.kind === "columns" ? table.key.columns : [];
  const columns = decisions
    .filter((decision) => decision.generatedAs === null)
    .map(
      (decision): ColumnMapping => ({
        source: quote(decision.column),
        column: decision.column,
        target: decision.target,
        spec: decision.spec,
        codec: codecFor(decision.spec),
        notNull: keyNames.includes(decision.column) || columnOf(table, decision.column).notNull,
      }),
    );
  if (table.key.kind === "rowid") columns.push(rowidColumn(table.key.alias));
  const key =
    table.key.kind === "rowid"
      ? columns.slice(-1)
      : keyNames.flatMap((name) => columns.filter((column) => column.column === name));
  return {
    table,
    schema: source.schema,
    target: target ?? defaultTargetName(table.name),
    columns,
    key,
  };
}

function rowidColumn(alias: string): ColumnMapping {
  const spec: CodecSpec = { type: "bigint", affinity: "INTEGER" };
  return { source: alias, column: null, target: ROWID_COLUMN, spec, codec: codecFor(spec), notNull: true };
}

/** A column of the key or of a unique index: two of its values must never become the same value in PostgreSQL. */
function identifies(table: Table, column: string): boolean {
  if (table.key.kind === "columns" && table.key.columns.includes(column)) return true;
  return table.indexes.some((index) => index.unique && index.terms.some((term) => term.column === column));
}

/** A B-tree entry of PostgreSQL holds 2,704 bytes; the rest is overhead around the values. */
const INDEX_BYTES_MAX = 2_600;
const UNBOUNDED = new Set(["text", "varchar", "char", "bytea", "json", "jsonb", "any"]);

function specOf(table: Table, column: Column, choice: Choice, strict: boolean): CodecSpec {
  const name = parseType(choice.like ?? choice.type)?.name ?? "";
  return {
    type: choice.type,
    ...(choice.like === undefined ? {} : { like: choice.like }),
    affinity: column.affinity,
    ...(choice.from === undefined || choice.from === "text" ? {} : { from: choice.from }),
    ...(choice.spelling === undefined ? {} : { spelling: choice.spelling }),
    ...(strict ? { strict } : {}),
    ...(strict && UNBOUNDED.has(name) ? { bytesMax: indexableBytes(table, column.name) } : {}),
  };
}

/**
 * The maximum length of the column's values, so that every key and unique index with the column fits. Columns
 * of text and blobs share the bytes that the others leave. (PostgreSQL may compress a longer value, but does
 * not guarantee it.)
 */
function indexableBytes(table: Table, column: string): number {
  const unique = table.indexes
    .filter((index) => index.unique)
    .map(({ terms }) => terms.map((term) => term.column));
  const keys = [...unique, ...(table.key.kind === "columns" ? [table.key.columns] : [])];
  const limits = keys
    .filter((key) => key.includes(column))
    .map((key) => {
      const short = key.filter((name) => name !== null && isShort(columnOf(table, name))).length;
      return Math.floor((INDEX_BYTES_MAX - short * SHORT_BYTES) / Math.max(1, key.length - short));
    });
  return Math.min(INDEX_BYTES_MAX, ...limits);
}

/** An upper bound for a number or a moment in an index. */
const SHORT_BYTES = 32;

function isShort(column: Column): boolean {
  return column.affinity !== "TEXT" && column.affinity !== "BLOB";
}

function configuredChoice(
  column: Column,
  { type = "timestamptz", from }: ColumnConfig,
  evidence: Evidence,
  usual: Around["usual"],
): Choice {
  return spelledChoice(column, type, evidence, { from, usual, why: "configured" });
}

/** The type that the adopted column has; null where there is none, or no codec for it. */
function adoptedChoice(
  column: Column,
  standing: AdoptedColumn | null,
  evidence: Evidence,
  usual: Around["usual"],
): Choice | null {
  const adopted = standing && adoptedType(standing);
  if (!adopted) return null;
  const { type, like } = adopted;
  const choice = spelledChoice(column, like ?? type, evidence, { usual, why: "as in PostgreSQL" });
  return like === undefined ? choice : { ...choice, type, like };
}

function typeOf(standing: AdoptedColumn | null): { type?: string } {
  const parsed = standing && parseType(standing.type);
  return parsed ? { type: parsed.type } : {};
}

/** A type that is settled; the values only say how they are spelled. */
function spelledChoice(
  column: Column,
  type: string,
  evidence: Evidence,
  { from: said, usual, why }: { from?: MomentSource | undefined; usual: Around["usual"]; why: string },
): Choice {
  const parsed = parseType(type);
  if (!parsed) throw new Error(`the type ${type} was not checked`);
  const moments = MOMENTS.has(parsed.name);
  const spelled = moments || ["boolean", "uuid", "time", "jsonb"].includes(parsed.name);
  const sample = spelled ? evidence.sample(column.name) : [];
  const guessed = () => (sample.length === 0 ? usual() : null) ?? sourceOf(sample);
  const from = moments ? (said ?? guessed()) : undefined;
  return {
    type: parsed.type,
    ...(from === undefined ? {} : { from }),
    spelling: spellingFor(parsed.name, sample, from),
    why,
  };
}

/** Types whose values applications also write as numbers. */
const MOMENTS = new Set(["timestamptz", "timestamp", "date"]);

function includedTables(db: Database.Database, schema: Schema, source: SourceConfig): Table[] {
  const glob = db.prepare("SELECT lower(?) GLOB lower(?)").pluck();
  const matches = (name: string, patterns: readonly string[]) =>
    patterns.some((pattern) => Number(glob.get(name, pattern)) === 1);
  return schema.tables.filter(
    (table) => matches(table.name, source.include) && !matches(table.name, source.exclude),
  );
}

function checkNames(schema: Schema, source: SourceConfig): void {
  const unknown: string[] = [];
  const invalid: string[] = [];
  for (const [name, config] of Object.entries(source.tables)) {
    const table = schema.tables.find((t) => folded(t.name) === folded(name));
    if (!table && !isPattern(name)) {
      unknown.push(
        `no table ${name}; ${schema.tables.length > 0 ? `there are ${listed(schema.tables)}` : "the file has none"}`,
      );
      continue;
    }
    for (const [columnName, { type, from }] of Object.entries(config.columns)) {
      const path = `tables.${name}.columns.${columnName}`;
      if (table && !isPattern(columnName) && !hasColumn(table, columnName)) {
        unknown.push(`table ${table.name} has no column ${columnName}; it has ${listed(table.columns)}`);
      }
      const parsed = type === undefined ? null : parseType(type);
      if (type !== undefined && !parsed) {
        invalid.push(
          `${path}.type: expected one of ${TYPE_NAMES.join(", ")}, received ${JSON.stringify(type)}`,
        );
      }
      if (parsed && from !== undefined && !MOMENTS.has(parsed.name)) {
        invalid.push(
          `${path}.from: only timestamptz, timestamp and date take it, received ${from} beside ${parsed.type}`,
        );
      }
    }
  }
  if (unknown.length > 0)
    throw new SwitchbackError("TABLE_UNKNOWN", unknown.join("\n"), { source: source.name });
  if (invalid.length > 0)
    throw new SwitchbackError("CONFIG_INVALID", invalid.join("\n"), { source: source.name });
}

function hasColumn({ columns }: Table, name: string): boolean {
  return columns.some((column) => folded(column.name) === folded(name));
}

/** A database may have hundreds of tables; the message lists only the first ones. */
const LISTED_MAX = 30;

function listed(named: readonly { readonly name: string }[]): string {
  const names = named.slice(0, LISTED_MAX).map(({ name }) => name);
  return named.length > LISTED_MAX
    ? `${names.join(", ")} and ${named.length - LISTED_MAX} more`
    : names.join(", ");
}

function checkTargets(decisions: readonly TableDecision[]): void {
  const twice = [
    ...repeated(decisions.map(({ mapping }) => mapping.target)).map(
      (name) => `two tables would be named ${name}`,
    ),
    ...decisions.flatMap(({ mapping, columns }) => {
      const computed = columns.filter((c) => c.generatedAs !== null).map((c) => c.target);
      return repeated([...mapping.columns.map((c) => c.target), ...computed]).map(
        (name) => `two columns of ${mapping.table.name} would be named ${name}`,
      );
    }),
  ];
  if (twice.length > 0) throw new SwitchbackError("CONFIG_INVALID", twice.join("\n"));
}

function repeated(names: readonly string[]): string[] {
  return [...new Set(names.filter((name, i) => names.indexOf(name) !== i))];
}
