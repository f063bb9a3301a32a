// The comparison in the background, as the sidecar runs it beside the following. What it finds is a problem that
// blocks a flip until a later comparison finds the table equal, or `verify` does.
import type { SourceConfig } from "../config/config.js";
import { isRetryable } from "../errors.js";
import { counted } from "../findings.js";
import type { TableMapping } from "../mapping/mapping.js";
import { encodedKeyText } from "../mapping/row-format.js";
import { forgetUnknown, noteUnknown } from "../postgres/copy-doubts.js";
import { describeDifference } from "../postgres/ddl/shape-difference.js";
import { Records } from "../postgres/records.js";
import type { PostgresTarget } from "../postgres/target/target.js";
import { present } from "../present.js";
import { problem, problemFrom } from "../problem.js";
import { type BackgroundLimits, ComparisonRounds } from "../protocol/comparison-rounds.js";
import type { Range } from "../protocol/contract.js";
import type { Counter } from "../protocol/count.js";
import { isComplete, type Link } from "../protocol/link.js";
import type { RangeComparison } from "../protocol/range-comparison.js";
import { explained } from "../sqlite/connection.js";
import { comparisonCuts } from "../sqlite/source/ranges.js";
import type { SqliteSource } from "../sqlite/source/source.js";
import type { Problem } from "../status.js";
import type { SourceMetrics } from "../telemetry/metrics.js";
import { type LinkMonitor, unknownProblems } from "./monitor.js";
import { shapesNow } from "./verification-shape.js";

interface BackgroundOptions {
  readonly source: SourceConfig;
  readonly limits: BackgroundLimits;
  readonly file: SqliteSource;
  readonly target: PostgresTarget;
  readonly link: Link;
  readonly counter: Counter;
  readonly mappings: readonly TableMapping[];
  readonly monitor: LinkMonitor;
  readonly metrics: SourceMetrics;
}

/** Differing keys that a problem names. */
const NAMED = 5;
/**
 * A table with another shape may be one that the sidecar is about to change: it is checked again before it is named.
 */
const SHAPE_AGAIN_MS = 2_000;

export class BackgroundComparison {
  private readonly rows: ComparisonRounds;
  private readonly mappings: ReadonlyMap<string, TableMapping>;
  private shapesDueMs = Number.POSITIVE_INFINITY;
  private suspected = false;
  private misshapen: readonly string[] = [];
  /** What was found and is not recorded yet, by table; null for a table that was found equal. */
  private readonly news = new Map<string, Problem | null>();
  /** Tables that could not be read, and the code of the reason. */
  private readonly unreadable = new Map<string | null, string>();

  constructor(private readonly options: BackgroundOptions) {
    this.mappings = new Map(options.mappings.map((mapping) => [mapping.table.name, mapping]));
    this.rows = new ComparisonRounds(options.limits, this.work(), {
      compared: (range, comparison) => this.compared(range, comparison),
      tableDone: (table, differing) => this.tableDone(table, differing),
      failed: (table, error) => this.failed(table, error),
      roundDone: (beganMs) => this.roundDone(beganMs),
    });
  }

  /** Does the next piece when it is due; for the moments when there is nothing to apply. */
  async turn(): Promise<void> {
    await this.record();
    await this.rows.turn();
    if (performance.now() < this.shapesDueMs) return;
    try {
      await this.compareShapes();
    } catch (error) {
      // A lock in SQLite for a moment is no reason for the following to start over.
      if (!isRetryable(error)) throw error;
      this.shapesDueMs = performance.now() + SHAPE_AGAIN_MS;
    }
  }

  get underWay(): boolean {
    return this.rows.busy;
  }

  get dueInMs(): number {
    return this.rows.dueInMs;
  }

  cancel(): Promise<void> {
    return this.rows.cancel();
  }

  private work() {
    const { file, target, link, counter } = this.options;
    const complete = () => [...link.held.tables].filter(([, held]) => isComplete(held));
    return {
      tables: () => complete().map(([name]) => name),
      cut: (name: string) => {
        const { table } = this.mapping(name);
        const next = file.look((db) => comparisonCuts(db, table));
        return (after: Range | null) => file.look(() => next(after));
      },
      strained: () => file.strained(),
      compare: (range: Range) => link.compare(file, target, range),
      count: () => counter.begin(() => link.count(file, target)),
    };
  }

