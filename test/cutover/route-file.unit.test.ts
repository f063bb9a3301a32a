// The route file as the sidecar keeps it: put back when it is taken away, tried again when it cannot be written,
// and said once, not at every try.
import {
  lstatSync,
  mkdirSync,
  readFileSync,
  rmdirSync,
  rmSync,
  symlinkSync,
  unlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { RouteFile } from "#switchback/cutover/route-file.js";
import { createLog } from "#switchback/telemetry/log.js";
import { temporaryFolder } from "../support/scratch.js";

let place: ReturnType<typeof temporaryFolder>;
let file: string;
let lines: string[];
let route: RouteFile;
beforeEach(() => {
  vi.useFakeTimers();
  place = temporaryFolder();
  file = join(place.folder, "route.json");
  lines = [];
  const screen = { write: (line: string) => void lines.push(line) };
  route = new RouteFile(file, createLog({ level: "info", terminal: false, screen }));
});
afterEach(() => {
  route.close();
  vi.useRealTimers();
  place.remove();
});

const AWAY = { writes: "postgres", epoch: 1, changedAt: "2026-01-02T03:04:05.000Z" } as const;
const read = () => JSON.parse(readFileSync(file, "utf8")) as unknown;

test.each([
  ["taken away", () => rmSync(file)],
  ["garbled", () => writeFileSync(file, "{half")],
  ["an older one", () => writeFileSync(file, JSON.stringify({ ...AWAY, writes: "sqlite", epoch: 0 }))],
  ["a pause that is over", () => writeFileSync(file, JSON.stringify({ ...AWAY, writes: "paused" }))],
])("a route file that is %s is put back", (_, spoil) => {
  route.publish(AWAY, true);
  spoil();
  vi.advanceTimersByTime(1_200);
  expect(read()).toEqual(AWAY);
  expect(route.problem).toBe(null);
  expect(lines).toEqual([]);
});

test("one that cannot be written is a problem, said once, and over by itself", () => {
  mkdirSync(file); // Stands in the way for every user, root as well.
  route.publish({ ...AWAY, epoch: 0 }, true);
  route.publish(AWAY, false);
  vi.advanceTimersByTime(1_200);
  expect(route.problem).toMatchObject({ code: "ROUTE_UNWRITABLE" });
  expect(route.problem?.message).toMatch(/^the route file .*route\.json cannot be written: E[A-Z]+$/);
  expect(lines).toHaveLength(1);
  expect(lines[0]).toContain("writing the route file failed; trying again");
  rmdirSync(file);
  vi.advanceTimersByTime(1_200);
  expect(read()).toEqual(AWAY);
  expect(route.problem).toBe(null);
  expect(lines).toHaveLength(2);
  expect(lines[1]).toContain("writing the route file recovered after");
});

test("a newer one is left alone: it is another sidecar's", () => {
  route.publish(AWAY, true);
  const newer = { ...AWAY, writes: "sqlite", epoch: 2 };
  writeFileSync(file, JSON.stringify(newer));
  vi.advanceTimersByTime(1_200);
  expect(read()).toEqual(newer);
});

test("what was never published is no one's to write", () => {
  vi.advanceTimersByTime(1_200);
  expect(() => read()).toThrow("ENOENT");
});

test.each([
  ["a file that exists", () => writeFileSync(join(place.folder, "behind.json"), "{}")],
  ["a file that does not exist yet", () => {}],
])("a symbolic link to %s stays a link, and the route is written behind it", (_, prepare) => {
  prepare();
  symlinkSync("behind.json", file);
  route.publish(AWAY, true);
  expect(lstatSync(file).isSymbolicLink()).toBe(true);
  expect(read()).toEqual(AWAY);
  expect(lstatSync(join(place.folder, "behind.json")).isFile()).toBe(true);
  unlinkSync(file);
});
