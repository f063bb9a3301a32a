// Where links stop for a flip: all of them, between two windows, until it is over.
import { expect, test } from "vitest";
import { Handover } from "#switchback/handover.js";

const never = () => new AbortController().signal;

test("whoever flips gets what every follower holds, once the last has parked", async () => {
  const handover = new Handover<string>(2);
  const signal = never();
  expect(handover.stopping.aborted).toBe(false);
  const over: string[] = [];
  const first = handover.park("a", signal).then(() => over.push("a"));
  let taken: readonly string[] | null = null;
  const taking = handover.take(signal).then((held) => {
    taken = held;
  });
  expect(handover.stopping.aborted).toBe(true);
  await new Promise((resolve) => setImmediate(resolve));
  expect(taken).toBe(null);
  const second = handover.park("b", signal).then(() => over.push("b"));
  await taking;
  expect(taken).toEqual(["a", "b"]);
  expect(over).toEqual([]);
  handover.release();
  await Promise.all([first, second]);
  expect(over).toEqual(["a", "b"]);
});

test("a flip that is given up waits for no follower, and says why", async () => {
  const handover = new Handover<string>(1);
  const stop = new AbortController();
  const taking = handover.take(stop.signal);
  stop.abort(new Error("withdrawn"));
  await expect(taking).rejects.toThrow("withdrawn");
  await expect(handover.take(stop.signal)).rejects.toThrow("withdrawn");
});

test("a follower that is told to stop goes home although the flip is not over", async () => {
  const handover = new Handover<string>(1);
  const stop = new AbortController();
  const parked = handover.park("a", stop.signal);
  stop.abort();
  await parked;
  await new Handover<string>(1).park("b", stop.signal);
});

test("a period that ends without a flip stops the followers too", async () => {
  const handover = new Handover<string>(1);
  handover.release();
  expect(handover.stopping.aborted).toBe(true);
  await handover.park("a", never());
});
