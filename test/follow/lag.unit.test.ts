// The lag's clock: how long ago the oldest position that is not applied was first seen.
import { expect, test } from "vitest";
import { LagClock } from "#switchback/protocol/lag.js";

test("counts from the first sight of the oldest change that is not applied", () => {
  let now = 1_000;
  const clock = new LagClock(() => now);
  clock.saw(5);
  now = 3_000;
  clock.saw(9);
  now = 4_000;
  expect(clock.seconds(0)).toBe(3);
  expect(clock.seconds(5)).toBe(1);
  expect(clock.seconds(9)).toBe(0);
});

test("seeing the same position again does not make it younger", () => {
  let now = 0;
  const clock = new LagClock(() => now);
  clock.saw(1);
  now = 2_000;
  clock.saw(1);
  expect(clock.seconds(0)).toBe(2);
});

test("stays bounded through a long outage and keeps the oldest age", () => {
  let now = 0;
  const clock = new LagClock(() => now);
  for (let position = 1; position <= 100_000; position++) {
    now += 200;
    clock.saw(position);
  }
  expect(clock.seconds(0)).toBeCloseTo((now - 200) / 1_000);
  expect(JSON.stringify(clock).length).toBeLessThan(100_000);
});
