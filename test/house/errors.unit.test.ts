// The table of errors: docs/errors.md is written from it and is current; every code is well formed.
import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { ERRORS, isRetryable, SwitchbackError } from "#switchback/errors.js";
import { errorsPage } from "../support/errors-page.js";

const PAGE = readFileSync(new URL("../../docs/errors.md", import.meta.url), "utf8");

test("docs/errors.md is what `npm run docs` writes", () => {
  expect(PAGE).toBe(errorsPage());
});

test("docs/errors.md lists every error as the table has it, and no other", () => {
  const rows = [...PAGE.matchAll(/^\| `([A-Z_]+)` \| (\d+) \| (\w+) \| (.+) \|$/gm)];
  const documented = rows.map(([, code, ...cells]) => [code ?? "", cells]);
  const table = Object.entries(ERRORS).map(([code, { exit, retry, hint }]) => [
    code,
    [String(exit), retry, hint.replaceAll("|", "\\|")],
  ]);
  expect(Object.fromEntries(documented)).toEqual(Object.fromEntries(table));
});

test.each(Object.entries(ERRORS))("%s says what to do, in whole sentences", (code, { exit, hint }) => {
  expect(code).toMatch(/^[A-Z]+(_[A-Z]+)*$/);
  expect([1, 2, 3, 4, 70]).toContain(exit);
  expect(hint).toMatch(/^[A-Z`].*[^\s.][.]$|`\.$/);
  expect(hint).not.toContain("\n");
});

test("an error knows its kind, its place and its cause", () => {
  const cause = new Error("inner");
  const error = new SwitchbackError("SQLITE_BUSY", "locked", { source: "app" }, { cause });
  expect(error).toMatchObject({
    name: "SwitchbackError",
    code: "SQLITE_BUSY",
    message: "locked",
    where: { source: "app" },
    retryable: true,
  });
  expect(error.cause).toBe(cause);
  expect(error.kind).toBe(ERRORS.SQLITE_BUSY);
});

test("only what the table says is tried again; what is unknown never", () => {
  for (const code of Object.keys(ERRORS) as (keyof typeof ERRORS)[]) {
    expect(isRetryable(new SwitchbackError(code, ""))).toBe(ERRORS[code].retry === "retry");
  }
  for (const unknown of [new Error("x"), null, "x", { code: "SQLITE_BUSY" }])
    expect(isRetryable(unknown)).toBe(false);
});
