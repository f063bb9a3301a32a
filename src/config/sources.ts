// The sources: which SQLite files, under which names, into which schemas. It merges the command line, the
// environment and the file's list, sets the defaults of one source, and reports conflicts. It opens no
// database and does not know whether the files or the tables exist.
import { realpathSync } from "node:fs";
import { basename, extname, resolve } from "node:path";
import { parseType, TYPE_NAMES } from "../schema/pg-types.js";
import type { Config, SourceConfig, TableConfig } from "./config.js";
import { type FileSource, pathText, type Report } from "./file.js";
import { isPattern } from "./table-settings.js";

interface SourcePlaces {
  /** --sqlite, relative to `cwd`. */
  readonly named: readonly string[];
  /** SQLITE_DATABASE_PATH, relative to `cwd`. */
  readonly environment: string | undefined;
  /** The file's list, relative to `folder`. */
  readonly listed: readonly FileSource[];
  readonly cwd: string;
  readonly folder: string;
}

/** The sources in effect. A file named elsewhere keeps the settings that the configuration has for it. */
export function sourcesOf(places: SourcePlaces, report: Report): SourceConfig[] {
  const { named, environment, listed, cwd, folder } = places;
  if (named.length > 0) return named.map((path) => override(resolve(cwd, path), named.length, places));
  const own = listed.map((source, i) => {
    if (source.sqlite === undefined && environment === undefined) {
      report(`sources[${i}].sqlite`, "expected the path of a SQLite file, received nothing");
    }
    return resolved(source, resolve(folder, source.sqlite ?? "."));
  });
  if (environment === undefined) return own;
  const path = resolve(cwd, environment);
  if (listed.length > 1) {
    // The application's own variable may repeat one of the file's paths; it cannot name several files.
    if (!own.some((source) => same(source.sqlite, path))) {
      report(
        "SQLITE_DATABASE_PATH",
        `names one file, but the configuration lists ${listed.length} others, received ${JSON.stringify(environment)}`,
      );
    }
    return own;
  }
  return [override(path, 1, places)];
}

function override(path: string, count: number, { listed, folder }: SourcePlaces): SourceConfig {
  const known = listed.find(
    (source) => source.sqlite !== undefined && same(resolve(folder, source.sqlite), path),
  );
  const only = count === 1 && listed.length === 1 ? listed[0] : undefined;
  const source = known ?? only ?? {};
  // Several files without settings would share `public`: each gets a schema of its own name.
  const schema = source.schema ?? (count > 1 ? (source.name ?? stem(path)) : undefined);
  return resolved({ ...source, schema }, path);
}

function resolved(source: FileSource, sqlite: string): SourceConfig {
  const tables = Object.entries(source.tables ?? {}).map(([name, table]) => [name, tableOf(table)] as const);
  return {
    name: source.name ?? stem(sqlite),
    sqlite,
    schema: source.schema ?? "public",
    target: source.target ?? "create",
    lengths: source.lengths ?? "drop",
    include: source.include ?? ["*"],
    exclude: source.exclude ?? [],
    tables: Object.fromEntries(tables),
  };
}

function tableOf(table: NonNullable<FileSource["tables"]>[string]): TableConfig {
  const columns = Object.entries(table.columns ?? {}).map(([name, { type, from, name: target }]) => {
    return [
      name,
      {
        ...(type === undefined ? {} : { type }),
        ...(from === undefined ? {} : { from }),
        ...(target === undefined ? {} : { name: target }),
      },
    ] as const;
  });
  return { ...(table.name === undefined ? {} : { name: table.name }), columns: Object.fromEntries(columns) };
}

function stem(path: string): string {
  return basename(path, extname(path));
}

/** Two paths can be the same file through a symbolic link. */
function same(a: string, b: string): boolean {
  return real(a) === real(b);
}

function real(path: string): string {
  try {
    return realpathSync(path);
  } catch {
    return path;
  }
}

