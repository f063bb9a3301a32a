// Trying again: how long a pause is, that a signal ends it, and what an outage logs.
import { pino } from "pino";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { SwitchbackError } from "#switchback/errors.js";
import { BACKOFF, Outage, pause, pauseMs } from "#switchback/retry.js";

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

interface Line {
  readonly level: number;
  readonly msg: string;
  readonly tries?: number;
  readonly seconds?: number;
}

function recorder() {
  const lines: Line[] = [];
  return { lines, log: pino({}, { write: (line: string) => lines.push(JSON.parse(line)) }) };
}

const away = () => new SwitchbackError("POSTGRES_UNREACHABLE", "no answer");

test("the pause is anywhere below a cap that doubles and stops doubling", () => {
  const caps = [1, 2, 3, 4, 100, 1e9].map((tries) => pauseMs(tries, { firstMs: 100, mostMs: 500 }, () => 1));
  expect(caps).toEqual([100, 200, 400, 500, 500, 500]);
  expect(pauseMs(5, BACKOFF, () => 0)).toBe(0);
  const many = Array.from({ length: 1_000 }, () => pauseMs(3, { firstMs: 100, mostMs: 500 }));
  expect(Math.min(...many)).toBeLessThan(50);
  expect(Math.max(...many)).toBeGreaterThan(350);
  expect(Math.max(...many)).toBeLessThanOrEqual(400);
});

test("a pause ends early with the signal's reason and leaves nothing behind", async () => {
  const stop = new AbortController();
  const early = pause(1_000, stop.signal);
  stop.abort(new Error("enough"));
  await expect(early).rejects.toThrow("enough");
  expect(vi.getTimerCount()).toBe(0);
  await expect(pause(1_000, stop.signal)).rejects.toThrow("enough");
  const full = pause(1_000);
  await vi.advanceTimersByTimeAsync(1_000);
  await full;
});

test("a long outage is one line every half minute, and its end says how long it was", () => {
  const { lines, log } = recorder();
  let nowMs = 0;
  const outage = new Outage(log, "applying", 30_000, () => nowMs);
  for (; nowMs < 95_000; nowMs += 1_000) outage.failed(away());
  expect(lines.map(({ tries, seconds }) => [tries, seconds])).toEqual([
    [undefined, undefined],
    [31, 30],
    [61, 60],
    [91, 90],
  ]);
  outage.recovered();
  expect(lines.at(-1)).toMatchObject({ msg: "applying recovered after 95 tries", seconds: 95 });
  outage.recovered();
  expect(lines).toHaveLength(5);
  outage.failed(away());
  expect(lines).toHaveLength(6);
});
