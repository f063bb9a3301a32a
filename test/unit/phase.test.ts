// The whole table of phases and events; the compiler asks for every cell.
import { expect, test } from "vitest";
import { ERRORS } from "#switchback/errors.js";
import { next, type Phase, type PhaseEvent, slowest } from "#switchback/phase.js";

const problem = { code: "LOG_TAMPERED", message: "rows are gone", hint: ERRORS.LOG_TAMPERED.hint };
type Name = "starting" | "backfilling" | "streaming" | "halted" | "stopping";

const PHASES: Record<Name, Phase> = {
  starting: { name: "starting" },
  backfilling: { name: "backfilling" },
  streaming: { name: "streaming" },
  halted: { name: "halted", problem },
  stopping: { name: "stopping" },
};
const EVENTS: Record<PhaseEvent["kind"], PhaseEvent> = {
  changed: { kind: "changed" },
  copying: { kind: "copying" },
  copied: { kind: "copied" },
  failed: { kind: "failed", problem },
  stop: { kind: "stop" },
};
const TABLE: Record<Name, Record<PhaseEvent["kind"], Name>> = {
  starting: {
    changed: "starting",
    copying: "backfilling",
    copied: "streaming",
    failed: "halted",
    stop: "stopping",
  },
  backfilling: {
    changed: "starting",
    copying: "backfilling",
    copied: "streaming",
    failed: "halted",
    stop: "stopping",
  },
  streaming: {
    changed: "starting",
    copying: "backfilling",
    copied: "streaming",
    failed: "halted",
    stop: "stopping",
  },
  halted: { changed: "halted", copying: "halted", copied: "halted", failed: "halted", stop: "stopping" },
  stopping: {
    changed: "stopping",
    copying: "stopping",
    copied: "stopping",
    failed: "stopping",
    stop: "stopping",
  },
};

for (const from of Object.keys(TABLE) as Name[]) {
  for (const event of Object.keys(EVENTS) as PhaseEvent["kind"][]) {
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
  for (const from of [PHASES.starting, PHASES.backfilling, PHASES.streaming]) {
    expect(next(from, EVENTS.failed)).toEqual({ name: "halted", problem });
  }
});

test("several sources are as far as the one that is least far, and one that is halted halts them all", () => {
  expect(slowest([PHASES.streaming, PHASES.backfilling]).name).toBe("backfilling");
  expect(slowest([PHASES.streaming, PHASES.streaming]).name).toBe("streaming");
  expect(slowest([PHASES.streaming, PHASES.halted, PHASES.starting]).name).toBe("halted");
});
