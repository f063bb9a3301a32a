// The whole table of phases and events; the compiler asks for every cell.
import { expect, test } from "vitest";
import { ERRORS } from "#switchback/errors.js";
import { next, type Phase, type PhaseEvent, slowest } from "#switchback/protocol/phase.js";

const problem = { code: "LOG_TAMPERED", message: "rows are gone", hint: ERRORS.LOG_TAMPERED.hint };
type Name = Phase["name"];
type Kind = PhaseEvent["kind"];

const PHASES: Record<Name, Phase> = {
  starting: { name: "starting" },
  backfilling: { name: "backfilling" },
  streaming: { name: "streaming" },
  cutting_over: { name: "cutting_over" },
  reverse_streaming: { name: "reverse_streaming" },
  reverting: { name: "reverting" },
  halted: { name: "halted", problem },
  stopping: { name: "stopping" },
};
const EVENTS: Record<Kind, PhaseEvent> = {
  changed: { kind: "changed" },
  copying: { kind: "copying" },
  copied: { kind: "copied" },
  flipping: { kind: "flipping" },
  reversed: { kind: "reversed" },
  failed: { kind: "failed", problem },
  stop: { kind: "stop" },
};
/** What every phase does that is not an end. */
const ANYWHERE = {
  changed: "starting",
  copying: "backfilling",
  copied: "streaming",
  reversed: "reverse_streaming",
  failed: "halted",
  stop: "stopping",
} as const;
const everywhere = <N extends Name>(name: N) => ({
  ...{ changed: name, copying: name, copied: name, flipping: name, reversed: name, failed: name },
  stop: "stopping" as const,
});
const TABLE: Record<Name, Record<Kind, Name>> = {
  starting: { ...ANYWHERE, flipping: "starting" },
  backfilling: { ...ANYWHERE, flipping: "backfilling" },
  streaming: { ...ANYWHERE, flipping: "cutting_over" },
  cutting_over: { ...ANYWHERE, flipping: "cutting_over" },
  reverse_streaming: { ...ANYWHERE, flipping: "reverting" },
  reverting: { ...ANYWHERE, flipping: "reverting" },
  halted: everywhere("halted"),
  stopping: everywhere("stopping"),
};

for (const from of Object.keys(TABLE) as Name[]) {
  for (const event of Object.keys(EVENTS) as Kind[]) {
    test(`${from} on ${event} is ${TABLE[from][event]}`, () => {
      expect(next(PHASES[from], EVENTS[event]).name).toBe(TABLE[from][event]);
    });
  }
}

test("P1 nothing leaves stopping", () => {
  for (const event of Object.values(EVENTS)) expect(next(PHASES.stopping, event)).toBe(PHASES.stopping);
});

test("P2 only stop leaves halted", () => {
  for (const event of Object.values(EVENTS)) {
    expect(next(PHASES.halted, event).name).toBe(event.kind === "stop" ? "stopping" : "halted");
  }
});

test("P3 halted always says why", () => {
  for (const from of Object.values(PHASES).filter(({ name }) => name !== "halted" && name !== "stopping")) {
    expect(next(from, EVENTS.failed)).toEqual({ name: "halted", problem });
  }
});

test("several sources are as far as the one that is least far, and one that is halted halts them all", () => {
  expect(slowest([PHASES.streaming, PHASES.backfilling]).name).toBe("backfilling");
  expect(slowest([PHASES.streaming, PHASES.streaming]).name).toBe("streaming");
  expect(slowest([PHASES.streaming, PHASES.halted, PHASES.starting]).name).toBe("halted");
});
