// The phase of a sidecar, as one value: no other flag says what it is doing. Transitions are pure; an event that
// makes no sense in a phase leaves it as it is.
//
//               copying              copied              flipping
//   starting ───────────► backfilling ─────► streaming ──────────► cutting_over
//      ▲                      │                  │                  │        │
//      ├────── changed ───────┴──────────────────┘                  │        │ away
//      ├─────────────────────────── changed ────────────────────────┘        ▼
//      └── changed ── reverting ◄───────────────── flipping ────── reverse_streaming
//                        └──────────────────── away ─────────────────────────▲
//
//   changed: look again at what there is: the file's tables changed, a flip was given up, the writes returned.
//   again.
//   away:    the writes are in the other store.
//
//   any but stopping ── failed ──► halted               only the operator can continue
//   any              ── stop ────► stopping
//
// P1 Nothing leaves `stopping`.  P2 Only `stop` leaves `halted`.  P3 `halted` always says why.
// (test/follow/phase.unit.test.ts has one test for each, and the whole table.)
import type { PhaseName, Problem } from "../status.js";

export type Phase =
  | { readonly name: Exclude<PhaseName, "halted"> }
  | { readonly name: "halted"; readonly problem: Problem };

export type PhaseEvent =
  | { readonly kind: "changed" }
  | { readonly kind: "copying" }
  | { readonly kind: "copied" }
  | { readonly kind: "flipping" }
  | { readonly kind: "reversed" }
  | { readonly kind: "failed"; readonly problem: Problem }
  | { readonly kind: "stop" };

export const STARTING: Phase = { name: "starting" };

export function next(phase: Phase, event: PhaseEvent): Phase {
  if (phase.name === "stopping") return phase;
  if (event.kind === "stop") return { name: "stopping" };
  if (phase.name === "halted") return phase;
  switch (event.kind) {
    case "failed":
      return { name: "halted", problem: event.problem };
    case "changed":
      return STARTING;
    case "copying":
      return { name: "backfilling" };
    case "copied":
      return { name: "streaming" };
    case "reversed":
      return { name: "reverse_streaming" };
    case "flipping":
      if (phase.name === "streaming") return { name: "cutting_over" };
      return phase.name === "reverse_streaming" ? { name: "reverting" } : phase;
  }
}

/** One phase for several sources: the one that is least far. */
export function slowest(phases: readonly Phase[]): Phase {
  const order: readonly PhaseName[] = ["halted", "stopping", "starting", "backfilling", "streaming"];
  const rank = (phase: Phase) => {
    const at = order.indexOf(phase.name);
    return at < 0 ? order.length : at;
  };
  return [...phases].sort((a, b) => rank(a) - rank(b))[0] ?? STARTING;
}
