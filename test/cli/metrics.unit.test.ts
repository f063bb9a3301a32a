// The metrics: the contract's names with their labels, in a form that Prometheus and its linter accept.
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { PHASES } from "#switchback/status.js";
import {
  createMetrics,
  FLIP_OUTCOMES,
  METRICS,
  type MetricsRegistry,
} from "#switchback/telemetry/metrics.js";

/** The contract's list, written out once more: a renamed metric breaks someone's dashboard. */
const CONTRACT: Record<string, string[]> = {
  switchback_lag_seconds: [],
  switchback_lag_changes: [],
  switchback_position: [],
  switchback_applied_position: [],
  switchback_last_apply_timestamp_seconds: [],
  switchback_phase: ["phase"],
  switchback_route: ["writes"],
  switchback_epoch: [],
  switchback_backfill_rows: ["table"],
  switchback_backfill_estimated_rows: ["table"],
  switchback_changes_applied_total: ["direction", "table"],
  switchback_apply_seconds: [],
  switchback_quarantined_rows: ["table"],
  switchback_verify_different_rows: [],
  switchback_verify_timestamp_seconds: [],
  switchback_background_compared_rows_total: [],
  switchback_background_comparison_timestamp_seconds: [],
  switchback_background_comparison_seconds: [],
  switchback_cutover_pause_seconds: [],
  switchback_flips_total: ["result"],
  switchback_errors_total: ["code"],
  switchback_change_log_rows: [],
  switchback_sqlite_wal_bytes: [],
};

/** Every metric with a value, table names that need escaping among the labels. */
function filled(): MetricsRegistry {
  const metrics = createMetrics();
  const source = metrics.source('odd "name"\n\\');
  const table = 'Odd "Table"\\';
  source.set("switchback_lag_seconds", 0.25);
  source.set("switchback_lag_changes", 3);
  source.set("switchback_position", 2 ** 53 - 1);
  source.set("switchback_applied_position", 12);
  source.set("switchback_last_apply_timestamp_seconds", 1.7e9);
  source.phase("streaming");
  source.route("paused", 3);
  source.set("switchback_backfill_rows", 10, { table });
  source.set("switchback_backfill_estimated_rows", 11, { table });
  source.add("switchback_changes_applied_total", 5, { direction: "to_postgres", table });
  source.observe("switchback_apply_seconds", 0.003);
  source.set("switchback_quarantined_rows", 1, { table });
  source.set("switchback_verify_different_rows", 0);
  source.set("switchback_verify_timestamp_seconds", 1.7e9);
  source.add("switchback_background_compared_rows_total", 2_000);
  source.set("switchback_background_comparison_timestamp_seconds", 1.7e9);
  source.set("switchback_background_comparison_seconds", 40);
  source.set("switchback_cutover_pause_seconds", 0.023);
  source.add("switchback_flips_total", 1, { result: "flipped" });
  source.add("switchback_errors_total", 1, { code: "SQLITE_BUSY" });
  source.set("switchback_change_log_rows", 7);
  source.set("switchback_sqlite_wal_bytes", 4096);
  return metrics;
}

interface Sample {
  readonly name: string;
  readonly labels: Record<string, string>;
  readonly value: number;
}

/** Reads Prometheus' text format; throws on a line that is not of it. */
function parse(text: string): { samples: Sample[]; types: Map<string, string>; helps: Set<string> } {
  const samples: Sample[] = [];
  const types = new Map<string, string>();
  const helps = new Set<string>();
  for (const line of text.split("\n")) {
    const comment = /^# (HELP|TYPE) (\w+) (.+)$/.exec(line);
    const sample = /^(\w+)(?:\{(.*)\})? (NaN|[+-]?(?:Inf|[\d.]+(?:e[+-]?\d+)?))$/.exec(line);
    if (comment?.[1] === "HELP") helps.add(comment[2] ?? "");
    else if (comment) types.set(comment[2] ?? "", comment[3] ?? "");
    else if (sample) {
      const pairs = [...(sample[2] ?? "").matchAll(/(\w+)="((?:[^"\\]|\\.)*)",?/g)];
      expect(pairs.map(([pair]) => pair).join("")).toBe(sample[2] ?? "");
      const labels = Object.fromEntries(pairs.map(([, key, value]) => [key ?? "", value ?? ""]));
      samples.push({ name: sample[1] ?? "", labels, value: Number(sample[3]?.replace("Inf", "Infinity")) });
    } else if (line !== "") throw new Error(`not Prometheus' text format: ${line}`);
  }
  return { samples, types, helps };
}

test("the contract's names and labels, no other of ours", () => {
  const ours = Object.fromEntries(
    Object.entries(METRICS).map(([name, { labels }]) => [name, labels.filter((label) => label !== "source")]),
  );
  expect(ours).toEqual(CONTRACT);
  for (const { labels } of Object.values(METRICS)) expect(labels[0]).toBe("source");
});

