// `npm run bench`: everything that docs/benchmarks.md says about speed, measured in one run on the machine at hand and
// printed as a table, with --json as one document on stdout. --quick takes smaller sizes; --only NAME one part.
import { cpus } from "node:os";
import { benchBackfill } from "./backfill.js";
import { benchCapture } from "./capture.js";
import { benchFlip, benchReverseLag } from "./flip.js";
import { benchLag } from "./lag.js";
import { startServer } from "./measure.js";
import { benchTail } from "./tail.js";
import { benchWriters } from "./writers.js";

const args = process.argv.slice(2);
const quick = args.includes("--quick");
const json = args.includes("--json");
const only = args.includes("--only") ? args[args.indexOf("--only") + 1] : undefined;

/** Two tables that are written to; then the same with others beside them, which a flip should not feel. */
const SHAPES = [
  { tables: 2, foreignKeys: 0 },
  { tables: 300, foreignKeys: 100 },
];

const sizes = quick
  ? {
      backfill: { rows: 200_000, runs: 1 },
      tail: { changes: 60_000 },
      lag: { perSecond: 1000, seconds: 4 },
      capture: { rows: 5_000, runs: 3 },
      writers: { seconds: 4, runs: 2 },
      flip: { flips: 6, perSecond: 1000, shapes: SHAPES },
      reverse: { perSecond: 1000, seconds: 4 },
    }
  : {
      backfill: { rows: 1_000_000, runs: 3 },
      tail: { changes: 300_000 },
      lag: { perSecond: 1000, seconds: 15 },
      capture: { rows: 20_000, runs: 5 },
      writers: { seconds: 8, runs: 5 },
      flip: { flips: 20, perSecond: 1000, shapes: SHAPES },
      reverse: { perSecond: 1000, seconds: 15 },
    };

/** @typedef {{ what: string, measured: string, beside: string }} Line */

const number = (/** @type {number} */ value, digits = 0) =>
  value.toLocaleString("en", { minimumFractionDigits: digits, maximumFractionDigits: digits });

/** @param {Awaited<ReturnType<typeof benchBackfill>>} r @returns {Line[]} */
const backfillLines = (r) => [
  {
    what: `backfill, ${number(r.rows)} rows × 10 columns`,
    measured: `${number(r.switchbackSeconds, 2)} s`,
    beside: `median of ${r.runs}, the whole command`,
  },
  {
    what: "  beside the limit",
    measured: `${number(r.timesTheLimit, 2)} ×`,
    beside: `${r.limitWith} of a ready file, then the same indexes: ${number(r.limitSeconds, 2)} s`,
  },
  {
    what: "  beside row-by-row INSERTs",
    measured: `${number(r.fasterThanInserts, 1)} × faster`,
    beside: `${number(r.insertsSeconds, 0)} s, extrapolated from ${number(r.insertsMeasuredRows)} rows`,
  },
  r.pgloaderSeconds === null || r.fasterThanPgloader === null
    ? { what: "  beside pgloader", measured: "-", beside: "not installed here" }
    : {
        what: "  beside pgloader",
        measured: `${number(r.fasterThanPgloader, 1)} × faster`,
        beside: `${number(r.pgloaderSeconds, 2)} s`,
      },
  { what: "  peak memory", measured: `${number(r.peakMiB)} MiB`, beside: "resident" },
];

/** @param {Awaited<ReturnType<typeof benchTail>>} r @returns {Line[]} */
const tailLines = (r) => [
  {
    what: `tail, a backlog of ${number(r.changes)} changes`,
    measured: `${number(r.perSecond)} changes/s`,
    beside: `${number(r.seconds, 2)} s, without the ${number(r.startSeconds, 2)} s that an idle start takes`,
  },
  {
    what: "  beside the same merge in SQL alone",
    measured: `${number(r.timesTheMerge, 2)} ×`,
    beside: `${number(r.mergePerSecond)} changes/s; ${number(r.loadAndMergeSeconds, 2)} s with the staging's COPY`,
  },
  { what: "  the same rows", measured: r.sameRows ? "yes" : "NO", beside: "" },
  {
    what: "  peak memory",
    measured: r.peakMiB === null ? "-" : `${number(r.peakMiB)} MiB`,
    beside: "resident",
  },
];

/** @param {Awaited<ReturnType<typeof benchLag>>} r @returns {Line[]} */
const lagLines = (r) => [
  {
    what: `lag at ${number(r.perSecond)} transactions/s`,
    measured: `p50 ${number(r.p50Ms, 1)} ms, p99 ${number(r.p99Ms, 1)} ms`,
    beside: `${number(r.rows)} rows, the worst ${number(r.maxMs)} ms, polled every 2 ms`,
  },
  {
    what: "  peak memory",
    measured: r.peakMiB === null ? "-" : `${number(r.peakMiB)} MiB`,
    beside: "resident",
  },
];

/** @param {Awaited<ReturnType<typeof benchCapture>>} r @returns {Line[]} */
const captureLines = (r) => [
  {
    what: "capture, 1 row per transaction",
    measured: `${number(r.slowdownAt1, 2)} ×`,
    beside: `the application's time; bare ${number(r.barePerSecondAt1)} rows/s`,
  },
  {
    what: "capture, 100 rows per transaction",
    measured: `${number(r.slowdownAt100, 2)} ×`,
    beside: `the application's time; bare ${number(r.barePerSecondAt100)} rows/s`,
  },
];