  private mapping(table: string): TableMapping {
    return present(this.mappings.get(table), `mapping of table ${table}`);
  }

  private compared({ table }: Range, { found, rows, position }: RangeComparison): void {
    const { metrics, monitor, source } = this.options;
    metrics.add("switchback_background_compared_rows_total", rows);
    const differing = found.missing + found.different;
    if (differing === 0) return;
    const mapping = this.mapping(table);
    const named = found.keys
      .slice(0, NAMED)
      .map(({ kind, key }) => `${kind} ${encodedKeyText(mapping, key)}`);
    const message = `at position ${position} ${counted(differing, "row")} of ${table} ${differing === 1 ? "is" : "are"} not the same in PostgreSQL: ${named.join(", ")}`;
    const one = problem("ROWS_DIFFER", message, { source: source.name, table });
    this.news.set(table, one);
    monitor.raise(one);
  }

  private tableDone(table: string, differing: number): void {
    this.readable(table);
    const { monitor } = this.options;
    const stands = monitor.problems().some((one) => one.code === "ROWS_DIFFER" && one.table === table);
    if (differing === 0 && stands) this.news.set(table, null);
  }

  /** What cannot be read cannot be called equal. What passes by itself is only logged. */
  private failed(table: string | null, error: unknown): void {
    const { monitor, source } = this.options;
    const known = explained(error);
    const { code, message, hint } = problemFrom(known);
    const what = `comparing ${table ?? "the numbers of rows"} in the background failed: ${message}`;
    const one = { code, message: what, hint, source: source.name, ...(table !== null && { table }) };
    if (isRetryable(known)) {
      monitor.announce(one);
      return;
    }
    this.readable(table);
    this.unreadable.set(table, code);
    monitor.raise(one);
  }

  private readable(table: string | null): void {
    const code = this.unreadable.get(table);
    if (code === undefined) return;
    this.unreadable.delete(table);
    this.options.monitor.withdraw(code, table ?? undefined);
  }

  /**
   * Records what was found: a restart, or a server that was away for a moment, must not forget it. From then on the
   * record is the problem, until a comparison that began later finds the table, or everything, equal.
   */
  private async record(): Promise<void> {
    if (this.news.size === 0) return;
    const { monitor, source, target } = this.options;
    const news = [...this.news];
    for (const [table, found] of news) {
      await forgetUnknown(target.client, source.name, table, "ROWS_DIFFER");
      if (found)
        await noteUnknown(target.client, source.name, [
          { table, code: "ROWS_DIFFER", reason: found.message },
        ]);
    }
    monitor.observed(await unknownProblems(target.client, source.name));
    for (const [table, found] of news) {
      if (this.news.get(table) === found) this.news.delete(table);
      monitor.withdraw("ROWS_DIFFER", table);
    }
  }

  private roundDone(beganMs: number): void {
    const { file, metrics } = this.options;
    this.readable(null);
    // Until the next round their threads and memory are of no use.
    file.closeReaders().catch(() => {});
    const tookMs = performance.now() - beganMs;
    metrics.set("switchback_background_comparison_timestamp_seconds", (Date.now() - tookMs) / 1_000);
    metrics.set("switchback_background_comparison_seconds", tookMs / 1_000);
    this.shapesDueMs = performance.now();
  }

  private async compareShapes(): Promise<void> {
    const { source, file, target, monitor } = this.options;
    const { client } = target;
    const { found, settled } = await shapesNow({ source, file, client, records: new Records(client) });
    const before = this.suspected;
    this.suspected = found.length > 0 && settled;
    const sure = found.length === 0 || (this.suspected && before);
    // What is named is checked again after the next round.
    this.shapesDueMs = sure ? Number.POSITIVE_INFINITY : performance.now() + SHAPE_AGAIN_MS;
    if (!sure) return;
    for (const table of this.misshapen) monitor.withdraw("SHAPE_DIFFERS", table);
    this.misshapen = [...new Set(found.map(({ table }) => table))];
    for (const table of this.misshapen) {
      const all = found.filter((one) => one.table === table).map(describeDifference);
      monitor.raise(problem("SHAPE_DIFFERS", all.join("; "), { source: source.name, table }));
    }
  }
}
