// Trying again: how long a pause is, that a signal ends it, and what an outage logs.
import { pino } from "pino";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { SwitchbackError } from "#switchback/errors.js";
import { BACKOFF, Outage, pause, pauseMs, retryOnLock } from "#switchback/retry.js";

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

const unreachable = () => new SwitchbackError("POSTGRES_UNREACHABLE", "no answer");

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

const locked = (error: unknown) => error instanceof SwitchbackError && error.code === "SQLITE_BUSY";
const busy = () => new SwitchbackError("SQLITE_BUSY", "locked");
const LOCK = { locked, pauseMs: () => 20 };

test("a lock is tried for until it is free, and each try that met it is told", async () => {
  const met: number[] = [];
  let calls = 0;
  const answer = retryOnLock(
    () => {
      calls += 1;
      if (calls < 4) throw busy();
      return "here";
    },
    { ...LOCK, met: (tries) => met.push(tries) },
  );
  await vi.runAllTimersAsync();
  expect(await answer).toBe("here");
  expect(met).toEqual([1, 2, 3]);
});

test("an error that is no lock is thrown immediately", async () => {
  const work = vi.fn(async () => {
    throw unreachable();
  });
  await expect(retryOnLock(work, LOCK)).rejects.toMatchObject({ code: "POSTGRES_UNREACHABLE" });
  expect(work).toHaveBeenCalledTimes(1);
});

test("after so many tries, or so long, the last error is thrown", async () => {
  for (const [limit, calls] of [
    [{ triesMax: 3 }, 3],
    [{ waitMaxMs: 50 }, 4],
  ] as const) {
    const work = vi.fn(async () => {
      throw busy();
    });
    const refused = expect(retryOnLock(work, { ...LOCK, ...limit })).rejects.toMatchObject({
      code: "SQLITE_BUSY",
    });
    await vi.runAllTimersAsync();
    await refused;
    expect(work).toHaveBeenCalledTimes(calls);
  }
});

test("an abort ends the wait with the signal's reason, or with what is made of it once the lock was met", async () => {
  for (const [more, message] of [
    [{}, "enough"],
    [{ gaveUp: (reason: unknown) => new Error(`${(reason as Error).message}: locked`) }, "enough: locked"],
  ] as const) {
    const stop = new AbortController();
    const work = vi.fn(async () => {
      throw busy();
    });
    const answer = retryOnLock(work, { ...LOCK, pauseMs: () => 1e6, signal: stop.signal, ...more });
    const refused = expect(answer).rejects.toThrow(new Error(message));
    await vi.advanceTimersByTimeAsync(0);
    stop.abort(new Error("enough"));
    await refused;
    expect(work).toHaveBeenCalledTimes(1);
    await expect(retryOnLock(work, { ...LOCK, signal: stop.signal, ...more })).rejects.toThrow(
      new Error("enough"),
    );
    expect(vi.getTimerCount()).toBe(0);
  }
});

test("a long outage is one line every half minute, and its end says how long it was", () => {
  const { lines, log } = recorder();
  let nowMs = 0;
  const outage = new Outage(log, "applying", 30_000, () => nowMs);
  for (; nowMs < 95_000; nowMs += 1_000) outage.failed(unreachable());
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
  outage.failed(unreachable());
  expect(lines).toHaveLength(6);
});
