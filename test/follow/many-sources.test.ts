// A sidecar with many sources: each listens to the same signals, and Node takes that for a leak unless it is told.
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterEach, expect, test } from "vitest";
import { FlipController } from "#switchback/cutover/controller.js";
import { writeFlag } from "#switchback/cutover/flag-file.js";
import type { Gate } from "#switchback/protocol/contract.js";
import { Barrier } from "#switchback/protocol/flip.js";
import { pause } from "#switchback/retry.js";
import { allOrThrow } from "#switchback/sidecar/epoch.js";
import { silentLog } from "../support/log.js";
import { temporaryFolder } from "../support/scratch.js";

const SOURCES = 30;
const { folder, remove } = temporaryFolder();
const warnings: string[] = [];
const note = (warning: Error) => void warnings.push(String(warning));
process.on("warning", note);
afterEach(() => {
  process.off("warning", note);
  remove();
});

test("a flip with thirty sources warns of no leak", async () => {
  const flagFile = join(folder, "flag");
  const switching = new FlipController({
    flagFile,
    routeFile: join(folder, "route.json"),
    timeoutMs: 10_000,
    log: silentLog(),
    route: () => ({ writes: "sqlite", epoch: 0 }),
    serves: () => ({ sources: [], database: { address: "h:1/d", id: null } }),
    publish: () => {},
    count: () => {},
  });
  const gate = (decides: boolean): Gate => ({
    decides,
    prepare: async () => {},
    reserve: async () => {},
    abandon: () => {},
    close: async () => performance.now(),
    reopen: async () => {},
    marks: async () => new Map(),
    open: async () => {},
    left: async () => {},
  });
  const moved: number[] = [];
  const barrier = new Barrier<number>(SOURCES);
  const work = async (signal: AbortSignal, source: number) => {
    await pause(20, signal);
    await barrier.park(source, signal);
  };
  writeFlag(flagFile, "postgres");
  try {
    await allOrThrow(new AbortController().signal, [
      ...Array.from({ length: SOURCES }, (_, i) => (signal: AbortSignal) => work(signal, i)),
      (signal) =>
        switching.serve(
          {
            to: "postgres",
            starting: () => false,
            obstacle: async () => null,
            gates: async () => ({ from: gate(false), to: gate(true) }),
            stopLinks: async (deadline) =>
              (await barrier.take(deadline)).map((source) => ({
                approach: (stop) => pause(5, stop),
                drain: async () => void moved.push(source),
              })),
            release: () => barrier.release(),
          },
          signal,
        ),
    ]);
  } finally {
    await switching.close();
  }
  expect(moved).toHaveLength(SOURCES);
  await sleep(10);
  expect(warnings).toEqual([]);
});
