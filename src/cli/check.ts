// `check`: can this file be moved, and which problems are to be expected? It opens everything read-only, installs
// nothing, and collects the findings of the other parts: the file's environment, its schema, every value that the
// mapping would refuse, and the target. It owns the order, the layout and the exit code.
import { constants, existsSync, statSync } from "node:fs";
import { dirname } from "node:path";
import type Database from "better-sqlite3";
import type pg from "pg";
import type { SourceConfig } from "../config/config.js";
import { strangers } from "../cutover/pair.js";
import { ERRORS } from "../errors.js";
import type { Finding } from "../findings.js";
import type { AdoptedTables } from "../mapping/adopted.js";
import { decideMappings } from "../mapping/decide.js";
import type { TableMapping } from "../mapping/mapping.js";
import { withSession } from "../postgres/connection.js";
import { adoptedBy } from "../postgres/ddl/adopted.js";
import { inspectTarget } from "../postgres/ddl/inspect.js";
import { buildTargetSchema, type TargetTable } from "../postgres/ddl/tables.js";
import { only } from "../present.js";
import type { Oddity, Schema } from "../schema/model.js";
import { orphans, surroundings } from "../sqlite/check/environment.js";
import { legacyRenames } from "../sqlite/check/migrations.js";
import { assess } from "../sqlite/check/values.js";
import { ROW_BYTES_MAX, tooWideRows } from "../sqlite/check/widths.js";
import { may, openSqlite, sqliteError } from "../sqlite/connection.js";
import { readSchema } from "../sqlite/schema.js";
import type { Context, ExitCode } from "./command.js";

/** Exit code 1 when a finding blocks the move, else 0. */
export async function check(context: Context): Promise<ExitCode> {
  const findings: Finding[] = routeFolder(context);
  const tables: Record<string, number> = {};
  for (const source of context.config.sources) {
    const file = checkFile(source, await adoptedBy(context.config.postgres, source, "check"));
    tables[source.name] = file.targets.length;
    findings.push(...file.findings, ...(await checkTarget(context, source, file.targets)));
  }
  const ok = findings.every((finding) => finding.severity !== "blocker");
  if (context.json) context.out(JSON.stringify({ ok, tables, findings }));
  else
    for (const [i, source] of context.config.sources.entries()) {
      if (i > 0) context.out("");
      print(context, source, tables[source.name] ?? 0, findings);
    }
  return ok ? 0 : 1;
}

/** `run` creates the folder where it is missing. The finding concerns all sources and is listed with the first. */
function routeFolder({ config: { routeFile, sources } }: Context): Finding[] {
  let place = dirname(routeFile);
  while (!existsSync(place) && place !== dirname(place)) place = dirname(place);
  const source = sources[0]?.name;
  if (source === undefined || (statSync(place).isDirectory() && may(place, constants.W_OK))) return [];
  return [
    {
      severity: "warning",
      code: "route-folder",
      source,
      message: `the route file ${routeFile} cannot be written by this user, and without it no writes are moved`,
      remedy:
        "Set another path with `route` or SWITCHBACK_ROUTE, or give the sidecar's user write permission.",
    },
  ];
}

function checkFile(
  source: SourceConfig,
  adopted: AdoptedTables | null,
): { targets: readonly TargetTable[]; findings: Finding[] } {
  const db = openSqlite(source.sqlite, { readonly: true });
  try {
    const schema = readSchema(db);
    const { mappings, findings } = decideMappings(db, schema, source, new Map(), adopted);
    const { tables, oddities } = buildTargetSchema(mappings);
    const included = new Set(mappings.map((mapping) => mapping.table.name));
    const about = (oddity: Oddity) => included.has(oddity.table) || !isTable(schema, oddity.table);
    const answers = [
      ...surroundings(db, source.sqlite),
      ...legacyRenames(mappings.map(({ table }) => table)),
      ...[...schema.oddities.filter(about), ...oddities].map(fromOddity),
      ...mappings.flatMap((mapping) => [
        ...refusals(db, mapping),
        ...widths(db, mapping),
        ...orphans(db, mapping.table),
      ]),
    ];
    if (mappings.length === 0) answers.push(NO_TABLES);
    const found = [
      ...findings.filter((f) => f.code !== "generated-column-copied"),
      ...answers.map((answer) => ({ ...answer, source: source.name })),
    ];
    return { targets: tables, findings: found };
  } catch (error) {
    throw sqliteError(error, { source: source.name, file: source.sqlite });
  } finally {
    db.close();
  }
}

type Answer = Omit<Finding, "source">;

const NO_TABLES: Answer = {
  severity: "warning",
  code: "no-tables",
  message: "there is no table to move",
  remedy: "Correct the path, or `include` and `exclude` in the configuration.",
};

