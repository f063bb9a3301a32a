// The comparison in the background, as the sidecar runs it beside the following. What it finds is a problem that
// blocks a flip until a later comparison finds the table equal, or `verify` does.
import type { SourceConfig } from "../config/config.js";
import { counted } from "../findings.js";
import type { TableMapping } from "../mapping/mapping.js";
import { encodedKeyText } from "../mapping/row-format.js";
import { describeDifference } from "../postgres/ddl/shape-difference.js";
import { Records } from "../postgres/records.js";
import type { PostgresTarget } from "../postgres/target/target.js";
import { problem } from "../problem.js";
import { type BackgroundLimits, ComparisonRounds } from "../protocol/comparison-rounds.js";
import type { Range } from "../protocol/contract.js";
import type { Counter } from "../protocol/count.js";
import { isComplete, type Link } from "../protocol/link.js";
import type { RangeComparison } from "../protocol/range-comparison.js";
import { comparisonRanges } from "../sqlite/source/ranges.js";
import type { SqliteSource } from "../sqlite/source/source.js";
import type { SourceMetrics } from "../telemetry/metrics.js";
import type { LinkMonitor } from "./monitor.js";
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
  /** Tables with a problem of ours that stands. */
  private readonly unequal = new Set<string>();
  private verifiedAt: string | null = null;

  constructor(private readonly options: BackgroundOptions) {
    this.mappings = new Map(options.mappings.map((mapping) => [mapping.table.name, mapping]));
    this.rows = new ComparisonRounds(options.limits, this.work(), {
      compared: (range, comparison) => this.compared(range, comparison),
      tableDone: (table, differing) => {
        if (differing === 0) this.withdraw(table);
      },
      roundDone: (beganMs) => this.roundDone(beganMs),
    });
  }

  /** Does the next piece when it is due; for the moments when there is nothing to apply. */
  async turn(): Promise<void> {
    await this.rows.turn();
    if (performance.now() >= this.shapesDueMs) await this.compareShapes();
  }

  get underWay(): boolean {
    return this.rows.busy;
  }

  get dueInMs(): number {
    return this.rows.dueInMs;
  }

  /** Told of the last verification that is recorded: one that found the stores equal settles what stands. */
  saw(found: { readonly at: string; readonly equal: boolean } | null): void {
    const at = found?.at ?? null;
    if (found?.equal && at !== this.verifiedAt) for (const table of [...this.unequal]) this.withdraw(table);
    this.verifiedAt = at;
  }

  cancel(): Promise<void> {
    return this.rows.cancel();
  }

  private work() {
    const { file, target, link, counter } = this.options;
    const complete = () => [...link.held.tables].filter(([, held]) => isComplete(held));
    return {
      tables: () => complete().map(([name]) => name),
      ranges: (name: string) => {
        const held = link.held.tables.get(name);
        const mapping = this.mappings.get(name);
        if (!held || !mapping) return [];
        return file.look((db) => comparisonRanges(db, mapping.table, held.rows, held.copied));
      },
      strained: () => file.strained(),
      compare: (range: Range) => link.compare(file, target, range),
      count: () => counter.begin(() => link.count(file, target)),
    };
  }

  private compared({ table }: Range, { found, rows, position }: RangeComparison): void {
    const { metrics, monitor, source } = this.options;
    metrics.add("switchback_background_compared_rows_total", rows);
    if (found.missing + found.different === 0) return;
    const mapping = this.mappings.get(table);
    const named = found.keys
      .slice(0, NAMED)
      .map(({ kind, key }) => `${kind} ${mapping ? encodedKeyText(mapping, key) : ""}`);
    this.unequal.add(table);
    monitor.raise(
      problem(
        "ROWS_DIFFER",
        `at position ${position} ${counted(found.missing + found.different, "row")} of ${table} ${found.missing + found.different === 1 ? "is" : "are"} not the same in PostgreSQL: ${named.join(", ")}`,
        { source: source.name, table },
      ),
    );
  }

  private withdraw(table: string): void {
    this.unequal.delete(table);
    this.options.monitor.withdraw("ROWS_DIFFER", table);
  }

  private roundDone(beganMs: number): void {
    const { file, metrics } = this.options;
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
