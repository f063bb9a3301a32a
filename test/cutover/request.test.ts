// The files between a command and the sidecar: the sign of life with its answers, and the flag that is taken back.
import { readFileSync, utimesSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { readFlag, writeFlag } from "#switchback/cutover/flag-file.js";
import { Heartbeat, heartbeatFile, readHeartbeat } from "#switchback/cutover/heartbeat-file.js";
import { requestFlip } from "#switchback/cutover/request.js";
import { temporaryFolder } from "../support/scratch.js";

const SERVES = { sources: [], database: { address: "h:1/d", id: null } };

let place: ReturnType<typeof temporaryFolder>;
let [flagFile, routeFile] = ["", ""];
let life: Heartbeat;
beforeEach(() => {
  place = temporaryFolder();
  flagFile = join(place.folder, "flag");
  routeFile = join(place.folder, "route.json");
  writeRoute("sqlite", 0);
  life = new Heartbeat([routeFile], () => SERVES);
});
afterEach(() => {
  vi.useRealTimers();
  life.stop();
  place.remove();
});

function writeRoute(writes: string, epoch: number): void {
  writeFileSync(routeFile, JSON.stringify({ writes, epoch, changedAt: new Date().toISOString() }));
}

const ask = (timeoutMs = 2_000, signal = new AbortController().signal) =>
  requestFlip({ flagFile, routeFile, to: "postgres", timeoutMs, signal });

/** Answers as the sidecar would, as soon as the flag asks. */
async function answerWhenAsked(answer: Omit<Parameters<Heartbeat["answer"]>[0], "to">): Promise<void> {
  while (readFlag(flagFile) !== "postgres") await new Promise((resolve) => setTimeout(resolve, 5));
  life.answer({ to: "postgres", ...answer });
}

test("a sign of life is there from the start to the stop, and counts its answers", () => {
  expect(readHeartbeat(routeFile)).toBe(null);
  life.start();
  life.start();
  expect(readHeartbeat(routeFile)).toMatchObject({ pid: process.pid, answer: null });
  life.answer({ to: "postgres", flipped: true, epoch: 1, pauseMs: 4 });
  life.answer({ to: "sqlite", flipped: false, epoch: 1, pauseMs: 0, reason: "no" });
  expect(readHeartbeat(routeFile)?.answer).toMatchObject({ n: 2, to: "sqlite", reason: "no" });
  life.stop();
  expect(readHeartbeat(routeFile)).toBe(null);
});

test("a sign that no one renews is that of a dead sidecar", () => {
  life.start();
  const longAgo = new Date(Date.now() - 60_000);
  utimesSync(heartbeatFile(routeFile), longAgo, longAgo);
  expect(readHeartbeat(routeFile)).toBe(null);
  writeFileSync(heartbeatFile(routeFile), "{half");
  expect(readHeartbeat(routeFile)).toBe(null);
});

test("a sidecar that has halted answers immediately and says why, also when it halts meanwhile", async () => {
  life.start();
  const problem = { code: "SPLIT", message: "app.db is a backup", hint: "Put back the right one." };
  const began = performance.now();
  const [outcome] = await Promise.all([
    ask(10_000),
    (async () => {
      while (readFlag(flagFile) !== "postgres") await new Promise((resolve) => setTimeout(resolve, 5));
      life.halt(problem);
    })(),
  ]);
  const refused = {
    flipped: false,
    there: false,
    reason: "the sidecar has halted: SPLIT app.db is a backup",
  };
  expect(outcome).toMatchObject(refused);
  expect(readFlag(flagFile)).toBe("sqlite");
  expect(await ask(10_000)).toMatchObject(refused);
  expect(readFlag(flagFile)).toBe("sqlite");
  expect(performance.now() - began).toBeLessThan(5_000);
  // Where the writes are already, nothing has to be moved.
  writeRoute("postgres", 1);
  expect(await ask(10_000)).toMatchObject({ flipped: false, there: true, epoch: 1 });
});

test("without a sidecar nothing is asked", async () => {
  await expect(ask()).rejects.toMatchObject({ code: "NO_SIDECAR" });
  expect(readFlag(flagFile)).toBe("sqlite");
});

test("a flip that happens is told with its epoch and pause, and the flag stays", async () => {
  life.start();
  // An answer from before the question is none.
  life.answer({ to: "postgres", flipped: false, epoch: 0, pauseMs: 0, reason: "of yesterday" });
  const [outcome] = await Promise.all([ask(), answerWhenAsked({ flipped: true, epoch: 1, pauseMs: 4 })]);
  expect(outcome).toEqual({ flipped: true, epoch: 1, pauseMs: 4, there: true });
  expect(readFlag(flagFile)).toBe("postgres");
});

test("a flip that is refused leaves no wish behind", async () => {
  life.start();
  const refusal = { flipped: false, epoch: 0, pauseMs: 0, reason: "never verified" };
  const [outcome] = await Promise.all([ask(), answerWhenAsked(refusal)]);
  expect(outcome).toMatchObject({ flipped: false, reason: "never verified", there: false });
  expect(readFlag(flagFile)).toBe("sqlite");
});

test("no answer in time: the wish is withdrawn, so that nothing happens later", async () => {
  life.start();
  const outcome = await ask(300);
  expect(outcome).toMatchObject({ flipped: false, there: false });
  expect(outcome.reason).toContain("not done within 0.3 s");
  expect(readFlag(flagFile)).toBe("sqlite");
});

test("a sidecar that dies meanwhile is named as the reason", async () => {
  life.start();
  const asked = ask(300);
  life.stop();
  const outcome = await asked;
  expect(outcome).toMatchObject({ flipped: false, there: false });
  expect(outcome.reason).toMatch(/no sign of life any more.*start `switchback run` again/);
  expect(readFlag(flagFile)).toBe("sqlite");
});

test("a flip that happens while the wish is being withdrawn stays", async () => {
  life.start();
  const asked = ask(300);
  while (readFlag(flagFile) !== "postgres") await new Promise((resolve) => setTimeout(resolve, 5));
  while (readFlag(flagFile) === "postgres") await new Promise((resolve) => setTimeout(resolve, 5));
  life.answer({ to: "postgres", flipped: true, epoch: 1, pauseMs: 9 });
  expect(await asked).toMatchObject({ flipped: true, epoch: 1, there: true });
  expect(readFlag(flagFile)).toBe("postgres");
});

test("a sidecar that was started again meanwhile counts its answers from 1, and is heard", async () => {
  // Both sidecars start in the same millisecond, as on a clock that was set back.
  vi.useFakeTimers({ toFake: ["Date"] });
  life = new Heartbeat([routeFile], () => SERVES);
  life.start();
  life.answer({ to: "postgres", flipped: false, epoch: 0, pauseMs: 0, reason: "of yesterday" });
  const asked = ask();
  while (readFlag(flagFile) !== "postgres") await new Promise((resolve) => setTimeout(resolve, 5));
  life.stop();
  life = new Heartbeat([routeFile], () => SERVES);
  life.start();
  life.answer({ to: "postgres", flipped: true, epoch: 1, pauseMs: 7 });
  expect(await asked).toEqual({ flipped: true, epoch: 1, pauseMs: 7, there: true });
  expect(readFlag(flagFile)).toBe("postgres");
});

test("a flip that was decided, and whose sidecar died before it answered, is not taken back", async () => {
  life.start();
  const asked = ask(400);
  while (readFlag(flagFile) !== "postgres") await new Promise((resolve) => setTimeout(resolve, 5));
  life.stop();
  writeRoute("postgres", 1);
  expect(await asked).toEqual({ flipped: true, epoch: 1, there: true });
  expect(readFlag(flagFile)).toBe("postgres");
});

test("an interrupted command takes its wish back", async () => {
  life.start();
  const stop = new AbortController();
  const asked = ask(60_000, stop.signal);
  setTimeout(() => stop.abort(), 50);
  expect((await asked).reason).toContain("interrupted");
  expect(readFlag(flagFile)).toBe("sqlite");
});

test("writes that are there already: nothing to do, and the flag agrees from now on", async () => {
  life.start();
  writeRoute("postgres", 3);
  writeFlag(flagFile, "sqlite");
  expect(await ask()).toMatchObject({ flipped: false, epoch: 3, there: true });
  expect(readFileSync(flagFile, "utf8")).toBe("postgres\n");
});
