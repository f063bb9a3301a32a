// Trying again: how long it waits, when it gives up, what it logs, and that it stops at once when told to.
import { pino } from "pino";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { SwitchbackError } from "#switchback/errors.js";
import { BACKOFF, Outage, pause, pauseMs, retry } from "#switchback/retry.js";

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

test("what may be tried again is, until it works, with one line for the outage and one for its end", async () => {
  const { lines, log } = recorder();
  let calls = 0;
  const answer = retry(
    async (tries) => {
      calls += 1;
      expect(tries).toBe(calls);
      if (calls < 4) throw away();
      return "here";
    },
    { signal: new AbortController().signal, log, what: "connecting" },
  );
  await vi.runAllTimersAsync();
  expect(await answer).toBe("here");
  expect(lines.map(({ msg }) => msg)).toEqual([
    "connecting failed; trying again",
    "connecting recovered after 3 tries",
  ]);
});

test("success at once is silent", async () => {
  const { lines, log } = recorder();
  expect(await retry(async () => 1, { signal: new AbortController().signal, log, what: "x" })).toBe(1);
  expect(lines).toEqual([]);
});

test("what is for the operator, and what is unknown, is thrown at once", async () => {
  const { log } = recorder();
  for (const error of [new SwitchbackError("POSTGRES_AUTHENTICATION", "no"), new TypeError("a bug")]) {
    const work = vi.fn(async () => {
      throw error;
    });
    await expect(retry(work, { signal: new AbortController().signal, log, what: "x" })).rejects.toBe(error);
    expect(work).toHaveBeenCalledTimes(1);
  }
});

test("it gives up after triesMax with the last error", async () => {
  const { log } = recorder();
  const work = vi.fn(async () => {
    throw away();
  });
  const answer = retry(work, { signal: new AbortController().signal, log, what: "x", triesMax: 3 });
  const refused = expect(answer).rejects.toMatchObject({ code: "POSTGRES_UNREACHABLE" });
  await vi.runAllTimersAsync();
  await refused;
  expect(work).toHaveBeenCalledTimes(3);
});

test("an abort ends the wait, and no further try is made", async () => {
  const { log } = recorder();
  const stop = new AbortController();
  const work = vi.fn(async () => {
    throw away();
  });
  const answer = retry(work, { signal: stop.signal, log, what: "x", backoff: { firstMs: 1e6, mostMs: 1e6 } });
  const refused = expect(answer).rejects.toThrow("enough");
  await vi.advanceTimersByTimeAsync(0);
  stop.abort(new Error("enough"));
  await refused;
  expect(work).toHaveBeenCalledTimes(1);
  expect(vi.getTimerCount()).toBe(0);
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
  expect(outage.tries).toBe(95);
  outage.recovered();
  expect(lines.at(-1)).toMatchObject({ msg: "applying recovered after 95 tries", seconds: 95 });
  outage.recovered();
  expect([lines.length, outage.tries]).toEqual([5, 0]);
  outage.failed(away());
  expect(lines).toHaveLength(6);
});