/** @param {Awaited<ReturnType<typeof benchWriters>>} r @returns {Line[]} */
const writersLines = (r) =>
  r.loads.flatMap((load) => [
    {
      what: load.load,
      measured: `${number(load.sidecarSlowdown, 2)} ×`,
      beside: `beside a sidecar, of the time with the triggers alone; ${number(load.triggersPerSecond)} transactions/s with these, ${number(load.alonePerSecond)} on a bare file`,
    },
    {
      what: "  the longest transaction",
      measured: `${number(load.worstMs.sidecar)} ms`,
      beside: `triggers alone ${number(load.worstMs.triggers)} ms, bare ${number(load.worstMs.alone)} ms`,
    },
  ]);

/** @param {Awaited<ReturnType<typeof benchFlip>>} r @returns {Line[]} */
const flipLines = (r) => {
  const [small] = r.runs;
  return r.runs.flatMap((run) => {
    const ms = (/** @type {number} */ value) => number(value, 1);
    const beside =
      run === small || !small
        ? []
        : [
            {
              what: `  beside ${small.tables} tables`,
              measured: `${number(run.sidecarMedianMs / small.sidecarMedianMs, 2)} ×`,
              beside: `as the writers felt it ${number(run.feltMedianMs / small.feltMedianMs, 2)} ×`,
            },
          ];
    return [
      {
        what: `pause, ${run.tables} tables, ${run.foreignKeys} foreign keys`,
        measured: `median ${ms(run.sidecarMedianMs)} ms`,
        beside: `the worst ${ms(run.sidecarWorstMs)} ms; ${r.flips} flips under ${r.writers} writers, ${number(run.perSecond)} writes/s`,
      },
      {
        what: "  as the writers felt it",
        measured: `median ${ms(run.feltMedianMs)} ms`,
        beside: `the worst ${ms(run.feltWorstMs)} ms: longest gap between acknowledged writes; without a flip ${ms(run.quietWorstMs)} ms`,
      },
      {
        what: "  cutover / revert",
        measured: `${ms(run.cutover.sidecarMs)} / ${ms(run.revert.sidecarMs)} ms`,
        beside: `medians; felt ${ms(run.cutover.feltMs)} / ${ms(run.revert.feltMs)} ms`,
      },
      ...beside,
      {
        what: "  every acknowledged write in both stores",
        measured:
          run.found.sqlite === run.acknowledged && run.found.postgres === run.acknowledged ? "yes" : "NO",
        beside: `${number(run.acknowledged)} acknowledged, ${number(run.found.sqlite)} and ${number(run.found.postgres)} found`,
      },
    ];
  });
};

/** @param {Awaited<ReturnType<typeof benchReverseLag>>} r @returns {Line[]} */
const reverseLines = (r) => [
  {
    what: `reverse lag at ${number(r.perSecond)} transactions/s`,
    measured: `p50 ${number(r.p50Ms, 1)} ms, p99 ${number(r.p99Ms, 1)} ms`,
    beside: `commit in PostgreSQL to readable in SQLite; ${number(r.rows)} rows, the worst ${number(r.maxMs)} ms, polled every 2 ms`,
  },
];

const parts = {
  backfill: async (/** @type {import("./measure.js").Server} */ server) => {
    const result = await benchBackfill(server, sizes.backfill);
    return { result, lines: backfillLines(result) };
  },
  tail: async (/** @type {import("./measure.js").Server} */ server) => {
    const result = await benchTail(server, sizes.tail);
    return { result, lines: tailLines(result) };
  },
  lag: async (/** @type {import("./measure.js").Server} */ server) => {
    const result = await benchLag(server, sizes.lag);
    return { result, lines: lagLines(result) };
  },
  capture: async (/** @type {import("./measure.js").Server} */ server) => {
    const result = await benchCapture(server, sizes.capture);
    return { result, lines: captureLines(result) };
  },
  writers: async (/** @type {import("./measure.js").Server} */ server) => {
    const result = await benchWriters(server, sizes.writers);
    return { result, lines: writersLines(result) };
  },
  flip: async (/** @type {import("./measure.js").Server} */ server) => {
    const result = await benchFlip(server, sizes.flip);
    return { result, lines: flipLines(result) };
  },
  reverse: async (/** @type {import("./measure.js").Server} */ server) => {
    const result = await benchReverseLag(server, sizes.reverse);
    return { result, lines: reverseLines(result) };
  },
};

/** @type {Record<string, unknown>} */
const results = { cpus: cpus().length, cpu: cpus()[0]?.model, node: process.version, quick };
const server = await startServer();
try {
  for (const [name, part] of Object.entries(parts)) {
    if (only && only !== name) continue;
    const { result, lines } = await part(server);
    results[name] = result;
    if (!json)
      for (const { what, measured, beside } of lines)
        console.log(`${what.padEnd(42)}${measured.padEnd(26)}${beside}`);
  }
} finally {
  await server.remove();
}
if (json) console.log(JSON.stringify(results, null, 2));
