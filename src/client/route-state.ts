// What the library believes about the route, as one value. Transitions are pure; route-follower.ts feeds them
// the reports of the source and of the stores.
//
//                 nothing answers, or one of: reported open, a store's claim
//   unknown ────────────────────────────────────────────────────────────────► open ◄──┐
//      │                                                                        │     │ reported open,
//      │ reported paused                                        reported paused │     │ a store's claim
//      └───────────────────────────────► paused ◄───────────────────────────────┘     │
//                                           └─────────────────────────────────────────┘
//
// R1 The source's reports never lead back to an older epoch than the newest in which a store took the writes.
// R2 A store's claim that it takes the writes is believed when its epoch is newer, or when the other store's fence
//    contradicts the present belief; what the source said before is then disproved until it changes.
// R3 Nothing returns to `unknown`.
// R4 During a pause, reads go to the store that last had the writes.
// (test/client/route-state.unit.test.ts has one test for each, and the whole table.)
import type { StoreName } from "./errors.js";

export interface KnownRoute {
  readonly writes: StoreName | "paused";
  readonly epoch: number;
}

/** A store's own record: which store takes the writes, in which epoch. */
interface RouteClaim {
  readonly writes: string;
  readonly epoch: number;
}

interface Evidence {
  /** The newest epoch in which a store took the writes: a pause may still end where it began. -1 before the first. */
  readonly settledEpoch: number;
  /** The store whose fence contradicts the present belief. */
  readonly fenced: StoreName | null;
  /** The source's report that a fence and the other store's record disproved. */
  readonly disproved: KnownRoute | null;
}

export type RouteState =
  | (Evidence & {
      readonly kind: "unknown";
      readonly lastWriter: StoreName | null;
      /** The epoch of a store that calls itself paused, while the last writer is not known. */
      readonly pausedEpoch: number | null;
    })
  | (Evidence & { readonly kind: "open"; readonly store: StoreName; readonly epoch: number })
  | (Evidence & {
      readonly kind: "paused";
      readonly epoch: number;
      /** The store that had the writes before the pause; null where its beginning was not seen. */
      readonly lastWriter: StoreName | null;
    });

export type RouteEvent =
  /** The route file or the sidecar's HTTP answer. */
  | { readonly kind: "reported"; readonly route: KnownRoute }
  /** A store's record of the route. */
  | { readonly kind: "claimed"; readonly by: StoreName; readonly claim: RouteClaim }
  /** A store refused a write, or reported that it no longer has the writes. */
  | { readonly kind: "fenced"; readonly by: StoreName }
  /** A store accepted a write. */
  | { readonly kind: "accepted"; readonly by: StoreName }
  /** Neither the source nor a store has answered: switchback is not installed, and SQLite takes the writes. */
  | { readonly kind: "unanswered" };

export const UNKNOWN: RouteState = {
  ...{ kind: "unknown", lastWriter: null, pausedEpoch: null },
  ...{ settledEpoch: -1, fenced: null, disproved: null },
};

export function nextRoute(state: RouteState, event: RouteEvent): RouteState {
  switch (event.kind) {
    case "reported":
      return reported(state, event.route);
    case "claimed":
      return claimed(state, event.by, event.claim);
    case "fenced":
      return { ...state, fenced: event.by };
    case "accepted":
      return state.fenced === event.by ? { ...state, fenced: null } : state;
    case "unanswered":
      return state.kind === "unknown" ? moved(state, { writes: "sqlite", epoch: 0 }) : state;
  }
}

/** The believed route; null while it is unknown. */
export function routeOf(state: RouteState): KnownRoute | null {
  if (state.kind === "unknown") return null;
  return { writes: state.kind === "open" ? state.store : "paused", epoch: state.epoch };
}

/** The store that has the writes, or had them before the pause. */
export function lastWriterOf(state: RouteState): StoreName | null {
  return state.kind === "open" ? state.store : state.lastWriter;
}

/** The store for a call; null while it must wait. */
export function storeFor(state: RouteState, kind: "read" | "write"): StoreName | null {
  if (state.kind === "open") return state.store;
  return kind === "read" ? state.lastWriter : null;
}

function reported(state: RouteState, route: KnownRoute): RouteState {
  const { disproved } = state;
  // For example an old file of an earlier installation: it must change before it counts again.
  if (disproved?.writes === route.writes && disproved.epoch === route.epoch) return state;
  const trusted = { ...state, disproved: null };
  return route.epoch >= state.settledEpoch ? moved(trusted, route) : trusted;
}

function claimed(before: RouteState, by: StoreName, claim: RouteClaim): RouteState {
  const state = recalled(before, claim);
  if (claim.writes !== by) return state;
  const newer = claim.epoch > state.settledEpoch;
  const believed = state.kind === "open" && state.store === by;
  const proven = state.fenced !== null && state.fenced !== by && !believed;
  if (!newer && !proven) return state;
  const disproved = newer ? state.disproved : routeOf(state);
  return moved({ ...state, disproved }, { writes: by, epoch: claim.epoch });
}

/**
 * In a pause whose beginning was not observed, a record of the same epoch names the store that had the
 * writes.
 */
function recalled(state: RouteState, { writes, epoch }: RouteClaim): RouteState {
  if (state.kind === "open" || state.lastWriter !== null) return state;
  const noted = state.kind === "unknown" && writes === "paused" ? { ...state, pausedEpoch: epoch } : state;
  const pausedEpoch = noted.kind === "paused" ? noted.epoch : noted.pausedEpoch;
  if (epoch !== pausedEpoch || (writes !== "sqlite" && writes !== "postgres")) return noted;
  return { ...noted, lastWriter: writes };
}

function moved(state: RouteState, { writes, epoch }: KnownRoute): RouteState {
  const { settledEpoch, disproved, fenced } = state;
  const lastWriter = lastWriterOf(state);
  if (writes === "paused") return { kind: "paused", epoch, lastWriter, settledEpoch, fenced, disproved };
  // A fence proves nothing once the writes have left the store that it belongs to.
  const still = lastWriter !== null && lastWriter !== writes ? null : fenced;
  return { kind: "open", store: writes, epoch, settledEpoch: epoch, fenced: still, disproved };
}
