// What must be there: found, or an error that names it.
import { expect, test } from "vitest";
import { at, only, present } from "#switchback/present.js";

test("a value that may be falsy but is there", () => {
  expect([present(0, "n"), present("", "s"), present(false, "b")]).toEqual([0, "", false]);
  expect(() => present(null, "position of the copy")).toThrow("there is no position of the copy");
  expect(() => present(undefined, "x")).toThrow("there is no x");
});

test("an element by its place, also one that is undefined itself", () => {
  expect(at(["a", "b"], 1, "name")).toBe("b");
  expect(at([undefined], 0, "value")).toBe(undefined);
  for (const place of [-1, 2, 0.5, Number.NaN])
    expect(() => at(["a", "b"], place, "name")).toThrow(`there is no name at place ${place} of 2`);
});

test("the only element", () => {
  expect(only([7], "row")).toBe(7);
  expect(() => only([], "row of switchback.route")).toThrow("expected one row of switchback.route, found 0");
  expect(() => only([1, 2], "row")).toThrow("expected one row, found 2");
});
