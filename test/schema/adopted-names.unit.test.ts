// Which table and column of PostgreSQL stand for one of SQLite, by name.
import { expect, test } from "vitest";
import { adoptedType, counterparts } from "#switchback/mapping/adopted.js";

const pairs = (wanted: readonly string[], names: readonly string[]) =>
  Object.fromEntries(counterparts(wanted, names));

test("the same name wins, then one that differs in case and underscores only", () => {
  expect(pairs(["createdAt", "id", "user_id"], ["created_at", "id", "userid", "other"])).toEqual({
    createdAt: ["created_at"],
    id: ["id"],
    user_id: ["userid"],
  });
});

test("a counterpart that is the same name of another is not taken from it", () => {
  expect(pairs(["userId", "user_id"], ["user_id"])).toEqual({ userId: [], user_id: ["user_id"] });
});

test("several that could be are all returned, and two that want one get none", () => {
  expect(pairs(["userId"], ["user_id", "USERID"])).toEqual({ userId: ["user_id", "USERID"] });
  expect(pairs(["userId", "USERID"], ["user_id"])).toEqual({ userId: [], USERID: [] });
});

test("letters beyond ASCII keep their case, as in SQLite", () => {
  expect(pairs(["Größe"], ["größe", "GRÖSSE"])).toEqual({ Größe: ["größe"] });
  expect(pairs(["ÄGE"], ["äge"])).toEqual({ ÄGE: [] });
});

test("a type of the database's own is read by the type beneath it, and others have no codec", () => {
  const column = { name: "c", computed: false };
  expect(adoptedType({ ...column, type: "character varying(20)", like: null })).toEqual({
    type: "varchar(20)",
  });
  expect(adoptedType({ ...column, type: "shop.status", like: "text" })).toEqual({
    type: "shop.status",
    like: "text",
  });
  expect(adoptedType({ ...column, type: "shop.price", like: "numeric(10,2)" })).toEqual({
    type: "shop.price",
    like: "numeric(10,2)",
  });
  expect(adoptedType({ ...column, type: "integer[]", like: null })).toBe(null);
});
