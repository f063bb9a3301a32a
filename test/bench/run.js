// `npm run bench`: everything that the README claims about speed, measured in one run on the machine at hand and
// printed as a table, with --json as one document on stdout. --quick takes smaller sizes; --only NAME one part.
import { cpus } from "node:os";
import { benchBackfill } from "./backfill.js";
import { benchCapture } from "./capture.js";
import { benchLag } from "./lag.js";
import { startServer } from "./measure.js";
import { benchTail } from "./tail.js";

const args = process.argv.slice(2);
const quick = args.includes("--quick");
const json = args.includes("--json");
const only = args.includes("--only") ? args[args.indexOf("--only") + 1] : undefined;

const sizes = quick
  ? {
      backfill: { rows: 200_000, runs: 1 },
      tail: { changes: 60_000 },
      lag: { perSecond: 1000, seconds: 4 },
      capture: { rows: 5_000, runs: 3 },
    }
  : {
      backfill: { rows: 1_000_000, runs: 3 },
      tail: { changes: 300_000 },
      lag: { perSecond: 1000, seconds: 15 },
      capture: { rows: 20_000, runs: 5 },
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
