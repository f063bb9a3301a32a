// Asks a running sidecar for a flip, from another process or over HTTP: sets the flag and waits for the answer.
// Without an answer in time it withdraws the request, so that no flip happens later that no caller waits for.
import type { PostgresConfig, SourceConfig } from "../config/config.js";
import { ERRORS, type ErrorCode, SwitchbackError } from "../errors.js";
import { pause } from "../retry.js";
import type { Problem } from "../status.js";
import { nameOf, WITHDRAWN } from "./controller.js";
import { type Desired, readFlag, writeFlag } from "./flag-file.js";
import { type FlipAnswer, readHeartbeat } from "./heartbeat-file.js";
import { readRoute } from "./route-file.js";
import { assertServes } from "./served.js";

interface RequestOptions {
  readonly flagFile: string;
  readonly routeFile: string;
  readonly to: Desired;
  readonly timeoutMs: number;
  readonly signal: AbortSignal;
  /** What a command of another process means; a sidecar that asks itself need not compare. */
  readonly mine?: { readonly sources: readonly SourceConfig[]; readonly postgres: PostgresConfig };
}

/** What `cutover --json` and `revert --json` print, and POST /cutover and /revert answer. */
export interface CutoverOutcome {
  readonly flipped: boolean;
  readonly epoch: number;
  readonly pauseMs?: number;
  readonly reason?: string;
  /** True when the writes are where they were asked to be, flipped now or before. */
  readonly there: boolean;
}

const POLL_MS = 10;
/** The wish is taken back this long before the timeout, so that the store is open again within it. */
const MARGIN_MS = 250;
/**
 * The answer follows the route immediately, unless the flip was finished from the stores' records, which know no
 * pause.
 */
const ARRIVED_MS = 500;
/** Taking back takes milliseconds, unless PostgreSQL must be asked and does not answer. */
const SETTLE_MS = 2_000;

/** @throws SwitchbackError NO_SIDECAR, OTHER_SIDECAR, FLAG_READ_ONLY, FLAG_UNREADABLE */
export async function requestFlip(options: RequestOptions): Promise<CutoverOutcome> {
  const { flagFile, routeFile, to, timeoutMs, signal } = options;
  const life = readHeartbeat(routeFile);
  if (!life) {
    throw new SwitchbackError("NO_SIDECAR", `no sidecar gives a sign of life beside ${routeFile}`, {
      file: routeFile,
    });
  }
  if (options.mine) await assertServes(life.serves, options.mine, `beside ${routeFile}`);
  if (life.halted && readRoute(routeFile)?.writes !== to) return refusal(haltedAnswer(options, life.halted));
  const before = { since: life.since, instance: life.instance, n: life.answer?.n ?? 0 };
  const route = readRoute(routeFile);
  const wished = readFlag(flagFile);
  if (route?.writes === to) {
    if (wished !== to) writeFlag(flagFile, to);
    return { flipped: false, epoch: route.epoch, reason: `writes already go to ${nameOf(to)}`, there: true };
  }
  if (wished !== to) writeFlag(flagFile, to);
  const marginMs = Math.min(MARGIN_MS, timeoutMs / 4);
  const answer = await waitFor(options, before, timeoutMs - marginMs);
  if (answer?.flipped) return { flipped: true, epoch: answer.epoch, pauseMs: answer.pauseMs, there: true };
  if (answer) {
    withdraw(options);
    return refusal(answer);
  }
  // A sidecar that was restarted after the decision has no answer to give; the route has.
  const arrived = readRoute(routeFile);
  if (arrived?.writes === to) return { flipped: true, epoch: arrived.epoch, there: true };
  withdraw(options);
  const late = await waitFor({ ...options, signal: new AbortController().signal }, before, SETTLE_MS);
  if (late?.flipped) {
    // It happened while the request was being withdrawn: then it stays.
    writeFlag(flagFile, to);
    return { flipped: true, epoch: late.epoch, pauseMs: late.pauseMs, there: true };
  }
  const why = signal.aborted ? "interrupted" : `it was not done within ${timeoutMs / 1_000} s`;
  if (late) return refusal({ ...late, reason: (late.reason || why).replace(WITHDRAWN, why) });
  return {
    flipped: false,
    epoch: readRoute(routeFile)?.epoch ?? 0,
    reason: readHeartbeat(routeFile)
      ? `${why}, and there is no answer yet; the wish is withdrawn, see \`switchback status\` and the sidecar's log`
      : `${why}, and the sidecar gives no sign of life any more; the wish is withdrawn: start \`switchback run\` again`,
    there: false,
  };
}

function refusal({ epoch, pauseMs, reason }: Omit<FlipAnswer, "n" | "at">): CutoverOutcome {
  return { flipped: false, epoch, pauseMs, reason: reason || "the sidecar gave no reason", there: false };
}

/** A halted sidecar does nothing more, so no caller has to wait. */
function haltedAnswer({ routeFile, to }: RequestOptions, problem: Problem): Omit<FlipAnswer, "n" | "at"> {
  const reason = haltedError(problem).message;
  return { to, flipped: false, epoch: readRoute(routeFile)?.epoch ?? 0, pauseMs: 0, reason };
}

/** The problem of a halted sidecar, as an error for a caller that asks it for something. */
export function haltedError({ code, message, hint, ...where }: Problem): SwitchbackError {
  const known = code in ERRORS ? (code as ErrorCode) : "BUG";
  return new SwitchbackError(known, `the sidecar has halted: ${code} ${message}`, where);
}

function withdraw({ flagFile, to }: RequestOptions): void {
  writeFlag(flagFile, to === "postgres" ? "sqlite" : "postgres");
}

/** Answers are counted by each sidecar from 1: all of a later one's are new. */
async function waitFor(
  options: RequestOptions,
  before: { readonly since: string; readonly instance: string | undefined; readonly n: number },
  ms: number,
): Promise<Omit<FlipAnswer, "n" | "at"> | null> {
  const { to, routeFile } = options;
  let arrivedMs: number | null = null;
  const until = performance.now() + ms;
  while (performance.now() < until && !options.signal.aborted) {
    const life = readHeartbeat(routeFile);
    const answer = life?.answer;
    const restarted = life?.since !== before.since || life.instance !== before.instance;
    const fresh = answer && (restarted || answer.n > before.n);
    if (fresh && answer.to === to) return answer;
    const arrived = readRoute(routeFile)?.writes === to;
    if (life?.halted && !arrived) return haltedAnswer(options, life.halted);
    arrivedMs = arrived ? (arrivedMs ?? performance.now()) : null;
    if (arrivedMs !== null && performance.now() - arrivedMs > ARRIVED_MS) return null;
    await pause(POLL_MS, options.signal).catch(() => {});
  }
  return null;
}
