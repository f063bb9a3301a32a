// The address of PostgreSQL: from a URL, from the environment (DATABASE_URL, POSTGRES_*, libpq's PG*) or from
// the section of the configuration file, merged field by field. It reads URLs and TLS modes, and names a
// server without its password. The precedence over a file is not decided here.
import { readFileSync } from "node:fs";
import { userInfo } from "node:os";
import { resolve } from "node:path";
import { maskSecret } from "../telemetry/redact.js";
import type { PostgresConfig } from "./config.js";
import { reason } from "./environment.js";
import type { EnvironmentLookup, Report } from "./file.js";

/** What one source of the configuration says about the server. */
export interface PostgresParts {
  host?: string | undefined;
  port?: number | undefined;
  database?: string | undefined;
  user?: string | undefined;
  password?: string | undefined;
  ssl?: PostgresConfig["ssl"] | undefined;
  maxConnections?: number | undefined;
}

const POSTGRES_URL =
  "a URL such as postgres://user@host:5432/database (special characters in the password percent-encoded)";

/** Some providers' URLs contain it; it has no effect here. */
const HARMLESS = new Set([
  "application_name",
  "connect_timeout",
  "channel_binding",
  "target_session_attrs",
  "gssencmode",
  "schema",
  "pgbouncer",
  "connection_limit",
  "pool_timeout",
  "keepalives",
  "keepalives_idle",
  "fallback_application_name",
  "sslnegotiation",
  "sslsni",
]);

/** Host, port and database, for messages and to tell two servers apart. */
export function addressOf({ host, port, database }: PostgresConfig): string {
  return `${host}:${port}/${database}`;
}

/** Reads a URL as libpq does. Reports every problem under `path`, without the password. */
export function fromUrl(text: string, path: string, folder: string, report: Report): PostgresParts {
  const received = `received ${JSON.stringify(maskSecret(text))}`;
  const url = /^postgres(ql)?:\/\//i.test(text) && URL.canParse(text) ? new URL(text) : null;
  const plain = url ? decoded([url.hostname, url.pathname.slice(1), url.username, url.password]) : null;
  if (!url || !plain || url.hostname.includes(",") || plain[1]?.includes("/") || isMisread(url)) {
    report(path, `expected ${POSTGRES_URL}, ${received}`);
    return {};
  }
  const parts: PostgresParts = {
    host: plain[0]?.replace(/^\[|\]$/g, "") || undefined,
    port: url.port === "" ? undefined : Number(url.port),
    database: plain[1] || undefined,
    user: plain[2] || undefined,
    password: plain[3] || undefined,
  };
  let mode: string | undefined;
  let certificate: string | undefined;
  for (const [name, value] of url.searchParams) {
    if (name === "host" || name === "user" || name === "password") parts[name] = value;
    else if (name === "dbname") parts.database = value;
    else if (name === "port") parts.port = port(value, `${path} (port)`, report);
    else if (name === "sslmode" || name === "ssl") mode = value;
    else if (name === "sslrootcert") certificate = value;
    else if (!HARMLESS.has(name)) report(path, `${shown(name, parts)} is not supported, ${received}`);
  }
  parts.ssl = tls(mode, certificate, path, folder, report);
  return parts;
}

const PARAMETERS = new Set([
  ...["host", "user", "password", "dbname", "port", "sslmode", "ssl", "sslrootcert"],
  ...HARMLESS,
]);

/** True when a character of the password seems to have ended the address: the rest was then read as something else. */
function isMisread({ hash, pathname, search, searchParams }: URL): boolean {
  if (hash !== "" || pathname.includes("@")) return true;
  return search.includes("@") && [...searchParams.keys()].some((name) => !PARAMETERS.has(name));
}

/** A parameter after the password may be the rest of the password. */
function shown(name: string, { password }: PostgresParts): string {
  return password === undefined ? `the parameter ${name}` : "a parameter";
}

function decoded(texts: readonly string[]): string[] | null {
  try {
    return texts.map(decodeURIComponent);
  } catch {
    return null;
  }
}

/** The variables that name a server or a database, and so replace the configuration file's section. */
export function addressVariables(lookup: EnvironmentLookup): string[] {
  const names = ["DATABASE_URL", "POSTGRES_HOST", "POSTGRES_DB", "PGHOST", "PGDATABASE"];
  return names.filter((name) => lookup(name) !== undefined);
}

