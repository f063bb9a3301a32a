// Where the controller stands with the flip that the flag may ask for, as one value. Transitions are pure: each gives the
// next state and what is to be told. An event that makes no sense in a state leaves it as it is, and tells nothing.
//
//                 began                closing              moved
//   idle ─────────────────► approaching ──────► moving ──────────────► recording ── settled ──► idle
//   refused   ──── began ──────►│  │               │  │ failed              │ failed
//   retreated ──── began ──────►│  │ retreated     │  └───────► doubtful ◄──┘
//      ▲     ▲                  │  ▼               │               │
//      │     └──────────────────┼──┴── retreated ──┘               │ settled: as it was before the try
//   refused ◄──── refused ──────┘                                  ▼
//
//   idle, refused, retreated, unreadable: the flag is read. `unreadable` forgets what came of earlier tries, and so
//   does a flag that no longer asks for the flip.
//
// F1 From `closing` until `settled` the state is doubtful: both stores may be closed, and only their records can tell.
// F2 Every retreat in a row waits at least as long as the one before; a refusal in between does not end the row.
// F3 A refusal for the same reason is told once, and answered every time.
// F4 A try that the sidecar's end interrupted leaves everything as it was before.
// (test/cutover/flip-state.unit.test.ts has one test for each, and the whole table.)
import { SwitchbackError } from "../errors.js";
import type { Problem } from "../status.js";

/** The states in which the flag is read, with the result of the last try. */
type BetweenTries =
  | { readonly kind: "idle" }
  | { readonly kind: "refused"; readonly problem: Problem; readonly retreats: number }
  | {
      readonly kind: "retreated";
      readonly problem: Problem;
      /** How many in a row. */
      readonly retreats: number;
      /** The next try begins no earlier (performance.now). */
      readonly notBeforeMs: number;
    };

export type FlipState =
  | BetweenTries
  | { readonly kind: "unreadable"; readonly problem: Problem }
  /** Nothing is closed yet. */
  | { readonly kind: "approaching"; readonly before: BetweenTries }
  | { readonly kind: "moving"; readonly before: BetweenTries }
  /** The writes have moved, and the store that they left is to record it. */
  | { readonly kind: "recording" }
  /** The flip ended in an error. */
  | { readonly kind: "doubtful"; readonly before: BetweenTries };

export type FlipEvent =
  /** The flag asks for this flip. */
  | { readonly kind: "wanted" }
  | { readonly kind: "unwanted" }
  | { readonly kind: "unreadable"; readonly message: string }
  /** A try begins. */
  | { readonly kind: "began" }
  /** A precondition does not hold. */
  | { readonly kind: "refused"; readonly reason: string }
  /** From now on a store may be closed. */
  | { readonly kind: "closing" }
  | { readonly kind: "moved"; readonly pauseMs: number }
  | {
      readonly kind: "retreated";
      readonly reason: string;
      readonly pauseMs: number;
      readonly nowMs: number;
    }
  /** The sidecar was told to stop; what became of the try is not told. */
  | { readonly kind: "interrupted" }
  | { readonly kind: "failed" }
  /** The records tell which store has the writes, and it is open. */
  | { readonly kind: "settled" };

/** What is to be told. */
export type FlipAction =
  | { readonly kind: "warn of the flag"; readonly problem: Problem }
  | { readonly kind: "log the refusal"; readonly reason: string }
  | { readonly kind: "answer the refusal"; readonly reason: string }
  | { readonly kind: "tell of the flip"; readonly pauseMs: number }
  | { readonly kind: "tell of the retreat"; readonly reason: string; readonly pauseMs: number };

interface FlipStep {
  readonly state: FlipState;
  readonly actions: readonly FlipAction[];
}

/** After a retreat the application gets some peace before the next try. */
const AFTER_RETREAT_MS: readonly number[] = [2_000, 5_000, 15_000, 60_000];

export const IDLE: BetweenTries = { kind: "idle" };

