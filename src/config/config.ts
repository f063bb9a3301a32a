// The resolved configuration: options > environment > file > defaults, every problem reported in one message,
// frozen. It owns the precedence, the defaults and the impossible combinations. file.ts defines the contents
// of a file, postgres.ts finds the server. It opens no database. A password never leaves the Config object,
// and never appears in a message.

import { existsSync, readFileSync } from "node:fs";
import { dirname, resolve } from "node:path";
import { SwitchbackError } from "../errors.js";
import type { MomentSource } from "../schema/moment-source.js";
import { type Environment, lookupIn, reason, secretFile } from "./environment.js";
import {
  type EnvironmentLookup,
  type FileConfig,
  LISTEN,
  type Listen,
  listenAddress,
  type Report,
  readFile,
} from "./file.js";
import {
  addressVariables,
  fromEnvironment,
  fromUrl,
  isAddress,
  joined,
  type PostgresParts,
  tls,
} from "./postgres.js";
import { checkFiles, checkSources, sourcesOf } from "./sources.js";

export interface ColumnConfig {
  /** A PostgreSQL type the mapping knows: uuid, boolean, timestamptz, jsonb, numeric(10,2), varchar(50) … */
  readonly type?: string;
  /** How SQLite spells a moment. */
  readonly from?: MomentSource;
  /** The target column. */
  readonly name?: string;
}

export interface TableConfig {
  readonly name?: string;
  readonly columns: Readonly<Record<string, ColumnConfig>>;
}

export interface SourceConfig {
  readonly name: string;
  /** Absolute path. */
  readonly sqlite: string;
  readonly schema: string;
  readonly target: "create" | "adopt";
  /** keep: VARCHAR(n) becomes varchar(n); drop: text. */
  readonly lengths: "keep" | "drop";
  readonly include: readonly string[];
  readonly exclude: readonly string[];
  readonly tables: Readonly<Record<string, TableConfig>>;
}

/** What pg's Client needs; the password never leaves this object. */
export interface PostgresConfig {
  readonly host: string;
  readonly port: number;
  readonly database: string;
  readonly user: string;
  readonly password?: string;
  /** `ca` is a root certificate's text, in PEM. */
  readonly ssl: boolean | { readonly rejectUnauthorized: boolean; readonly ca?: string };
  readonly maxConnections: number;
  /** The environment variables that replaced the configuration file's section, where they did. */
  readonly replacedBy?: readonly string[];
}

export interface Config {
  /** The configuration file's absolute path, or null. */
  readonly file: string | null;
  readonly sources: readonly SourceConfig[];
  /** Null with `embedded`, until the server is started. */
  readonly postgres: PostgresConfig | null;
  readonly embedded: boolean;
  readonly flagFile: string;
  readonly routeFile: string;
  readonly http: { readonly host: string; readonly port: number } | null;
  readonly token: string | null;
  readonly backfill: { readonly workers: number };
  readonly cutover: {
    readonly maxLagMs: number;
    readonly timeoutMs: number;
    readonly requireVerifyMs: number;
  };
  /** The comparison in the background: a round begins every so often, and takes at most this part of the time. */
  readonly verify: { readonly everyMs: number; readonly share: number };
}

/** The options of the command line that belong to the configuration. */
export interface ConfigOptions {
  readonly config?: string;
  /** Relative to the current folder; replaces the file's sources. */
  readonly sqlite?: readonly string[];
  readonly postgres?: string;
  readonly embedded?: boolean;
}

/** The parts that a command needs; each missing one becomes a problem. */
export interface Needs {
  readonly sources: boolean;
  readonly postgres: boolean;
}

const DEFAULT_FILE = "switchback.yaml";
const DEFAULT_LISTEN: Listen = { host: "127.0.0.1", port: 9464 };
/** A million rows of ten columns take some six minutes of it. */
const DEFAULT_VERIFY = { everyMs: 3_600_000, share: 0.02 };
const DEFAULT_CUTOVER = { maxLagMs: 2_000, timeoutMs: 10_000, requireVerifyMs: 3_600_000 };
/** In addition to the workers: one connection applies changes, one answers queries. */
const CONNECTIONS_BESIDE_WORKERS = 2;

/**
 * Reads the configuration. Throws CONFIG_MISSING for a file that is named but cannot be read. Throws
 * CONFIG_INVALID for problems, with one line for each.
 */