function isTable(schema: Schema, name: string): boolean {
  return schema.tables.some((table) => table.name === name);
}

function fromOddity({ kind, table, name, why, remedy }: Oddity): Answer {
  return {
    severity: "warning",
    code: kind.replaceAll(" ", "-"),
    table,
    ...(kind === "column" || kind === "default" || kind === "generated column" ? { column: name } : {}),
    message: name === table || name === "" ? why : `${kind} ${name}: ${why}`,
    remedy,
  };
}

/** Rows that would be quarantined. They are not copied, and therefore block every flip. */
function refusals(db: Database.Database, mapping: TableMapping): Answer[] {
  const { refused } = assess(db, mapping);
  return refused.map(({ column, rows, key, reason }): Answer => {
    const type = mapping.columns.find((c) => c.column === column)?.codec.type ?? "";
    return {
      severity: "blocker",
      code: "quarantine",
      table: mapping.table.name,
      column,
      key,
      message: `${rows} ${rows === 1 ? "row does" : "rows do"} not fit ${type} and would be quarantined: ${reason}`,
      remedy: "Correct the values in SQLite, or map the column to a wider type such as numeric, text or any.",
    };
  });
}

/**
 * Rows of hundreds of columns that do not fit into a page of PostgreSQL. An estimate: PostgreSQL compresses some
 * values.
 */
function widths(db: Database.Database, mapping: TableMapping): Answer[] {
  const found = tooWideRows(db, mapping);
  if (!found) return [];
  const { rows, key, bytes } = found;
  return [
    {
      severity: "warning",
      code: "row-width",
      table: mapping.table.name,
      key,
      message: `has ${mapping.columns.length} columns, and ${rows} ${rows === 1 ? "row is" : "rows are"} wider than the ${ROW_BYTES_MAX} bytes of a page in PostgreSQL (${bytes} by estimate): they would be quarantined`,
      remedy: "Split the table, or put rarely used columns into one JSON document.",
    },
  ];
}

async function checkTarget(
  context: Context,
  source: SourceConfig,
  targets: readonly TargetTable[],
): Promise<Finding[]> {
  const { postgres } = context.config;
  if (!postgres) {
    return [
      {
        severity: "warning",
        code: "no-target",
        source: source.name,
        message: "no PostgreSQL is configured, so the target was not checked",
        remedy: "Pass --postgres with a server's URL, or --embedded.",
      },
    ];
  }
  return withSession(postgres, "switchback check", async (client) => {
    const followed = await followedTables(client, source);
    const { strange } = await strangers(client, postgres, [source]);
    const { findings } = await inspectTarget(
      client,
      targets.filter((table) => !followed.has(table.mapping.table.name)),
      source.target,
      source.name,
    );
    const pair = strange.map(
      ({ why }): Finding => ({
        severity: "blocker",
        code: "source-foreign",
        source: source.name,
        message: why,
        remedy: ERRORS.SOURCE_FOREIGN.hint,
      }),
    );
    return [...pair, ...findings];
  });
}

/** Tables that a sidecar follows already: their targets hold the copy and are expected to have rows. */
async function followedTables(client: pg.ClientBase, source: SourceConfig): Promise<ReadonlySet<string>> {
  const { rows: found } = await client.query<{ present: boolean }>(
    "SELECT to_regclass('switchback.followed') IS NOT NULL AS present",
  );
  if (!only(found, "answer").present) return new Set();
  const { rows } = await client.query<{ name: string }>(
    "SELECT name FROM switchback.followed WHERE source = $1",
    [source.name],
  );
  return new Set(rows.map(({ name }) => name));
}

const ORDER = ["blocker", "warning", "note"] as const;

function print(context: Context, source: SourceConfig, tables: number, findings: readonly Finding[]): void {
  const own = findings.filter((finding) => finding.source === source.name);
  const count = (severity: Finding["severity"]) => own.filter((f) => f.severity === severity).length;
  context.out(
    `${source.name}: ${plural(tables, "table")}, ${plural(count("blocker"), "blocker")}, ${plural(count("warning"), "warning")}`,
  );
  for (const severity of ORDER) {
    for (const finding of own.filter((f) => f.severity === severity)) context.out(lines(finding));
  }
}

function lines({ severity, code, table, column, key, message, remedy }: Finding): string {
  const place = [table, column].filter((part) => part !== undefined).join(".");
  const example = key === undefined ? "" : ` (for example key ${key})`;
  return `\n${severity} ${code}${place === "" ? "" : ` ${place}`}\n  ${message}${example}\n  → ${remedy}`;
}

function plural(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? "" : "s"}`;
}
