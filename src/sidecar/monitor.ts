// What a link's state looks like from outside, in either direction: its lag, its metrics, its problems and its part
// of the status. It is told of every move and of every look at the stores; it reads no store and moves nothing.
import type pg from "pg";
import type { Logger } from "pino";
import { counted } from "../findings.js";
import type { TableMapping } from "../mapping/mapping.js";
import { inWords, readUnknown } from "../postgres/copy-doubts.js";
import type { FollowedTable } from "../postgres/records.js";
import { problem } from "../problem.js";
import type { Position, RefusedRow, Window } from "../protocol/contract.js";
import { LagClock } from "../protocol/lag.js";
import type { TargetMirror } from "../protocol/link.js";
import type { Oddity } from "../schema/model.js";
import type { Problem, SourceStatus, TableStatus } from "../status.js";
import type { SourceMetrics } from "../telemetry/metrics.js";

/** How often the newest position is read for the lag, also while the other store is away. */
export const SAMPLE_MS = 200;
/** Refused rows that a log names one by one. */
const NAMED = 5;

/** A followed table: what the status says of it besides its rows. */
export interface MonitoredTable {
  readonly mapping: TableMapping;
  /** Rows that the source is thought to have. */
  readonly estimated: number;
  state: FollowedTable["state"];
}

interface MonitorOptions {
  /** The source's name in the configuration. */
  readonly name: string;
  readonly direction: "to_postgres" | "to_sqlite";
  readonly log: Logger;
  readonly metrics: SourceMetrics;
}

export class LinkMonitor {
  private held: TargetMirror = { position: 0, tables: new Map() };
  private tables: ReadonlyMap<string, MonitoredTable> = new Map();
  private newest: Position = 0;
  private readonly lag = new LagClock();
  private readonly raised = new Map<string, Problem>();
  private found: readonly Problem[] = [];

  constructor(private readonly options: MonitorOptions) {}

  /** A link starts: `held` and `tables` are its own and change with it. Raised problems of an earlier link are over. */
  begin(held: TargetMirror, tables: ReadonlyMap<string, MonitoredTable>): void {
    this.held = held;
    this.tables = tables;
    this.raised.clear();
  }

  /** The newest position of the store that has the writes, as just seen. */
  saw(newest: Position): void {
    this.newest = newest;
    this.lag.saw(newest);
  }

  /** The gauges; also when the newest position could not be read, because the lag grows meanwhile. */
  gauge(): void {
    const { metrics } = this.options;
    metrics.set("switchback_position", this.newest);
    metrics.set("switchback_applied_position", this.held.position);
    metrics.set("switchback_lag_changes", this.changesBehind);
    metrics.set("switchback_lag_seconds", this.lag.seconds(this.held.position));
    for (const [table, { quarantined }] of this.held.tables)
      metrics.set("switchback_quarantined_rows", quarantined, { table });
  }

  get changesBehind(): number {
    return Math.max(0, this.newest - this.held.position);
  }

  /** The link applied a window. */
  advanced(window: Window, seconds: number): void {
    const { metrics, direction } = this.options;
    if (window.to > this.newest) this.saw(window.to);
    metrics.set("switchback_applied_position", window.to);
    metrics.set("switchback_last_apply_timestamp_seconds", Date.now() / 1_000);
    metrics.observe("switchback_apply_seconds", seconds);
    for (const { table, changes } of window.tables)
      metrics.add("switchback_changes_applied_total", changes, { direction, table });
  }

  refused(rows: readonly RefusedRow[]): void {
    const { log, metrics, name: source } = this.options;
    for (const { table, key, column, reason } of rows.slice(0, NAMED))
      log.warn({ source, table, key, column }, `quarantined: ${reason}`);
    if (rows.length > NAMED) log.warn({ source }, `quarantined ${rows.length - NAMED} more rows`);
    metrics.add("switchback_errors_total", rows.length, { code: "QUARANTINED" });
  }

