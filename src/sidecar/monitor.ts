// What a link's state looks like from outside, in either direction: rows in quarantine as problems and log lines,
// lag as numbers. It only reads.
import type pg from "pg";
import type { Logger } from "pino";
import { ERRORS, SwitchbackError } from "../errors.js";
import { counted } from "../findings.js";
import { inWords, readUnknown } from "../postgres/copy-doubts.js";
import type { Position, RefusedRow } from "../protocol/contract.js";
import type { LagClock } from "../protocol/lag.js";
import type { TargetMirror } from "../protocol/link.js";
import type { Oddity } from "../schema/model.js";
import type { Problem, SourceStatus } from "../status.js";
import type { SourceMetrics } from "../telemetry/metrics.js";
import { problem } from "./reconcile.js";

/** Refused rows that a log names one by one. */
const NAMED = 5;

/** Rows that `store` cannot hold stand in the way of a flip, a table at a time. */
export function quarantineProblems(held: TargetMirror, source: string, store: string): Problem[] {
  const tables = [...held.tables].filter(([, { quarantined }]) => quarantined > 0);
  return tables.map(([table, { quarantined }]) =>
    problem(
      "QUARANTINED",
      `${counted(quarantined, "row")} of ${table} cannot be held by ${store}`,
      source,
      table,
    ),
  );
}

/** What is recorded as unknown of the copy, until a comparison settles it. */
export async function unknownProblems(client: pg.ClientBase, source: string): Promise<Problem[]> {
  const found = await readUnknown(client, source);
  return found.map((one) => problem(one.code, inWords(one), source, one.table));
}

export function noteRefused(
  rows: readonly RefusedRow[],
  source: string,
  log: Logger,
  metrics: SourceMetrics,
): void {
  for (const { table, key, column, reason } of rows.slice(0, NAMED))
    log.warn({ source, table, key, column }, `quarantined: ${reason}`);
  if (rows.length > NAMED) log.warn({ source }, `quarantined ${rows.length - NAMED} more rows`);
  metrics.add("switchback_errors_total", rows.length, { code: "QUARANTINED" });
}

/** After the way back: full-text indexes and the like are filled by triggers, and the application's rested. */
export function noteStale(oddities: readonly Oddity[], source: string, log: Logger): void {
  const tables = oddities.filter(({ kind }) => kind === "virtual table").map(({ table }) => table);
  if (tables.length === 0) return;
  log.warn(
    { source, tables },
    "virtual tables saw nothing of what was written in PostgreSQL: rebuild or refill them",
  );
}

export function gaugeLag(metrics: SourceMetrics, newest: Position, held: TargetMirror, lag: LagClock): void {
  metrics.set("switchback_position", newest);
  metrics.set("switchback_applied_position", held.position);
  metrics.set("switchback_lag_changes", Math.max(0, newest - held.position));
  metrics.set("switchback_lag_seconds", lag.seconds(held.position));
  for (const [table, { quarantined }] of held.tables)
    metrics.set("switchback_quarantined_rows", quarantined, { table });
}

export function lagOf(newest: Position, held: TargetMirror, lag: LagClock): SourceStatus["lag"] {
  return {
    changes: Math.max(0, newest - held.position),
    seconds: Math.round(lag.seconds(held.position) * 1_000) / 1_000,
  };
}

/** An error as the status shows it. */
export function problemFrom(error: unknown): Problem {
  if (error instanceof SwitchbackError) {
    return { code: error.code, message: error.message, hint: error.kind.hint, ...error.where };
  }
  const message = error instanceof Error ? error.message : String(error);
  return { code: "BUG", message, hint: ERRORS.BUG.hint };
}
