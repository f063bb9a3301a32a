// The whole table of where the controller stands with a flip; the compiler asks for every cell.
import { expect, test } from "vitest";
import {
  type FlipAction,
  type FlipEvent,
  type FlipState,
  IDLE,
  isDoubtful,
  isDue,
  nextFlip,
  problemOf,
} from "#switchback/cutover/flip-state.js";

type Kind = FlipState["kind"];

const problem = (message: string) => ({ code: "FLIP_REFUSED", message, hint: "" }) as const;

const STATES: Record<Kind, FlipState> = {
  idle: IDLE,
  refused: { kind: "refused", problem: problem("the lag"), retreats: 0 },
  retreated: { kind: "retreated", problem: problem("the deadline"), retreats: 1, notBeforeMs: 5_000 },
  unreadable: nextFlip(IDLE, { kind: "unreadable", message: "a strange word" }).state,
  approaching: { kind: "approaching", before: IDLE },
  moving: { kind: "moving", before: IDLE },
  recording: { kind: "recording" },
  doubtful: { kind: "doubtful", before: IDLE },
};

/** Every kind of event, with each outcome that its contents can have. */
const EVENTS = {
  wanted: { kind: "wanted" },
  unwanted: { kind: "unwanted" },
  unreadable: { kind: "unreadable", message: "another word" },
  "unreadable as before": { kind: "unreadable", message: "a strange word" },
  began: { kind: "began" },
  refused: { kind: "refused", reason: "the phase" },
  closing: { kind: "closing" },
  moved: { kind: "moved", pauseMs: 12 },
  retreated: { kind: "retreated", reason: "the deadline", pauseMs: 7, nowMs: 10_000 },
  interrupted: { kind: "interrupted" },
  failed: { kind: "failed" },
  settled: { kind: "settled" },
} as const satisfies Record<string, FlipEvent>;
type EventName = keyof typeof EVENTS;

/** The next state, and the actions where there are any. */
type Cell = Kind | readonly [Kind, ...FlipAction["kind"][]];

/** What changes nothing in a state. */
const stays = <K extends Kind, E extends EventName>(kind: K, ...events: readonly E[]) =>
  Object.fromEntries(events.map((event) => [event, kind])) as Record<E, K>;
const WARNED = ["unreadable", "warn of the flag"] as const;
const RETREATED = ["retreated", "tell of the retreat"] as const;

const TABLE: Record<Kind, Record<EventName, Cell>> = {
  idle: {
    ...stays("idle", "wanted", "unwanted", "refused", "closing", "moved", "retreated"),
    ...stays("idle", "interrupted", "failed", "settled"),
    ...{ unreadable: WARNED, "unreadable as before": WARNED, began: "approaching" },
  },
  refused: {
    ...stays("refused", "wanted", "refused", "closing", "moved", "retreated"),
    ...stays("refused", "interrupted", "failed", "settled"),
    ...{ unwanted: "idle", unreadable: WARNED, "unreadable as before": WARNED, began: "approaching" },
  },
  retreated: {
    ...stays("retreated", "wanted", "refused", "closing", "moved", "retreated"),
    ...stays("retreated", "interrupted", "failed", "settled"),
    ...{ unwanted: "idle", unreadable: WARNED, "unreadable as before": WARNED, began: "approaching" },
  },
  unreadable: {
    ...stays("unreadable", "unreadable as before", "began", "refused", "closing", "moved", "retreated"),
    ...stays("unreadable", "interrupted", "failed", "settled"),
    ...{ wanted: "idle", unwanted: "idle", unreadable: WARNED },
  },
  approaching: {
    ...stays("approaching", "wanted", "unwanted", "unreadable", "unreadable as before", "began"),
    ...stays("approaching", "moved", "failed", "settled"),
    ...{ refused: ["refused", "log the refusal", "answer the refusal"], closing: "moving" },
    ...{ retreated: RETREATED, interrupted: "idle" },
  },
  moving: {
    ...stays("moving", "wanted", "unwanted", "unreadable", "unreadable as before", "began"),
    ...stays("moving", "refused", "closing"),
    ...{ moved: ["recording", "tell of the flip"], retreated: RETREATED, interrupted: "idle" },
    ...{ failed: "doubtful", settled: "idle" },
  },
  recording: {
    ...stays("recording", "wanted", "unwanted", "unreadable", "unreadable as before", "began"),
    ...stays("recording", "refused", "closing", "moved", "retreated", "interrupted"),
    ...{ failed: "doubtful", settled: "idle" },
  },
  doubtful: {
    ...stays("doubtful", "wanted", "unwanted", "unreadable", "unreadable as before", "began"),
    ...stays("doubtful", "refused", "closing", "moved", "retreated", "interrupted", "failed"),
    settled: "idle",
  },
};

