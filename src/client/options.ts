// The options of `connect`, with their defaults: the variables that the sidecar reads too. It opens nothing.
import { resolve } from "node:path";
import type Database from "better-sqlite3";
import type { PostgresConfig } from "../config/config.js";
import { type Environment, lookupIn } from "../config/environment.js";
import { fromEnvironment, fromUrl, isAddress, joined } from "../config/postgres.js";
import { mask } from "../telemetry/redact.js";
import { ConnectionError } from "./errors.js";

export type Isolation = "serializable" | "repeatable read" | "read committed";

export interface ConnectOptions {
  /** The SQLite file. Default: SQLITE_DATABASE_PATH. */
  readonly sqlite?: string | undefined;
  /** PostgreSQL's URL. Default: DATABASE_URL, else POSTGRES_* or PG*. May be missing until the first cutover. */
  readonly postgres?: string | undefined;
  /** The route file, or the sidecar's `/route` as an http URL. Default: SWITCHBACK_ROUTE, else ./switchback.route.json */
  readonly route?: string | undefined;
  /** How long a call may wait for the route, for a lock or for a server. Default 30 000. */
  readonly waitMs?: number;
  /** How often a transaction is tried that meets conflicts (serialization failures, deadlocks). Default 50. */
  readonly attemptsMax?: number;
  /** Connections to PostgreSQL. Default: POSTGRES_MAX_CONNECTIONS, else 10. */
  readonly connectionsMax?: number;
  /** Connection timeout of PostgreSQL in milliseconds. Default 10 000. */
  readonly connectMs?: number;
  /** The isolation level in PostgreSQL; transactions in SQLite are always serial. Default `serializable`. */
  readonly isolation?: Isolation;
  /** The schema in PostgreSQL, set before `public` in the search path. Default: the role's own search path. */
  readonly schema?: string;
  /** Create the SQLite file when there is none. Default false: a missing file is usually a wrong path. */
  readonly create?: boolean;
  /** Called with every new connection to SQLite: for pragmas, functions and collations. */
  readonly onSqlite?: (database: Database.Database) => void;
}

export interface Settings {
  readonly sqlite: string;
  /** Null when PostgreSQL's address is not configured. */
  readonly postgres: PostgresConfig | null;
  /** A path, or an http(s) URL. */
  readonly route: string;
  readonly waitMs: number;
  readonly attemptsMax: number;
  readonly connectMs: number;
  readonly isolation: Isolation;
  readonly schema: string | undefined;
  readonly create: boolean;
  readonly onSqlite: ((database: Database.Database) => void) | undefined;
}

/** @throws ConnectionError code CONFIGURATION with everything that is invalid or missing */
export function resolveOptions(options: ConnectOptions, env: Environment, cwd: string): Settings {
  const problems: string[] = [];
  const report = (path: string, problem: string) => problems.push(`${path}: ${problem}`);
  const lookup = lookupIn(env, cwd, report);
  const sqlite = options.sqlite ?? lookup("SQLITE_DATABASE_PATH");
  if (sqlite === undefined) report("sqlite", "expected a file, or SQLITE_DATABASE_PATH");
  else if (/^(:memory:|file:|$)/.test(sqlite))
    report("sqlite", `expected a file's path, received "${sqlite}"`);
  const isolation = options.isolation ?? "serializable";
  if (!["serializable", "repeatable read", "read committed"].includes(isolation)) {
    report("isolation", `expected serializable, repeatable read or read committed, received "${isolation}"`);
  }
  const count = (
    name: "waitMs" | "attemptsMax" | "connectMs" | "connectionsMax",
    least: number,
    otherwise: number,
  ) => {
    const value = options[name] ?? otherwise;
    if (!(value >= least)) report(name, `expected a number from ${least}, received ${value}`);
    return value;
  };
  const route = options.route ?? lookup("SWITCHBACK_ROUTE") ?? "switchback.route.json";
  const postgres = postgresOf(options.postgres, lookup, cwd, report);
  if (/^https?:\/\/[^/]*@/.test(route)) {
    report("route", `expected an address without user and password, received "${mask(route)}"`);
  }
  const settings = {
    sqlite: resolve(cwd, sqlite ?? ""),
    postgres:
      postgres &&
      discreet({ ...postgres, maxConnections: count("connectionsMax", 1, postgres.maxConnections) }),
    route: /^https?:\/\//.test(route) ? route : resolve(cwd, route),
    waitMs: count("waitMs", 0, 30_000),
    attemptsMax: count("attemptsMax", 1, 50),
    connectMs: count("connectMs", 1, 10_000),
    isolation,
    schema: options.schema,
    create: options.create ?? false,
    onSqlite: options.onSqlite,
  };
  if (problems.length > 0) throw new ConnectionError(problems.join("; "), { code: "CONFIGURATION" });
  return settings;
}

/** Not enumerable: a logged handle must not show its password. */
function discreet(postgres: PostgresConfig): PostgresConfig {
  return Object.defineProperty(postgres, "password", { enumerable: false });
}

function postgresOf(
  given: string | undefined,
  lookup: ReturnType<typeof lookupIn>,
  cwd: string,
  report: (path: string, problem: string) => void,
): PostgresConfig | null {
  const url = given ?? lookup("DATABASE_URL");
  const named =
    url === undefined ? {} : fromUrl(url, given === undefined ? "DATABASE_URL" : "postgres", cwd, report);
  const surroundings = fromEnvironment(lookup, cwd, report);
  if (url === undefined && !isAddress(surroundings)) return null;
  return joined([named, surroundings], 1);
}
