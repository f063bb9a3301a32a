// Where links stop for a flip: all of them, between two windows, until it is over.
import { expect, test } from "vitest";
import { Barrier } from "#switchback/protocol/flip.js";

const never = () => new AbortController().signal;

test("the flip gets what every follower holds, once the last has parked", async () => {
  const barrier = new Barrier<string>(2);
  const signal = never();
  expect(barrier.stopping.aborted).toBe(false);
  const over: string[] = [];
  const first = barrier.park("a", signal).then(() => over.push("a"));
  let taken: readonly string[] | null = null;
  const taking = barrier.take(signal).then((held) => {
    taken = held;
  });
  expect(barrier.stopping.aborted).toBe(true);
  await new Promise((resolve) => setImmediate(resolve));
  expect(taken).toBe(null);
  const second = barrier.park("b", signal).then(() => over.push("b"));
  await taking;
  expect(taken).toEqual(["a", "b"]);
  expect(over).toEqual([]);
  barrier.release();
  await Promise.all([first, second]);
  expect(over).toEqual(["a", "b"]);
});

test("a flip that is given up waits for no follower, and says why", async () => {
  const barrier = new Barrier<string>(1);
  const stop = new AbortController();
  const taking = barrier.take(stop.signal);
  stop.abort(new Error("withdrawn"));
  await expect(taking).rejects.toThrow("withdrawn");
  await expect(barrier.take(stop.signal)).rejects.toThrow("withdrawn");
});

test("a follower that is told to stop ends although the flip is not over", async () => {
  const barrier = new Barrier<string>(1);
  const stop = new AbortController();
  const parked = barrier.park("a", stop.signal);
  stop.abort();
  await parked;
  await new Barrier<string>(1).park("b", stop.signal);
});

test("a period that ends without a flip stops the followers too", async () => {
  const barrier = new Barrier<string>(1);
  barrier.release();
  expect(barrier.stopping.aborted).toBe(true);
  await barrier.park("a", never());
});
