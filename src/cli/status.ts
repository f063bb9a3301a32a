// `status`: asks a running sidecar first; without one it prints the records in the stores.
import type Database from "better-sqlite3";
import type pg from "pg";
import type { Config, SourceConfig } from "../config/config.js";
import { readHeartbeat } from "../cutover/heartbeat-file.js";
import { assertPairs } from "../cutover/pair.js";
import { described, sameDatabase, servedBy, within } from "../cutover/served.js";
import { NOTICES } from "../error-kind.js";
import { ERRORS, SwitchbackError } from "../errors.js";
import { changesBeyond } from "../postgres/change-log.js";
import { withSession } from "../postgres/connection.js";
import { type FollowedTable, Records } from "../postgres/records.js";
import { isLocked } from "../postgres/sidecar-lock.js";
import { pause } from "../retry.js";
import { captureOffProblem } from "../sidecar/capture-off.js";
import { quarantineProblems, tableStatus } from "../sidecar/monitor.js";
import { readCapture } from "../sqlite/capture/install.js";
import { readCaptureOff } from "../sqlite/capture/off.js";
import { openSqlite, sqliteError } from "../sqlite/connection.js";
import { quarantinedRows } from "../sqlite/target/copy-record.js";
import type { PhaseName, Problem, SourceStatus, Status, TableStatus } from "../status.js";
import { VERSION } from "../version.js";
import { type Context, type ExitCode, requirePostgres } from "./command.js";

const ASK_MS = 1_000;
const WATCH_MS = 1_000;
/** Moves the cursor to the top left and clears the screen below it, so that the display stays in place. */
const REDRAW = "\x1b[H\x1b[J";

export async function status(context: Context, options: { readonly watch?: boolean }): Promise<ExitCode> {
  for (;;) {
    const asked = await askSidecar(context.config);
    const other = asked ? await otherThan(context, asked) : null;
    const answer = asked && !other ? asked : await readStores(context, other);
    const again = options.watch && process.stdout.isTTY ? REDRAW : "";
    context.out(context.json ? JSON.stringify(answer) : again + text(answer));
    if (!options.watch) return 0;
    await pause(WATCH_MS, context.signal).catch(() => {});
    if (context.signal.aborted) return 0;
  }
}

/** The problem when the sidecar at the configured address serves another configuration. */
async function otherThan({ config }: Context, { serves, sources }: Status): Promise<Problem | null> {
  const postgres = requirePostgres(config);
  const own = servedBy(config.sources, postgres);
  const names = sources.map(({ name }) => name);
  const fits = serves
    ? within(own.sources, serves.sources) && (await sameDatabase(postgres, serves))
    : config.sources.every(({ name }) => names.includes(name));
  if (fits) return null;
  const { hint } = ERRORS.OTHER_SIDECAR;
  const theirs = serves ? described(serves) : names.join(", ");
  const message = `the sidecar at ${config.http?.host}:${config.http?.port} serves ${theirs}, and not this configuration`;
  return { code: "OTHER_SIDECAR", message, hint };
}

/** The sidecar that answers at the configured address, or null. */
async function askSidecar(config: Config): Promise<Status | null> {
  if (!config.http) return null;
  try {
    const { host, port } = config.http;
    const address = host.includes(":") ? `[${host}]` : host;
    const response = await fetch(`http://${address}:${port}/status`, { signal: AbortSignal.timeout(ASK_MS) });
    const answer = (await response.json()) as Status;
    return Array.isArray(answer.sources) ? answer : null;
  } catch {
    return null;
  }
}

async function readStores({ config }: Context, other: Problem | null): Promise<Status> {
  const postgres = requirePostgres(config);
  return withSession(postgres, "switchback status", async (client) => {
    await assertPairs(client, postgres, config.sources);
    const records = new Records(client);
    if (!(await records.installed())) {
      if (other) throw new SwitchbackError("OTHER_SIDECAR", other.message);
      throw new SwitchbackError("NOT_INSTALLED", "switchback is not installed in this database");
    }
    const sources: SourceStatus[] = [];
    const problems: Problem[] = other ? [other] : [];
    const route = await records.route();
    const onPostgres = route.writes !== "sqlite";
    for (const source of config.sources) {
      const read = await readSource(records, source, onPostgres ? client : null);
      sources.push(read.status);
      problems.push(...read.problems);
    }
    const halted = readHeartbeat(config.routeFile)?.halted ?? null;
    if (halted) problems.unshift({ ...halted, message: `the sidecar has halted: ${halted.message}` });
    else if (!(await isLocked(client))) {
      problems.unshift({
        code: "NOT_RUNNING",
        message: "no sidecar is running; this is what the stores record",
        hint: NOTICES.NOT_RUNNING.hint,
      });
    }
    const checked = await Promise.all(config.sources.map(({ name }) => records.verification(name)));
    const verify = checked[0]
      ? { at: checked[0].at, equal: checked.every((check) => check?.equal === true) }
      : null;
    const tables = sources.flatMap((source) => source.tables);
    const phase = halted ? "halted" : recordedPhase(onPostgres, tables);
    return { version: VERSION, phase, route, sources, verify, problems };
  });
}