/** POSTGRES_* before PG*, field by field. */
export function fromEnvironment(lookup: EnvironmentLookup, folder: string, report: Report): PostgresParts {
  // Kubernetes sets POSTGRES_PORT=tcp://… for a service called postgres; ignore it.
  const ours = lookup("POSTGRES_PORT");
  const named = ours?.startsWith("tcp://") ? undefined : ours;
  const pg = lookup("PGPORT");
  const most = lookup("POSTGRES_MAX_CONNECTIONS");
  return {
    host: lookup("POSTGRES_HOST") ?? lookup("PGHOST"),
    port:
      named !== undefined
        ? port(named, "POSTGRES_PORT", report)
        : pg !== undefined
          ? port(pg, "PGPORT", report)
          : undefined,
    database: lookup("POSTGRES_DB") ?? lookup("PGDATABASE"),
    user: lookup("POSTGRES_USER") ?? lookup("PGUSER"),
    password: lookup("POSTGRES_PASSWORD") ?? lookup("PGPASSWORD"),
    ssl:
      tls(lookup("POSTGRES_SSL"), undefined, "POSTGRES_SSL", folder, report) ??
      tls(lookup("PGSSLMODE"), lookup("PGSSLROOTCERT"), "PGSSLMODE", folder, report),
    maxConnections:
      most === undefined ? undefined : wholeNumber(most, 1, 10_000, "POSTGRES_MAX_CONNECTIONS", report),
  };
}

function port(value: string, path: string, report: Report): number | undefined {
  return wholeNumber(value, 1, 65_535, path, report);
}

function wholeNumber(
  value: string,
  least: number,
  most: number,
  path: string,
  report: Report,
): number | undefined {
  const number = /^\d+$/.test(value) ? Number(value) : Number.NaN;
  if (number >= least && number <= most) return number;
  report(path, `expected a whole number from ${least} to ${most}, received ${JSON.stringify(value)}`);
  return undefined;
}

const TLS_MODES = "true, false, disable, require, no-verify, verify-ca or verify-full";

/**
 * The TLS settings of pg for a mode. `require` encrypts without checking the certificate, as libpq does
 * without a root certificate. `prefer` and `allow` mean no encryption, because pg cannot fall back.
 */
export function tls(
  mode: string | boolean | undefined,
  certificate: string | undefined,
  path: string,
  folder: string,
  report: Report,
): PostgresConfig["ssl"] | undefined {
  let ca: string | undefined;
  if (certificate !== undefined && certificate !== "system") {
    try {
      ca = readFileSync(resolve(folder, certificate), "utf8");
    } catch (error) {
      report(
        path,
        `the root certificate cannot be read (${reason(error)}), received ${JSON.stringify(certificate)}`,
      );
    }
  }
  switch (typeof mode === "string" ? mode.toLowerCase() : mode) {
    case undefined:
      return ca === undefined ? undefined : { rejectUnauthorized: true, ca };
    case false:
    case "false":
    case "0":
    case "off":
    case "no":
    case "disable":
    case "allow":
    case "prefer":
      return false;
    case "require":
    case "no-verify":
      return ca === undefined || mode === "no-verify"
        ? { rejectUnauthorized: false }
        : { rejectUnauthorized: true, ca };
    case true:
    case "true":
    case "1":
    case "on":
    case "yes":
    case "verify-ca":
    case "verify-full":
      return ca === undefined ? true : { rejectUnauthorized: true, ca };
    default:
      report(path, `expected ${TLS_MODES}, received ${JSON.stringify(mode)}`);
      return undefined;
  }
}

/** True when the parts name a server or a database, not only credentials. */
export function isAddress(parts: PostgresParts): boolean {
  return parts.host !== undefined || parts.database !== undefined;
}

/** For each field the first place that sets it wins; otherwise libpq's default applies. */
export function joined(places: readonly PostgresParts[], connectionsLeast: number): PostgresConfig {
  const first = <K extends keyof PostgresParts>(key: K): PostgresParts[K] =>
    places.find((parts) => parts[key] !== undefined)?.[key];
  const user = first("user") ?? operatingSystemUser();
  const password = first("password");
  return {
    host: first("host") ?? "localhost",
    port: first("port") ?? 5432,
    database: first("database") ?? user,
    user,
    ...(password === undefined ? {} : { password }),
    ssl: first("ssl") ?? false,
    maxConnections: first("maxConnections") ?? Math.max(10, connectionsLeast),
  };
}

function operatingSystemUser(): string {
  try {
    return userInfo().username;
  } catch {
    // A container's user id may have no entry in passwd.
    return "postgres";
  }
}