export function loadConfig(
  options: ConfigOptions,
  env: Environment,
  cwd: string,
  needs: Needs = { sources: true, postgres: true },
): Config {
  const problems: string[] = [];
  const report: Report = (path, problem) => {
    // Report each setting once: as invalid or as missing, never both.
    const said = problems.filter((line) => line.startsWith(path));
    if (problem.endsWith("received nothing") && said.length > 0) return;
    if (said.some((line) => line.startsWith(`${path}: the environment variable`))) return;
    const line = `${path}: ${problem}`.replaceAll(/\s*\n\s*/g, " ");
    if (!problems.includes(line)) problems.push(line);
  };
  const lookup = lookupIn(env, cwd, report);
  const file = configFile(options.config ?? lookup("SWITCHBACK_CONFIG"), cwd);
  const folder = file === null ? cwd : dirname(file);
  const elsewhere = options.postgres !== undefined || options.embedded === true || !needs.postgres;
  const read = file === null ? {} : readFile(readText(file), lookup, report, elsewhere ? "postgres" : null);
  const given = read ?? {};
  const reading: Reading = { options, given, lookup, report, cwd, folder };
  const listed = given.sources ?? [];
  const places = {
    named: options.sqlite ?? [],
    environment: lookup("SQLITE_DATABASE_PATH"),
    listed,
    cwd,
    folder,
  };
  const sources = sourcesOf(places, report);
  if (sources.length === 0 && needs.sources && read !== null) {
    report("sources", "expected --sqlite FILE, SQLITE_DATABASE_PATH or a list `sources`, received nothing");
  }
  const workers = given.backfill?.workers ?? 2;
  const config: Config = {
    file,
    sources,
    postgres: postgresOf(reading, workers, needs.postgres && read !== null),
    embedded: options.embedded ?? false,
    flagFile: pathOf(lookup("SWITCHBACK_FLAG"), cwd) ?? resolve(folder, given.flag ?? "switchback.flag"),
    routeFile:
      pathOf(lookup("SWITCHBACK_ROUTE"), cwd) ?? resolve(folder, given.route ?? "switchback.route.json"),
    http: httpOf(reading),
    token: tokenOf(reading),
    backfill: { workers },
    cutover: {
      maxLagMs: given.cutover?.max_lag ?? DEFAULT_CUTOVER.maxLagMs,
      timeoutMs: given.cutover?.timeout ?? DEFAULT_CUTOVER.timeoutMs,
      requireVerifyMs: given.cutover?.require_verify ?? DEFAULT_CUTOVER.requireVerifyMs,
    },
    verify: {
      everyMs: given.verify?.every ?? DEFAULT_VERIFY.everyMs,
      share: given.verify?.share ?? DEFAULT_VERIFY.share,
    },
  };
  checkSources(config.sources, report);
  checkFiles(config, report);
  if (problems.length > 0) {
    const count = problems.length === 1 ? "1 problem" : `${problems.length} problems`;
    const place = file === null ? "the configuration" : file;
    throw new SwitchbackError(
      "CONFIG_INVALID",
      [`${count} in ${place}`, ...problems.map((line) => `  ${line}`)].join("\n"),
    );
  }
  return frozen(config);
}

/** The same configuration, with the server that `--embedded` has started. */
export function withPostgres(config: Config, postgres: PostgresConfig): Config {
  return frozen({ ...config, postgres });
}

function configFile(named: string | undefined, cwd: string): string | null {
  if (named !== undefined) return resolve(cwd, named);
  const usual = resolve(cwd, DEFAULT_FILE);
  return existsSync(usual) ? usual : null;
}

function readText(file: string): string {
  try {
    return readFileSync(file, "utf8");
  } catch (error) {
    throw new SwitchbackError(
      "CONFIG_MISSING",
      `the configuration ${file} cannot be read: ${reason(error)}`,
      { file },
      { cause: error },
    );
  }
}

function pathOf(value: string | undefined, folder: string): string | null {
  return value === undefined ? null : resolve(folder, value);
}

/** The inputs from which the parts of a configuration are read. */
interface Reading {
  readonly options: ConfigOptions;
  readonly given: FileConfig;
  readonly lookup: EnvironmentLookup;
  readonly report: Report;
  readonly cwd: string;
  readonly folder: string;
}