  announce({ code, table, message }: Problem): void {
    const { log, metrics, name: source } = this.options;
    log.warn({ source, code, table }, message);
    metrics.add("switchback_errors_total", 1, { code });
  }

  /** Announces a problem, which stands until it is withdrawn or the next link begins. */
  raise(problem: Problem): void {
    this.raised.set(keyOf(problem.code, problem.table), problem);
    this.announce(problem);
  }

  withdraw(code: string, table: string | undefined): void {
    this.raised.delete(keyOf(code, table));
  }

  /** What a look at the stores found, in place of what the look before it found. */
  observed(found: readonly Problem[]): void {
    this.found = found;
  }

  /** The problems among these that the last look did not find. */
  news(found: readonly Problem[]): Problem[] {
    const before = new Set(this.found.map(({ message }) => message));
    return found.filter(({ message }) => !before.has(message));
  }

  /** What stands in the way of a flip, besides the sidecar's own state. */
  problems(): Problem[] {
    const copy = this.options.direction === "to_postgres" ? "PostgreSQL" : "SQLite";
    const quarantined = [...this.held.tables].map(([table, held]) => [table, held.quarantined] as const);
    return [
      ...this.raised.values(),
      ...this.found,
      ...quarantineProblems(quarantined, this.options.name, copy),
    ];
  }

  status(): SourceStatus {
    const applied = this.held.position;
    const seconds = Math.round(this.lag.seconds(applied) * 1_000) / 1_000;
    const tables = [...this.tables].map(([name, table]) => {
      const held = this.held.tables.get(name);
      return tableStatus(name, table, {
        begun: held !== undefined && held.copied.length > 0,
        rows: held?.rows ?? 0,
        quarantined: held?.quarantined ?? 0,
      });
    });
    const lag = { changes: this.changesBehind, seconds };
    return { name: this.options.name, position: this.newest, applied, lag, tables };
  }
}

function keyOf(code: string, table: string | undefined): string {
  return `${code} ${table ?? ""}`;
}

/** A followed table as the status shows it; `copied` is what the target has of it. */
export function tableStatus(
  name: string,
  { mapping, state, estimated }: MonitoredTable,
  copied: { readonly begun: boolean; readonly rows: number; readonly quarantined: number },
): TableStatus {
  return {
    name,
    target: `${mapping.schema}.${mapping.target}`,
    state: state === "streaming" ? "streaming" : copied.begun ? "copying" : "waiting",
    copied: copied.rows,
    estimated: Math.max(estimated, copied.rows),
    quarantined: copied.quarantined,
  };
}

/** Rows that the copy cannot hold stand in the way of a flip: one problem per table. */
export function quarantineProblems(
  quarantined: Iterable<readonly [table: string, rows: number]>,
  source: string,
  copy: "PostgreSQL" | "SQLite",
): Problem[] {
  return [...quarantined]
    .filter(([, rows]) => rows > 0)
    .map(([table, rows]) =>
      problem("QUARANTINED", `${counted(rows, "row")} of ${table} cannot be held by ${copy}`, {
        source,
        table,
      }),
    );
}

/** What is recorded as unknown of the copy, until a comparison settles it. */
export async function unknownProblems(client: pg.ClientBase, source: string): Promise<Problem[]> {
  const found = await readUnknown(client, source);
  return found.map((one) => problem(one.code, inWords(one), { source, table: one.table }));
}

/** After a revert: virtual tables are filled by the application's triggers, which did not run on the copy. */
export function noteStale(oddities: readonly Oddity[], source: string, log: Logger): void {
  const tables = oddities.filter(({ kind }) => kind === "virtual table").map(({ table }) => table);
  if (tables.length === 0) return;
  log.warn(
    { source, tables },
    "virtual tables saw nothing of what was written in PostgreSQL: rebuild or refill them",
  );
}