/** What a sidecar would be doing, as far as the records tell. */
function recordedPhase(onPostgres: boolean, tables: readonly TableStatus[]): PhaseName {
  if (onPostgres) return "reverse_streaming";
  if (tables.length === 0) return "starting";
  return tables.every(({ state }) => state === "streaming") ? "streaming" : "backfilling";
}

async function readSource(
  records: Records,
  source: SourceConfig,
  /** A session, while PostgreSQL has the writes. */
  onPostgres: pg.Client | null,
): Promise<{ status: SourceStatus; problems: Problem[] }> {
  const record = await records.source(source.name);
  const followed = await records.followed(source.name);
  const log = onPostgres ? await changesBeyond(onPostgres, source.name) : null;
  const position = log ? log.consumed + log.pending : newestPosition(source);
  const applied = log ? log.consumed : (record?.position ?? null);
  const kept = onPostgres ? keptOut(source, followed) : null;
  const tables = followed.map((table) => {
    const copied = table.ranges.filter(({ rows }) => rows !== null);
    return tableStatus(table.name, table, {
      begun: copied.length > 0,
      rows: copied.reduce((sum, { rows }) => sum + (rows ?? 0), 0),
      quarantined: kept?.get(table.name) ?? table.quarantined,
    });
  });
  const changes = Math.max(0, (position ?? 0) - (applied ?? 0));
  const problems = quarantineProblems(
    tables.map(({ name, quarantined }) => [name, quarantined]),
    source.name,
    onPostgres ? "SQLite" : "PostgreSQL",
  );
  if (!onPostgres && isCaptureOff(source)) problems.push(captureOffProblem(source.name));
  return { status: { name: source.name, position, applied, lag: { changes, seconds: 0 }, tables }, problems };
}

/** Rows of each table that the file cannot hold. */
function keptOut(source: SourceConfig, followed: readonly FollowedTable[]): Map<string, number> {
  return lookAt(
    source,
    (db) => new Map(followed.map(({ name }) => [name, quarantinedRows(db, name, 0).count])),
  );
}

function isCaptureOff(source: SourceConfig): boolean {
  return lookAt(source, (db) => readCaptureOff(db) !== null);
}

function newestPosition(source: SourceConfig): number | null {
  return lookAt(source, (db) => {
    if (!readCapture(db)) return null;
    return Number(db.prepare("SELECT coalesce(max(seq), 0) FROM _switchback_log").pluck().get());
  });
}

function lookAt<T>(source: SourceConfig, work: (db: Database.Database) => T): T {
  const db = openSqlite(source.sqlite, { readonly: true });
  try {
    return work(db);
  } catch (error) {
    throw sqliteError(error, { source: source.name, file: source.sqlite });
  } finally {
    db.close();
  }
}

function text(status: Status): string {
  const running = status.problems.every(({ code }) => code !== "NOT_RUNNING");
  const phase = running ? `phase ${status.phase}` : `no sidecar is running (recorded phase ${status.phase})`;
  const lines = [`${phase} · writes go to ${status.route.writes} (epoch ${status.route.epoch})`];
  for (const source of status.sources) {
    lines.push(
      `${source.name}: position ${source.position ?? "–"}, applied ${source.applied ?? "–"}, ${source.lag.changes} changes behind`,
    );
    const width = Math.max(5, ...source.tables.map((table) => table.name.length));
    for (const table of source.tables) {
      const share = table.estimated === 0 ? 100 : Math.floor((100 * table.copied) / table.estimated);
      const quarantined = table.quarantined === 0 ? "" : `  ${table.quarantined} quarantined`;
      const rows =
        table.state === "streaming"
          ? ""
          : `  ${table.copied.toLocaleString("en")} of about ${table.estimated.toLocaleString("en")} rows (${share} %)`;
      lines.push(`  ${table.name.padEnd(width)}  → ${table.target}  ${table.state}${rows}${quarantined}`);
    }
  }
  if (status.verify)
    lines.push(`last verified ${status.verify.at}: ${status.verify.equal ? "equal" : "NOT equal"}`);
  for (const { code, message, hint } of status.problems) lines.push(`! ${code} ${message}\n  → ${hint}`);
  return lines.join("\n");
}