/** Every conflict, across sources and within one. */
export function checkSources(sources: readonly SourceConfig[], report: Report): void {
  distinct(sources, "name", (source) => source.name, "give each source its own name", report);
  distinct(sources, "schema", (source) => source.schema, "give each source its own schema", report);
  distinct(sources, "sqlite", (source) => real(source.sqlite), "list each file once", report);
  sources.forEach((source, i) => {
    const path = `sources[${i}]`;
    if (source.sqlite.endsWith(":memory:"))
      report(`${path}.sqlite`, 'expected the path of a file, received ":memory:"');
    if (/^pg_|^information_schema$|^switchback$/.test(source.schema)) {
      report(
        `${path}.schema`,
        `expected a schema that neither PostgreSQL nor switchback keeps for itself, received ${JSON.stringify(source.schema)}`,
      );
    }
    if (Buffer.byteLength(source.schema) > 63)
      report(`${path}.schema`, `expected at most 63 bytes, received ${JSON.stringify(source.schema)}`);
    checkTables(source, i, report);
  });
}

function distinct(
  sources: readonly SourceConfig[],
  key: string,
  value: (source: SourceConfig) => string,
  remedy: string,
  report: Report,
): void {
  const seen = new Map<string, number>();
  sources.forEach((source, i) => {
    const first = seen.get(value(source));
    if (first === undefined) seen.set(value(source), i);
    else
      report(
        `sources[${i}].${key}`,
        `the same as sources[${first}].${key}; ${remedy}, received ${JSON.stringify(value(source))}`,
      );
  });
}

function checkTables(source: SourceConfig, index: number, report: Report): void {
  const targets = new Map<string, string>();
  for (const [table, settings] of Object.entries(source.tables)) {
    const at = (...more: string[]) => pathText(["sources", index, "tables", table, ...more]);
    if (source.exclude.includes(table)) report(at(), "has settings and is excluded; keep one, received both");
    if (isPattern(table) && settings.name !== undefined)
      report(at("name"), `a pattern cannot name one table, received ${JSON.stringify(settings.name)}`);
    if (!isPattern(table)) once(targets, settings.name ?? table, table, at("name"), report);
    const columns = new Map<string, string>();
    for (const [column, { type, from, name }] of Object.entries(settings.columns)) {
      const several = isPattern(table) || isPattern(column);
      if (several && name !== undefined)
        report(
          at("columns", column, "name"),
          `a pattern cannot name one column, received ${JSON.stringify(name)}`,
        );
      if (!several) once(columns, name ?? column, column, at("columns", column, "name"), report);
      const parsed = type === undefined ? null : parseType(type);
      if (type !== undefined && parsed === null) {
        report(
          at("columns", column, "type"),
          `expected ${expectedType(type)}, received ${JSON.stringify(type)}`,
        );
      } else if (from !== undefined && parsed !== null && !/^(timestamp|date)/.test(parsed.name)) {
        report(
          at("columns", column),
          `from says how a moment is written, but the type is ${JSON.stringify(type)}, received from: ${from}`,
        );
      }
    }
  }
}

function expectedType(written: string): string {
  return /\([^)]*$/.test(written)
    ? 'the type in quotes, as in { type: "numeric(10,2)" }: inside { } a comma separates keys'
    : `one of ${TYPE_NAMES.join(", ")}`;
}

function once(seen: Map<string, string>, target: string, owner: string, path: string, report: Report): void {
  const first = seen.get(target);
  if (first === undefined) seen.set(target, owner);
  else report(path, `${first} has that name in the target already, received ${JSON.stringify(target)}`);
}

/** The flag, the route, the configuration and the databases must all be different files. */
export function checkFiles(
  config: Pick<Config, "file" | "flagFile" | "routeFile" | "sources">,
  report: Report,
): void {
  const files: [string, string][] = [
    ...(config.file === null ? [] : [["the configuration", config.file] as [string, string]]),
    ...config.sources.map((source, i): [string, string] => [`sources[${i}].sqlite`, source.sqlite]),
    ["flag", config.flagFile],
    ["route", config.routeFile],
  ];
  for (const [path, file] of files.slice(-2)) {
    const other = files.find(
      ([name, at]) => name !== path && (path === "route" || name !== "route") && same(at, file),
    );
    if (other) report(path, `the same file as ${other[0]}, received ${JSON.stringify(file)}`);
  }
}
