// Every metric, in one table: name, type, labels, help. The table types the setters, so that a wrong name or
// label is a compile error. It owns the registry (its own, never prom-client's global one) and does not
// interpret the numbers.
import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from "prom-client";
import { PHASES, type PhaseName, WRITES, type Writes } from "../status.js";

export const METRICS = {
  switchback_lag_seconds: {
    type: "gauge",
    labels: ["source"],
    help: "Age of the oldest change that the target does not have yet; 0 when it has them all.",
  },
  switchback_lag_changes: {
    type: "gauge",
    labels: ["source"],
    help: "Changes logged in the source that the target does not have yet.",
  },
  switchback_position: {
    type: "gauge",
    labels: ["source"],
    help: "Newest position in the source's change log.",
  },
  switchback_applied_position: {
    type: "gauge",
    labels: ["source"],
    help: "Position that the target has reached.",
  },
  switchback_last_apply_timestamp_seconds: {
    type: "gauge",
    labels: ["source"],
    help: "When changes were last applied to the target, in Unix time.",
  },
  switchback_phase: {
    type: "gauge",
    labels: ["source", "phase"],
    help: "1 for the phase the sidecar is in, 0 for every other.",
  },
  switchback_route: {
    type: "gauge",
    labels: ["source", "writes"],
    help: "1 for where application writes go now, 0 for the others.",
  },
  switchback_epoch: { type: "gauge", labels: ["source"], help: "Number of flips so far." },
  switchback_backfill_rows: {
    type: "gauge",
    labels: ["source", "table"],
    help: "Rows copied by the backfill.",
  },
  switchback_backfill_estimated_rows: {
    type: "gauge",
    labels: ["source", "table"],
    help: "Rows that the backfill expects to copy.",
  },
  switchback_changes_applied_total: {
    type: "counter",
    labels: ["source", "direction", "table"],
    help: "Rows written to or deleted from the target because of logged changes.",
  },
  switchback_apply_seconds: {
    type: "histogram",
    labels: ["source"],
    help: "Time to commit a batch of changes in the target.",
  },
  switchback_quarantined_rows: {
    type: "gauge",
    labels: ["source", "table"],
    help: "Rows that the target cannot hold exactly; they block the flip.",
  },
  switchback_verify_different_rows: {
    type: "gauge",
    labels: ["source"],
    help: "Rows missing, extra or different at the last verification.",
  },
  switchback_verify_timestamp_seconds: {
    type: "gauge",
    labels: ["source"],
    help: "When the stores were last compared, in Unix time.",
  },
  switchback_background_compared_rows_total: {
    type: "counter",
    labels: ["source"],
    help: "Rows compared in the background.",
  },
  switchback_background_comparison_timestamp_seconds: {
    type: "gauge",
    labels: ["source"],
    help: "When the last complete comparison in the background began, in Unix time.",
  },
  switchback_background_comparison_seconds: {
    type: "gauge",
    labels: ["source"],
    help: "How long the last complete comparison in the background took.",
  },
  switchback_cutover_pause_seconds: {
    type: "gauge",
    labels: ["source"],
    help: "How long neither store took writes during the last flip.",
  },
  switchback_flips_total: {
    type: "counter",
    labels: ["source", "result"],
    help: "Flips attempted, by result.",
  },
  switchback_errors_total: { type: "counter", labels: ["source", "code"], help: "Errors met, by code." },
  switchback_change_log_rows: {
    type: "gauge",
    labels: ["source"],
    help: "Rows in the change log that takes the writes now.",
  },
  switchback_sqlite_wal_bytes: {
    type: "gauge",
    labels: ["source"],
    help: "Size of SQLite's write-ahead log file.",
  },
} as const satisfies Record<string, Definition>;

interface Definition {
  readonly type: "gauge" | "counter" | "histogram";
  readonly labels: readonly string[];
  readonly help: string;
}

/** From half a millisecond (a small batch) to a minute (a huge transaction). */
const APPLY_BUCKETS_SECONDS = [
  0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60,
];

/** The values of a label; other labels are free text. */
interface LabelValues {
  readonly phase: PhaseName;
  readonly writes: Writes;
  readonly direction: Direction;
  readonly result: FlipOutcome;
}

type Direction = "to_postgres" | "to_sqlite";