function postgresOf(reading: Reading, workers: number, needed: boolean): PostgresConfig | null {
  const { options, given, lookup, report, cwd, folder } = reading;
  // A section with only optional variables, none of them set, is ignored.
  const section = Object.keys(given.postgres ?? {}).length > 0 ? given.postgres : undefined;
  if (section?.url !== undefined && (section.host ?? section.port ?? section.database) !== undefined) {
    report(
      "postgres",
      "url stands beside host, port or database; keep one way to name the server, received both",
    );
  }
  if (section?.password !== undefined && section.password_file !== undefined) {
    report("postgres", "password stands beside password_file; keep one, received both");
  }
  if (options.embedded) {
    if (options.postgres !== undefined)
      report("--embedded", "an embedded server excludes --postgres, received both");
    return null;
  }
  // DATABASE_URL may be the application's own, for SQLite. It is not read when the command line has a URL.
  const url = options.postgres ?? lookup("DATABASE_URL");
  const places: PostgresParts[] = [fromEnvironment(lookup, cwd, report)];
  if (url !== undefined)
    places.unshift(fromUrl(url, options.postgres !== undefined ? "--postgres" : "DATABASE_URL", cwd, report));
  const named = url !== undefined || places.some(isAddress);
  // The file's section describes its own server: it does not complete the address of another one.
  if (section && !named) places.push(fromFile(section, folder, report));
  if (!named && !section) {
    if (needed) {
      report(
        "postgres",
        "expected --postgres URL, --embedded, DATABASE_URL or a section `postgres`, received nothing",
      );
    }
    return null;
  }
  if (section && named && section.max_connections !== undefined)
    places.push({ maxConnections: section.max_connections });
  const least = workers + CONNECTIONS_BESIDE_WORKERS;
  const replacedBy = section && options.postgres === undefined ? addressVariables(lookup) : [];
  const postgres = { ...joined(places, least), ...(replacedBy.length > 0 && { replacedBy }) };
  if (postgres.maxConnections < least) {
    report(
      "postgres.max_connections",
      `expected at least ${least} (backfill.workers and ${CONNECTIONS_BESIDE_WORKERS}), received ${postgres.maxConnections}`,
    );
  }
  return postgres;
}

function fromFile(
  section: NonNullable<FileConfig["postgres"]>,
  folder: string,
  report: Report,
): PostgresParts {
  const url: PostgresParts =
    section.url === undefined ? {} : fromUrl(section.url, "postgres.url", folder, report);
  const password =
    section.password_file === undefined
      ? section.password
      : secretFile(section.password_file, "postgres.password_file", folder, report);
  return {
    host: section.host ?? url.host,
    port: section.port ?? url.port,
    database: section.database ?? url.database,
    user: section.user ?? url.user,
    password: password ?? url.password,
    ssl: tls(section.ssl, undefined, "postgres.ssl", folder, report) ?? url.ssl,
    maxConnections: section.max_connections,
  };
}

function httpOf({ given, lookup, report }: Reading): Config["http"] {
  const named = lookup("SWITCHBACK_HTTP");
  const listen = named === undefined ? given.http?.listen : listenAddress(named);
  if (named !== undefined && listen === undefined)
    report("SWITCHBACK_HTTP", `expected ${LISTEN}, received ${JSON.stringify(named)}`);
  return listen === "off" ? null : (listen ?? DEFAULT_LISTEN);
}

function tokenOf({ given, lookup, folder, report }: Reading): string | null {
  const section = given.http;
  if (section?.token !== undefined && section.token_file !== undefined) {
    report("http", "token stands beside token_file; keep one, received both");
  }
  const named = lookup("SWITCHBACK_TOKEN");
  if (named !== undefined) return checkedToken(named, "SWITCHBACK_TOKEN", report);
  if (section?.token_file !== undefined) {
    const token = secretFile(section.token_file, "http.token_file", folder, report);
    return token === undefined ? null : checkedToken(token, "http.token_file", report);
  }
  return section?.token === undefined ? null : checkedToken(section.token, "http.token", report);
}

/** A header carries the token: white space inside could never match. */
function checkedToken(token: string, path: string, report: Report): string {
  if (!/^[!-~]+$/.test(token))
    report(path, 'expected a token of printable characters without blanks, received "***"');
  return token;
}

function frozen<T>(value: T): T {
  if (typeof value === "object" && value !== null && !Object.isFrozen(value)) {
    Object.freeze(value);
    for (const item of Object.values(value)) frozen(item);
  }
  return value;
}