test("every metric shows up with every label, a help text and a type", async () => {
  const metrics = filled();
  const { samples, types, helps } = parse(await metrics.text());
  metrics.close();
  for (const [name, { type, labels }] of Object.entries(METRICS)) {
    const own = samples.filter((sample) => sample.name.replace(/_(bucket|sum|count)$/, "") === name);
    expect(own, name).not.toHaveLength(0);
    for (const sample of own)
      expect(
        Object.keys(sample.labels)
          .filter((label) => label !== "le")
          .sort(),
      ).toEqual([...labels].sort());
    expect(types.get(name)).toBe(type);
    expect(helps).toContain(name);
  }
  expect(samples.find((sample) => sample.name === "switchback_position")?.value).toBe(2 ** 53 - 1);
  expect(samples.map((sample) => sample.name)).toContain("process_resident_memory_bytes");
});

test("what a linter would say, without one: endings agree with types", async () => {
  const metrics = filled();
  const { types } = parse(await metrics.text());
  metrics.close();
  for (const [name, type] of types)
    expect([name, name.endsWith("_total")]).toEqual([name, type === "counter"]);
});

test("promtool has nothing to say", async () => {
  const metrics = filled();
  const text = await metrics.text();
  metrics.close();
  const promtool = spawnSync("promtool", ["check", "metrics"], { input: text, encoding: "utf8" });
  // The tests above hold without it; .ci/run installs it.
  if (promtool.error) return expect(promtool.error).toMatchObject({ code: "ENOENT" });
  expect([promtool.status, promtool.stdout + promtool.stderr]).toEqual([0, ""]);
});

test("one phase and one route at a time, all of them present", async () => {
  const metrics = createMetrics();
  const source = metrics.source("app");
  for (const phase of PHASES) {
    source.phase(phase);
    const { samples } = parse(await metrics.text());
    const values = samples
      .filter(({ name }) => name === "switchback_phase")
      .map(({ labels, value }) => [labels.phase, value]);
    expect(values).toEqual(PHASES.map((name) => [name, name === phase ? 1 : 0]));
  }
  source.route("postgres", 7);
  const { samples } = parse(await metrics.text());
  metrics.close();
  const route = samples
    .filter(({ name }) => name === "switchback_route")
    .map(({ labels, value }) => [labels.writes, value]);
  expect(route).toEqual([
    ["sqlite", 0],
    ["paused", 0],
    ["postgres", 1],
  ]);
  expect(samples.find(({ name }) => name === "switchback_epoch")?.value).toBe(7);
});

test("counters start at 0, and sources stand apart", async () => {
  const metrics = createMetrics();
  const one = metrics.source("one");
  expect(metrics.source("one")).toBe(one);
  metrics.source("two").set("switchback_quarantined_rows", 2, { table: "t" });
  const { samples } = parse(await metrics.text());
  metrics.close();
  const flips = samples.filter(
    ({ name, labels }) => name === "switchback_flips_total" && labels.source === "one",
  );
  expect(flips.map(({ labels, value }) => [labels.result, value])).toEqual(
    FLIP_OUTCOMES.map((result) => [result, 0]),
  );
  expect(
    samples.filter(({ labels }) => labels.table === "t").map(({ labels, value }) => [labels.source, value]),
  ).toEqual([["two", 2]]);
});

test("apply's buckets reach from half a millisecond to a minute", async () => {
  const metrics = createMetrics();
  metrics.source("app").observe("switchback_apply_seconds", 0.0004);
  const { samples } = parse(await metrics.text());
  metrics.close();
  const edges = samples
    .filter(({ name }) => name === "switchback_apply_seconds_bucket")
    .map(({ labels }) => labels.le);
  expect([edges[0], edges.at(-2), edges.at(-1)]).toEqual(["0.0005", "60", "+Inf"]);
});

test("the alert rules name only metrics, phases and codes that exist", () => {
  const file = fileURLToPath(new URL("../../deploy/prometheus-alerts.yml", import.meta.url));
  const rules = readFileSync(file, "utf8");
  const named = new Set(rules.match(/\bswitchback_\w+/g));
  expect(
    [...named].map((name) => name.replace(/_(bucket|sum|count)$/, "")).filter((name) => !(name in METRICS)),
  ).toEqual([]);
  const phases = [...rules.matchAll(/phase=~?"([^"]+)"/g)].flatMap(([, list]) => (list ?? "").split("|"));
  expect(phases.filter((phase) => !PHASES.some((known) => known === phase))).toEqual([]);
  const promtool = spawnSync("promtool", ["check", "rules", file], { encoding: "utf8" });
  if (promtool.error) return expect(promtool.error).toMatchObject({ code: "ENOENT" });
  expect([promtool.status, promtool.stderr]).toEqual([0, ""]);
});