/** flipped: writes moved · retreated: they stayed where they were · refused: a precondition did not hold. */
export const FLIP_OUTCOMES = ["flipped", "retreated", "refused"] as const;
export type FlipOutcome = (typeof FLIP_OUTCOMES)[number];

type MetricName = keyof typeof METRICS;
type OfType<T> = { [N in MetricName]: (typeof METRICS)[N]["type"] extends T ? N : never }[MetricName];
type GaugeName = Exclude<OfType<"gauge">, "switchback_phase" | "switchback_route">;
type CounterName = OfType<"counter">;
type HistogramName = OfType<"histogram">;

/** A metric's labels except `source`, each with its type. */
type Labels<N extends MetricName> = {
  readonly [L in Exclude<(typeof METRICS)[N]["labels"][number], "source">]: L extends keyof LabelValues
    ? LabelValues[L]
    : string;
};

/** No further labels: the argument may be left out. */
type LabelArgument<N extends MetricName> = keyof Labels<N> extends never ? [] : [labels: Labels<N>];

/** One source's metrics. */
export interface SourceMetrics {
  set<N extends GaugeName>(name: N, value: number, ...labels: LabelArgument<N>): void;
  add<N extends CounterName>(name: N, value: number, ...labels: LabelArgument<N>): void;
  observe<N extends HistogramName>(name: N, seconds: number, ...labels: LabelArgument<N>): void;
  phase(phase: PhaseName): void;
  route(writes: Writes, epoch: number): void;
}

export interface MetricsRegistry {
  /** The metrics of one source; the same object for the same name. */
  source(name: string): SourceMetrics;
  /** Everything in Prometheus' text format. */
  text(): Promise<string>;
  readonly contentType: string;
  /** Stops the collectors of Node's own metrics. */
  close(): void;
}

// Gauges that prom-client names `…_total`, an ending that is reserved for counters. The same numbers are in
// the metrics of the same name without the ending, by type.
const MISNAMED = [
  "nodejs_active_handles_total",
  "nodejs_active_requests_total",
  "nodejs_active_resources_total",
];

export function createMetrics(): MetricsRegistry {
  const registry = new Registry();
  collectDefaultMetrics({ register: registry });
  for (const name of MISNAMED) registry.removeSingleMetric(name);

  const gauges = new Map<string, Gauge>();
  const counters = new Map<string, Counter>();
  const histograms = new Map<string, Histogram>();
  for (const [name, { type, labels, help }] of Object.entries(METRICS)) {
    const options = { name, help, labelNames: [...labels], registers: [registry] };
    if (type === "gauge") gauges.set(name, new Gauge(options));
    else if (type === "counter") counters.set(name, new Counter(options));
    else histograms.set(name, new Histogram({ ...options, buckets: APPLY_BUCKETS_SECONDS }));
  }

  const sources = new Map<string, SourceMetrics>();
  const open = (source: string): SourceMetrics => {
    const gauge = (name: string, value: number, labels: Record<string, string>) =>
      gauges.get(name)?.set({ source, ...labels }, value);
    const metrics: SourceMetrics = {
      set: (name, value, ...[labels]) => gauge(name, value, { ...labels }),
      add: (name, value, ...[labels]) => counters.get(name)?.inc({ source, ...labels }, value),
      observe: (name, seconds, ...[labels]) => histograms.get(name)?.observe({ source, ...labels }, seconds),
      phase(current) {
        for (const phase of PHASES) gauge("switchback_phase", phase === current ? 1 : 0, { phase });
      },
      route(current, epoch) {
        for (const writes of WRITES) gauge("switchback_route", writes === current ? 1 : 0, { writes });
        gauge("switchback_epoch", epoch, {});
      },
    };
    metrics.phase("starting");
    metrics.route("sqlite", 0);
    // A counter that first appears with its first event hides that event from rate().
    for (const result of FLIP_OUTCOMES) metrics.add("switchback_flips_total", 0, { result });
    return metrics;
  };

  return {
    contentType: registry.contentType,
    source(name) {
      const metrics = sources.get(name) ?? open(name);
      sources.set(name, metrics);
      return metrics;
    },
    // prom-client spells the value of an empty summary `Nan`.
    text: async () => (await registry.metrics()).replaceAll(/ Nan$/gm, " NaN"),
    close: () => registry.clear(),
  };
}
