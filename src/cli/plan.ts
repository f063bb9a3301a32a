// `plan`: the target's schema and the reasons for it. It prints every column's mapping with the evidence from the
// data, then the DDL. `--write` writes the mapping into a configuration. It changes nothing in the stores.
import { existsSync, writeFileSync } from "node:fs";
import { resolve } from "node:path";
import type Database from "better-sqlite3";
import type { ColumnConfig, SourceConfig, TableConfig } from "../config/config.js";
import { SwitchbackError } from "../errors.js";
import type { Finding } from "../findings.js";
import type { AdoptedTables } from "../mapping/adopted.js";
import { type Decided, decideMappings, type TableDecision } from "../mapping/decide.js";
import { type Suggestion, suggestionsFor } from "../mapping/suggest.js";
import { adoptedBy } from "../postgres/ddl/adopted.js";
import { buildTargetSchema, type TargetSchema } from "../postgres/ddl/tables.js";
import { columnOf, type Oddity, type Schema } from "../schema/model.js";
import { type Assessment, assess } from "../sqlite/check/values.js";
import { openSqlite, sqliteError } from "../sqlite/connection.js";
import { readSchema } from "../sqlite/schema.js";
import type { Context, ExitCode } from "./command.js";
import { configurationText } from "./plan-file.js";

interface PlanOptions {
  /** A configuration to write. */
  readonly write?: string;
  /** Use the suggested types. */
  readonly suggest?: boolean;
  /** DDL only. */
  readonly sql?: boolean;
  /** As `target: adopt` in the configuration. */
  readonly adopt?: boolean;
}

/** One source's plan. */
interface Plan {
  readonly source: SourceConfig;
  readonly decisions: readonly TableDecision[];
  readonly assessments: ReadonlyMap<string, Assessment>;
  readonly suggestions: ReadonlyMap<string, readonly Suggestion[]>;
  readonly target: TargetSchema;
  readonly oddities: readonly Oddity[];
  readonly findings: readonly Finding[];
}

export async function plan(context: Context, options: PlanOptions): Promise<ExitCode> {
  if (options.adopt && !context.config.postgres)
    throw new SwitchbackError(
      "USAGE",
      "--adopt reads the tables in PostgreSQL: pass --postgres with its URL",
    );
  const plans: Plan[] = [];
  for (const each of context.config.sources) {
    const source: SourceConfig = options.adopt ? { ...each, target: "adopt" } : each;
    plans.push(planOf(source, options, await adoptedBy(context.config.postgres, source, "plan")));
  }
  if (options.write !== undefined) write(context, options.write, options, plans);
  if (context.json) context.out(JSON.stringify({ sources: plans.map(document) }));
  else if (options.sql) context.out(plans.map(({ source, target }) => ddl(source, target)).join("\n\n"));
  else
    for (const [i, each] of plans.entries()) {
      if (i > 0) context.out("");
      print(context, each);
    }
  return 0;
}

function planOf(source: SourceConfig, options: PlanOptions, adopted: AdoptedTables | null): Plan {
  const db = openSqlite(source.sqlite, { readonly: true });
  try {
    const schema = readSchema(db);
    const first = decideMappings(db, schema, source, new Map(), adopted);
    // Adopted columns have their types: a stronger one would be the application's to make.
    const unasked = (options.sql && !options.suggest) || adopted !== null;
    const suggestions = unasked ? new Map() : suggestionsFor(db, first.decisions);
    const decided = options.suggest
      ? decideMappings(db, schema, withSuggestions(source, suggestions), new Map(), adopted)
      : first;
    const target = buildTargetSchema(decided.mappings);
    return {
      source,
      decisions: options.suggest
        ? decided.decisions.map((one) => explained(one, suggestions))
        : decided.decisions,
      assessments: options.sql ? new Map() : assessments(db, decided),
      suggestions: options.suggest ? new Map() : suggestions,
      target,
      oddities: [...odditiesOf(schema, decided), ...target.oddities],
      findings: [...decided.findings, ...withoutCounterpart(source, decided, adopted)],
    };
  } catch (error) {
    throw sqliteError(error, { source: source.name, file: source.sqlite });
  } finally {
    db.close();
  }
}