for (const from of Object.keys(TABLE) as Kind[]) {
  for (const event of Object.keys(EVENTS) as EventName[]) {
    const cell = TABLE[from][event];
    const [kind, ...actions] = typeof cell === "string" ? [cell] : cell;
    test(`${from}: ${event} leads to ${kind}`, () => {
      const step = nextFlip(STATES[from], EVENTS[event]);
      expect([step.state.kind, ...step.actions.map((action) => action.kind)]).toEqual([kind, ...actions]);
      if (kind === from && actions.length === 0) expect(step.state).toEqual(STATES[from]);
    });
  }
}

/** The state after these events, one after another. */
const after = (state: FlipState, ...events: readonly FlipEvent[]) =>
  events.reduce((now, event) => nextFlip(now, event).state, state);

test("a try may begin in a resting state, after a retreat no earlier than it says", () => {
  const due = Object.keys(TABLE).filter((kind) => isDue(STATES[kind as Kind], 4_999));
  expect(due).toEqual(["idle", "refused"]);
  expect(isDue(STATES.retreated, 5_000)).toBe(true);
});

test("F1 from closing until settled the state is doubtful", () => {
  const doubtful = Object.keys(TABLE).filter((kind) => isDoubtful(STATES[kind as Kind]));
  expect(doubtful).toEqual(["moving", "recording", "doubtful"]);
  for (const from of [STATES.moving, STATES.recording, STATES.doubtful]) {
    expect(isDoubtful(after(from, EVENTS.settled))).toBe(false);
  }
});

test("F2 every retreat in a row waits at least as long as the one before, also past a refusal", () => {
  const waits: number[] = [];
  let state: FlipState = IDLE;
  for (let n = 0; n < 5; n++) {
    state = after(state, EVENTS.began, EVENTS.refused, EVENTS.began, EVENTS.closing, EVENTS.retreated);
    if (state.kind === "retreated") waits.push(state.notBeforeMs - EVENTS.retreated.nowMs);
  }
  expect(waits).toEqual([2_000, 5_000, 15_000, 60_000, 60_000]);
  for (const end of [EVENTS.unwanted, EVENTS.unreadable]) {
    const again = after(state, end, EVENTS.wanted, EVENTS.began, EVENTS.retreated);
    expect(again).toMatchObject({ kind: "retreated", retreats: 1, notBeforeMs: 12_000 });
  }
});

test("F3 a refusal for the same reason is told once, and answered every time", () => {
  const first = after(IDLE, EVENTS.began, EVENTS.refused);
  const { actions } = nextFlip(after(first, EVENTS.wanted, EVENTS.began), EVENTS.refused);
  expect(actions).toEqual([{ kind: "answer the refusal", reason: "the phase" }]);
  const other = nextFlip(after(first, EVENTS.began), { kind: "refused", reason: "the lag" });
  expect(other.actions.map(({ kind }) => kind)).toEqual(["log the refusal", "answer the refusal"]);
});

test("F4 a try that was interrupted leaves everything as it was before", () => {
  for (const before of [IDLE, STATES.refused, STATES.retreated]) {
    expect(after(before, EVENTS.began, EVENTS.interrupted)).toEqual(before);
    expect(after(before, EVENTS.began, EVENTS.closing, EVENTS.interrupted)).toEqual(before);
    expect(after(before, EVENTS.began, EVENTS.closing, EVENTS.failed, EVENTS.settled)).toEqual(before);
  }
});

test("what came of a try is shown until the next one ends, and a flip that happened ends it", () => {
  const trying = after(STATES.refused, EVENTS.began, EVENTS.closing);
  expect(problemOf(trying)?.message).toBe("the lag");
  expect(problemOf(after(trying, EVENTS.failed))?.message).toBe("the lag");
  expect(problemOf(after(trying, EVENTS.moved))).toBe(null);
  expect(problemOf(after(trying, EVENTS.moved, EVENTS.failed, EVENTS.settled))).toBe(null);
  expect(problemOf(after(trying, EVENTS.retreated))).toMatchObject({ code: "FLIP_RETREATED" });
});
