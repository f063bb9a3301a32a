// The flag file, plain or behind a link that is swapped.
import {
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  renameSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { FlagWatch, readFlag, writeFlag } from "#switchback/cutover/flag-file.js";
import { temporaryFolder } from "../support/scratch.js";

let place: ReturnType<typeof temporaryFolder>;
let flag: string;
beforeEach(() => {
  place = temporaryFolder();
  flag = join(place.folder, "flag");
});
afterEach(() => place.remove());

test("absent or empty means sqlite, with or without a newline; anything else means nothing", () => {
  expect(readFlag(flag)).toBe("sqlite");
  const said: [string, string | null][] = [
    ["", "sqlite"],
    ["sqlite", "sqlite"],
    ["postgres\n", "postgres"],
    ["  postgres \r\n", "postgres"],
    ["Postgres", null],
    ["postgres sqlite", null],
    ["postgresql", null],
  ];
  for (const [text, desired] of said) {
    writeFileSync(flag, text);
    expect(readFlag(flag), JSON.stringify(text)).toBe(desired);
  }
});

test("a flag that cannot be read is an error, not sqlite", () => {
  mkdirSync(flag);
  expect(() => readFlag(flag)).toThrow(expect.objectContaining({ code: "FLAG_UNREADABLE" }));
});

test("writing replaces the file as a whole, goes through a link, and leaves nothing beside it", () => {
  writeFlag(flag, "postgres");
  expect(readFileSync(flag, "utf8")).toBe("postgres\n");
  const link = join(place.folder, "link");
  symlinkSync(flag, link);
  writeFlag(link, "sqlite");
  expect(readlinkSync(link)).toBe(flag);
  expect(readFlag(flag)).toBe("sqlite");
  expect(readdirSync(place.folder).sort()).toEqual(["flag", "link"]);
});

test("a flag whose folder is gone cannot be written, and says so", () => {
  const gone = join(place.folder, "gone", "flag");
  expect(() => writeFlag(gone, "postgres")).toThrow(expect.objectContaining({ code: "FLAG_READ_ONLY" }));
});

test("a link that is swapped, as a mounted ConfigMap is, is noticed", async () => {
  for (const desired of ["sqlite", "postgres"]) {
    mkdirSync(join(place.folder, desired));
    writeFileSync(join(place.folder, desired, "flag"), desired);
  }
  symlinkSync("sqlite", join(place.folder, "..data"));
  symlinkSync(join("..data", "flag"), flag);
  const watch = new FlagWatch(flag);
  try {
    expect(watch.read()).toBe("sqlite");
    const noticed = watch.untilNot("sqlite", AbortSignal.timeout(5_000));
    symlinkSync("postgres", join(place.folder, "..next"));
    renameSync(join(place.folder, "..next"), join(place.folder, "..data"));
    await noticed;
    expect(watch.read()).toBe("postgres");
    const taken = watch.untilNot("postgres", AbortSignal.timeout(5_000));
    writeFlag(flag, "sqlite");
    await taken;
    expect(watch.read()).toBe("sqlite");
  } finally {
    await watch.close();
  }
});

test("waiting ends with the signal", async () => {
  const watch = new FlagWatch(flag);
  const stop = new AbortController();
  const waiting = watch.untilNot("sqlite", stop.signal);
  stop.abort();
  await waiting;
  await watch.wait(60_000, stop.signal);
  await watch.close();
});

test("a flag emptied for a moment, as by a shell that writes it again, still says what it said", async () => {
  writeFileSync(flag, "postgres");
  const watch = new FlagWatch(flag);
  try {
    expect(watch.read()).toBe("postgres");
    writeFileSync(flag, "");
    expect(watch.read()).toBe("postgres");
    writeFileSync(flag, "postgres");
    expect(watch.read()).toBe("postgres");
    writeFileSync(flag, "");
    await vi.waitFor(() => expect(watch.read()).toBe("sqlite"));
    expect(watch.read()).toBe("sqlite");
  } finally {
    await watch.close();
  }
});
