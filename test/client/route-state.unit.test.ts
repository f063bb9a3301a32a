// The whole table of what the library believes about the route; the compiler asks for every cell.
import { expect, test } from "vitest";
import {
  lastWriterOf,
  nextRoute,
  type RouteEvent,
  type RouteState,
  routeOf,
  storeFor,
  UNKNOWN,
} from "#switchback/client/route-state.js";

type Kind = RouteState["kind"];

const STATES: Record<Kind, RouteState> = {
  unknown: UNKNOWN,
  open: { kind: "open", store: "sqlite", epoch: 4, settledEpoch: 4, fenced: null, disproved: null },
  paused: {
    ...{ kind: "paused", epoch: 4, lastWriter: "sqlite", settledEpoch: 4 },
    ...{ fenced: null, disproved: null },
  },
};

/** Every kind of event, with each outcome that its contents can have. */
const EVENTS = {
  "reported open, newer": { kind: "reported", route: { writes: "postgres", epoch: 5 } },
  "reported open, older": { kind: "reported", route: { writes: "postgres", epoch: 3 } },
  "reported paused": { kind: "reported", route: { writes: "paused", epoch: 4 } },
  "claimed for itself, newer": { kind: "claimed", by: "postgres", claim: { writes: "postgres", epoch: 5 } },
  "claimed for itself, older": { kind: "claimed", by: "postgres", claim: { writes: "postgres", epoch: 3 } },
  "claimed for the other": { kind: "claimed", by: "postgres", claim: { writes: "sqlite", epoch: 4 } },
  "claimed paused": { kind: "claimed", by: "sqlite", claim: { writes: "paused", epoch: 4 } },
  fenced: { kind: "fenced", by: "sqlite" },
  accepted: { kind: "accepted", by: "sqlite" },
  unanswered: { kind: "unanswered" },
} as const satisfies Record<string, RouteEvent>;
type EventName = keyof typeof EVENTS;

const stays = <K extends Kind>(kind: K) => ({
  ...{ "reported open, older": kind, "claimed for itself, older": kind, "claimed for the other": kind },
  ...{ "claimed paused": kind, fenced: kind, accepted: kind },
});
const TABLE: Record<Kind, Record<EventName, Kind>> = {
  unknown: {
    ...stays("unknown"),
    // Before anything is known, any store that takes the writes is newer.
    ...{ "reported open, newer": "open", "reported open, older": "open", "reported paused": "paused" },
    ...{ "claimed for itself, newer": "open", "claimed for itself, older": "open", unanswered: "open" },
  },
  open: {
    ...stays("open"),
    ...{ "reported open, newer": "open", "reported paused": "paused", "claimed for itself, newer": "open" },
    unanswered: "open",
  },
  paused: {
    ...stays("paused"),
    ...{ "reported open, newer": "open", "reported paused": "paused", "claimed for itself, newer": "open" },
    unanswered: "paused",
  },
};

for (const from of Object.keys(TABLE) as Kind[]) {
  for (const event of Object.keys(EVENTS) as EventName[]) {
    test(`${from}: ${event} leads to ${TABLE[from][event]}`, () => {
      expect(nextRoute(STATES[from], EVENTS[event]).kind).toBe(TABLE[from][event]);
    });
  }
}

test("R1 reports never lead back to an older epoch", () => {
  for (const from of [STATES.open, STATES.paused]) {
    expect(routeOf(nextRoute(from, EVENTS["reported open, older"]))).toEqual(routeOf(from));
  }
});

test("R2 an older claim is believed when the other store's fence contradicts the belief, until the source changes", () => {
  const fenced = nextRoute(STATES.open, EVENTS.fenced);
  const proven = nextRoute(fenced, EVENTS["claimed for itself, older"]);
  expect(routeOf(proven)).toEqual({ writes: "postgres", epoch: 3 });
  const repeated = nextRoute(proven, { kind: "reported", route: { writes: "sqlite", epoch: 4 } });
  expect(routeOf(repeated)).toEqual({ writes: "postgres", epoch: 3 });
  const changed = nextRoute(proven, { kind: "reported", route: { writes: "sqlite", epoch: 5 } });
  expect(routeOf(changed)).toEqual({ writes: "sqlite", epoch: 5 });
  const accepted = nextRoute(fenced, EVENTS.accepted);
  expect(routeOf(nextRoute(accepted, EVENTS["claimed for itself, older"]))).toEqual(routeOf(STATES.open));
});

test("R3 nothing returns to unknown", () => {
  for (const from of [STATES.open, STATES.paused]) {
    for (const event of Object.values(EVENTS)) expect(nextRoute(from, event).kind).not.toBe("unknown");
  }
});

test("R4 during a pause reads go to the store that last had the writes, and writes wait", () => {
  const paused = nextRoute(STATES.open, EVENTS["reported paused"]);
  expect([storeFor(paused, "read"), storeFor(paused, "write")]).toEqual(["sqlite", null]);
  // A pause whose beginning was not seen: a record of its epoch tells, in either order.
  const claim = { kind: "claimed", by: "postgres", claim: { writes: "sqlite", epoch: 4 } } as const;
  const late = nextRoute(nextRoute(UNKNOWN, EVENTS["reported paused"]), claim);
  expect(lastWriterOf(late)).toBe("sqlite");
  const early = nextRoute(nextRoute(UNKNOWN, EVENTS["claimed paused"]), claim);
  expect(lastWriterOf(early)).toBe("sqlite");
  const other = { kind: "claimed", by: "postgres", claim: { writes: "sqlite", epoch: 3 } } as const;
  expect(lastWriterOf(nextRoute(nextRoute(UNKNOWN, EVENTS["claimed paused"]), other))).toBe(null);
});