/** Tables and columns that would have to stand in PostgreSQL and do not; `check` blocks on them. */
function withoutCounterpart(
  { name: source, schema }: SourceConfig,
  { mappings }: Decided,
  adopted: AdoptedTables | null,
): Finding[] {
  if (adopted === null) return [];
  const finding = (table: string, column: string | undefined, what: string): Finding => ({
    ...{
      severity: "blocker",
      code: "target-missing",
      source,
      table,
      ...(column === undefined ? {} : { column }),
    },
    message: `PostgreSQL has no ${what}`,
    remedy: "Make it in a migration, name its counterpart in the configuration, or exclude the table.",
  });
  return mappings.flatMap(({ table, target, columns }) => {
    const standing = adopted.get(target);
    if (!standing) return [finding(table.name, undefined, `table ${schema}.${target}`)];
    return columns
      .filter((column) => !standing.some(({ name }) => name === column.target))
      .map((column) =>
        finding(table.name, column.column ?? column.target, `column ${target}.${column.target}`),
      );
  });
}

function assessments(db: Database.Database, { mappings }: Decided): Map<string, Assessment> {
  return new Map(mappings.map((mapping) => [mapping.table.name, assess(db, mapping)]));
}

/** The file's oddities, those of excluded tables left out. */
function odditiesOf(schema: Schema, { mappings }: Decided): Oddity[] {
  const excluded = new Set(schema.tables.map((table) => table.name));
  for (const { table } of mappings) excluded.delete(table.name);
  return schema.oddities.filter((oddity) => !excluded.has(oddity.table));
}

/** A suggested type has the data as its reason, not the configuration that `--write` is about to make. */
function explained(
  decision: TableDecision,
  suggestions: ReadonlyMap<string, readonly Suggestion[]>,
): TableDecision {
  const found = suggestions.get(decision.mapping.table.name) ?? [];
  const whyOf = (name: string) => found.find(({ column }) => column === name)?.why;
  const columns = decision.columns.map((column) => {
    const why = whyOf(column.column);
    return why === undefined ? column : { ...column, why: `suggested: ${why}`, configured: false };
  });
  return { ...decision, columns };
}

function withSuggestions(
  source: SourceConfig,
  suggestions: ReadonlyMap<string, readonly Suggestion[]>,
): SourceConfig {
  const tables: Record<string, TableConfig> = { ...source.tables };
  for (const [name, found] of suggestions) {
    const written = Object.keys(tables).find((key) => key.toLowerCase() === name.toLowerCase()) ?? name;
    const columns: Record<string, ColumnConfig> = { ...tables[written]?.columns };
    for (const { column, type, from } of found) {
      const key =
        Object.keys(columns).find((other) => other.toLowerCase() === column.toLowerCase()) ?? column;
      columns[key] = { ...columns[key], type, ...(from === undefined ? {} : { from }) };
    }
    tables[written] = { ...tables[written], columns };
  }
  return { ...source, tables };
}

function write(context: Context, file: string, options: PlanOptions, plans: readonly Plan[]): void {
  const path = resolve(file);
  if (existsSync(path) && path !== context.config.file) {
    throw new SwitchbackError("USAGE", `--write: ${path} exists already; remove it or name another file`);
  }
  const text = configurationText(context.config, plans, path);
  try {
    // It may hold the password of the database.
    writeFileSync(path, text, { mode: 0o600 });
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    throw new SwitchbackError("USAGE", `--write: ${path} cannot be written: ${code}`);
  }
  if (!context.json && options.sql !== true) context.out(`configuration written to ${path}\n`);
}

function ddl(source: SourceConfig, { tables }: TargetSchema): string {
  const statements = [
    ...(source.schema === "public"
      ? []
      : [`CREATE SCHEMA IF NOT EXISTS "${source.schema.replaceAll('"', '""')}"`]),
    ...tables.map((table) => table.create),
    ...tables.flatMap((table) => [table.primaryKey.sql, ...table.indexes.map((index) => index.sql)]),
    ...tables.flatMap((table) => table.foreignKeys.map((foreignKey) => foreignKey.sql)),
  ];
  return statements.map((statement) => `${statement};`).join("\n");
}

