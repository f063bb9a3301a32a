// What a file remembers of the windows that it took over. It is enough to tell a store that forgot the last of them
// from one that went another way, and no more than a bound.
import Database from "better-sqlite3";
import { afterEach, beforeEach, expect, test } from "vitest";
import type { Window } from "#switchback/protocol/contract.js";
import { migrateSqlite } from "#switchback/sqlite/migrate.js";
import {
  carriedBeyond,
  forgetCarried,
  remember,
  Touched,
} from "#switchback/sqlite/target/applied-windows.js";

let db: Database.Database;

beforeEach(() => {
  db = new Database(":memory:");
  migrateSqlite(db);
});
afterEach(() => db.close());

function carry(from: number, to: number, mark: string, keys: readonly string[] = []): void {
  const window: Window = { from, to, changes: to - from, mark, tables: [], close: async () => {} };
  const touched = new Touched();
  for (const key of keys) touched.add("t", [key]);
  remember(db, window, touched);
  db.prepare("UPDATE _switchback_position SET position = ?").run(to);
}

const beyond = (position: number, mark: string) => {
  const found = carriedBeyond(db, position, mark);
  return found && [...found];
};

test("the keys beyond a position that a window led to, and nothing for any other", () => {
  expect(beyond(0, "")).toEqual([]);
  carry(0, 3, "a", ["1", "2"]);
  carry(3, 5, "b", ["3"]);
  expect(beyond(5, "b")).toEqual([]);
  expect(beyond(3, "a")).toEqual([["t", [["3"]]]]);
  expect(beyond(0, "")).toEqual([["t", [["1"], ["2"], ["3"]]]]);
  expect(beyond(3, "b")).toBe(null);
  expect(beyond(4, "a")).toBe(null);
  expect(beyond(0, "a")).toBe(null);
});

test("a window that is carried over once more takes the place of those that were forgotten", () => {
  carry(0, 3, "a", ["1"]);
  carry(3, 5, "b", ["2"]);
  carry(3, 9, "c", ["2", "4"]);
  expect(beyond(5, "b")).toBe(null);
  expect(beyond(3, "a")).toEqual([["t", [["2"], ["4"]]]]);
  expect(beyond(9, "c")).toEqual([]);
});

test("as many windows and keys as there is a bound for", () => {
  const many = Array.from({ length: 2_001 }, (_, n) => `${n}`);
  carry(0, 2_000, "full", many.slice(1));
  expect(beyond(0, "")?.[0]?.[1]).toHaveLength(2_000);
  carry(2_000, 4_001, "over", many);
  expect(beyond(2_000, "full")).toEqual([]);
  carry(4_001, 4_002, "long", ["x".repeat(70_000)]);
  expect(beyond(2_000, "full")).toEqual([]);
  for (let n = 0; n < 100; n++) carry(5_000 + n, 5_001 + n, `m${n}`, [`${n}`]);
  expect(db.prepare("SELECT count(*) FROM _switchback_carried").pluck().get()).toBe(64);
  expect(beyond(5_000, "long")).toBe(null);
  expect(beyond(5_099, "m98")).toEqual([["t", [["99"]]]]);
});

test("a file that becomes no one's copy remembers nothing", () => {
  carry(0, 3, "a", ["1"]);
  forgetCarried(db);
  expect(beyond(3, "a")).toBe(null);
  expect(beyond(0, "")).toEqual([]);
  expect(db.prepare("SELECT position FROM _switchback_position").pluck().get()).toBe(0);
});