export function nextFlip(state: FlipState, event: FlipEvent): FlipStep {
  switch (event.kind) {
    case "wanted":
      return to(state.kind === "unreadable" ? IDLE : state);
    case "unwanted":
      return to(isLooking(state) ? IDLE : state);
    case "unreadable":
      return isLooking(state) ? unreadable(state, event.message) : to(state);
    case "began":
      return to(isIdle(state) ? { kind: "approaching", before: state } : state);
    case "refused":
      return state.kind === "approaching" ? refused(state.before, event.reason) : to(state);
    case "closing":
      return to(state.kind === "approaching" ? { kind: "moving", before: state.before } : state);
    case "moved": {
      if (state.kind !== "moving") return to(state);
      return to({ kind: "recording" }, { kind: "tell of the flip", pauseMs: event.pauseMs });
    }
    case "retreated":
      return isTrying(state) ? retreated(state.before, event) : to(state);
    case "interrupted":
      return to(isTrying(state) ? state.before : state);
    case "failed":
      return to(failed(state));
    case "settled":
      return to(settled(state));
  }
}

/** True when a try may begin, where the flag asks for it. */
export function isDue(state: FlipState, nowMs: number): boolean {
  return isIdle(state) && (state.kind !== "retreated" || nowMs >= state.notBeforeMs);
}

/** True from the moment in which a store may be closed until the records have told. */
export function isDoubtful({ kind }: FlipState): boolean {
  return kind === "moving" || kind === "recording" || kind === "doubtful";
}

/** What the operator should know; during a try, what came of the one before. */
export function problemOf(state: FlipState): Problem | null {
  if ("before" in state) return problemOf(state.before);
  return "problem" in state ? state.problem : null;
}

function unreadable(state: FlipState, message: string): FlipStep {
  const problem = describe("FLAG_UNREADABLE", message);
  const known = state.kind === "unreadable" && state.problem.message === message;
  return to(
    { kind: "unreadable", problem },
    ...(known ? [] : [{ kind: "warn of the flag", problem } as const]),
  );
}

function refused(before: BetweenTries, reason: string): FlipStep {
  const problem = describe("FLIP_REFUSED", reason);
  const news = problemOf(before)?.message !== reason;
  return to(
    { kind: "refused", problem, retreats: retreatsOf(before) },
    ...(news ? [{ kind: "log the refusal", reason } as const] : []),
    { kind: "answer the refusal", reason },
  );
}

function retreated(
  before: BetweenTries,
  { reason, pauseMs, nowMs }: Extract<FlipEvent, { kind: "retreated" }>,
): FlipStep {
  const retreats = retreatsOf(before);
  const peaceMs = AFTER_RETREAT_MS[Math.min(retreats, AFTER_RETREAT_MS.length - 1)] ?? 0;
  const problem = describe("FLIP_RETREATED", reason);
  return to(
    { kind: "retreated", problem, retreats: retreats + 1, notBeforeMs: nowMs + peaceMs },
    { kind: "tell of the retreat", reason, pauseMs },
  );
}

function failed(state: FlipState): FlipState {
  if (state.kind === "moving") return { kind: "doubtful", before: state.before };
  // The writes have moved, and so whatever kept them back before is over.
  return state.kind === "recording" ? { kind: "doubtful", before: IDLE } : state;
}

function settled(state: FlipState): FlipState {
  if (state.kind === "recording") return IDLE;
  return state.kind === "moving" || state.kind === "doubtful" ? state.before : state;
}

function isIdle(state: FlipState): state is BetweenTries {
  return state.kind === "idle" || state.kind === "refused" || state.kind === "retreated";
}

/** The flag is read between two tries only. */
function isLooking(state: FlipState): boolean {
  return isIdle(state) || state.kind === "unreadable";
}

function isTrying(state: FlipState): state is Extract<FlipState, { kind: "approaching" | "moving" }> {
  return state.kind === "approaching" || state.kind === "moving";
}

function retreatsOf(state: BetweenTries): number {
  return state.kind === "idle" ? 0 : state.retreats;
}

function to(state: FlipState, ...actions: readonly FlipAction[]): FlipStep {
  return { state, actions };
}

function describe(code: "FLIP_REFUSED" | "FLIP_RETREATED" | "FLAG_UNREADABLE", message: string): Problem {
  const { kind } = new SwitchbackError(code, message);
  return { code, message, hint: kind.hint };
}