function print(
  context: Context,
  { source, decisions, assessments: known, suggestions, ...rest }: Plan,
): void {
  context.out(`${source.name}: ${source.sqlite} → schema ${source.schema}\n`);
  for (const decision of decisions) {
    const { name } = decision.mapping.table;
    context.out(`${tableText(decision, known.get(name), suggestions.get(name) ?? [])}\n`);
  }
  for (const { table, column, message, remedy } of rest.findings) {
    context.out(
      `! ${[table, column].filter((part) => part !== undefined).join(".")}: ${message}\n  → ${remedy}`,
    );
  }
  for (const { table, kind, name, why, remedy } of rest.oddities) {
    context.out(`! ${table}: ${name === table ? "" : `${kind} ${name}: `}${why}\n  → ${remedy}`);
  }
  if (source.target === "create") context.out(`\n${ddl(source, rest.target)}`);
}

function tableText(
  { mapping, columns }: TableDecision,
  known: Assessment | undefined,
  suggestions: readonly Suggestion[],
): string {
  const key = mapping.key.map((column) => column.target).join(", ");
  const head = `${mapping.table.name} → ${mapping.target}   ${rowCount(known?.rows ?? 0)}, key (${key})`;
  const rows = columns.map(({ column, target, spec, why, generatedAs }) => {
    const name = target === column ? column : `${column} → ${target}`;
    const declared = columnOf(mapping.table, column).declaredType;
    const from = spec.from === undefined ? "" : ` from ${spec.from}`;
    const type = generatedAs === null ? `${spec.type}${from}` : "computed";
    return [name, declared === "" ? "-" : declared, type, `${generatedAs ?? why}${counts(known, column)}`];
  });
  if (mapping.table.key.kind === "rowid")
    rows.push([key, "-", "bigint", "the table has no usable key: its rowid"]);
  const refused = (known?.refused ?? []).map(
    (r) => `  ! ${r.column}: ${rowCount(r.rows)} would be quarantined, for example key ${r.key}: ${r.reason}`,
  );
  const stronger = suggestions.map(
    (s) => `  ? ${s.column}: ${s.type}${s.from === undefined ? "" : ` from ${s.from}`} would do, ${s.why}`,
  );
  return [head, ...aligned(rows), ...refused, ...stronger].join("\n");
}

function counts(known: Assessment | undefined, column: string): string {
  const values = known?.values.get(column);
  if (known === undefined || values === undefined || values === known.rows) return "";
  return values === 0 ? "; always NULL" : `; ${number(known.rows - values)} NULL`;
}

function aligned(rows: readonly (readonly string[])[]): string[] {
  const widths = [0, 1, 2].map((i) => Math.max(0, ...rows.map((row) => (row[i] ?? "").length)));
  return rows.map((row) => `  ${row.map((cell, i) => cell.padEnd(widths[i] ?? 0)).join("  ")}`.trimEnd());
}

function rowCount(count: number): string {
  return `${number(count)} ${count === 1 ? "row" : "rows"}`;
}

function number(count: number): string {
  return count.toLocaleString("en-US");
}

/** The plan as JSON. */
function document({ source, decisions, assessments: known, suggestions, target, oddities, findings }: Plan) {
  return {
    name: source.name,
    sqlite: source.sqlite,
    schema: source.schema,
    tables: decisions.map(({ mapping, columns }) => ({
      name: mapping.table.name,
      target: `${mapping.schema}.${mapping.target}`,
      rows: known.get(mapping.table.name)?.rows ?? null,
      key: mapping.key.map((column) => column.target),
      columns: columns.map(({ column, target: name, spec, why, configured, generatedAs }) => ({
        name: column,
        target: name,
        declared: columnOf(mapping.table, column).declaredType,
        type: spec.type,
        from: spec.from ?? null,
        spelling: spec.spelling ?? null,
        why,
        configured,
        generatedAs,
        values: known.get(mapping.table.name)?.values.get(column) ?? null,
      })),
      refused: known.get(mapping.table.name)?.refused ?? [],
      suggestions: suggestions.get(mapping.table.name) ?? [],
    })),
    ddl: ddl(source, target),
    oddities,
    findings,
  };
}
