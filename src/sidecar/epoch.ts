// The time between two flips, in either direction: the links run and the flag is watched. The flip that the flag asks
// for ends it, also one that was tried in vain. What was opened for a flip is closed with the epoch.
import type { Logger } from "pino";
import type { Config, PostgresConfig } from "../config/config.js";
import type { FlipController, FlipDirection } from "../cutover/controller.js";
import type { PhaseEvent } from "../protocol/phase.js";
import { shared } from "../retry.js";
import type { Problem, Route, Status } from "../status.js";
import type { ForwardReplication } from "./forward.js";
import type { ReverseReplication } from "./reverse.js";

/** What both directions need of the sidecar. */
export interface EpochOptions {
  readonly config: Config;
  readonly postgres: PostgresConfig;
  readonly owner: string;
  readonly log: Logger;
  readonly forwards: readonly ForwardReplication[];
  readonly reverses: readonly ReverseReplication[];
  readonly status: () => Status;
  readonly route: () => Route;
  /** Tells every source's phase. */
  readonly on: (event: PhaseEvent) => void;
  /** Told what keeps a link from starting that the operator could repair, and null once it is over. */
  readonly hindered: (problem: Problem | null) => void;
  /** Called once for each source, when both its sides are open and agree. */
  readonly ready: () => void;
}

/** A direction for the time of one epoch: its links, and everything that the flip at its end needs. */
export interface EpochDirection extends FlipDirection {
  /** What must be so before a link starts. */
  start(signal: AbortSignal): Promise<void>;
  /** One link for each source. Each runs until aborted or until the flip is over. */
  replications(): readonly ((signal: AbortSignal) => Promise<void>)[];
  /** Closes what was opened for a flip. */
  dispose(): Promise<void>;
}

/** Runs the links until a flip was tried. @throws what the links, the flip or the start throw */
export async function runEpoch(
  direction: EpochDirection,
  controller: FlipController,
  signal: AbortSignal,
): Promise<void> {
  await direction.start(signal);
  try {
    await allOrThrow(signal, [...direction.replications(), (stop) => controller.serve(direction, stop)]);
  } finally {
    await direction.dispose();
  }
}

/** Runs all of it; the first failure stops the others, and all are waited for, so that nothing continues unlocked. */
export async function allOrThrow(
  signal: AbortSignal,
  works: readonly ((signal: AbortSignal) => Promise<void>)[],
): Promise<void> {
  const failing = new AbortController();
  const inner = shared(AbortSignal.any([signal, failing.signal]));
  const results = await Promise.allSettled(
    works.map(async (work) => {
      try {
        await work(inner);
      } catch (error) {
        failing.abort(error);
        throw error;
      }
    }),
  );
  if (failing.signal.aborted) throw failing.signal.reason;
  const failed = results.find((result) => result.status === "rejected");
  if (failed) throw failed.reason;
}
