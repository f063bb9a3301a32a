// A flip that fails says why, also where the error behind it has no message of its own.
import { expect, test } from "vitest";
import { errorText } from "#switchback/error-text.js";
import type { Gate } from "#switchback/protocol/contract.js";
import { flip } from "#switchback/protocol/flip.js";

const named = (name: string) => Object.assign(new Error(""), { name });
const coded = (code: string) => Object.assign(new Error(""), { code });

test.each([
  [new Error("plain"), "plain"],
  [coded("ECONNREFUSED"), "ECONNREFUSED"],
  [
    new AggregateError([coded("ECONNREFUSED"), coded("ECONNREFUSED"), new Error("other")]),
    "ECONNREFUSED; other",
  ],
  [new AggregateError([]), "an error without a message: AggregateError"],
  [new Error("", { cause: new Error("inner") }), "inner"],
  [named("AbortError"), "it was interrupted"],
  ["text", "text"],
  [undefined, "no reason was given"],
])("the text of %o", (error, text) => {
  expect(errorText(error)).toBe(text);
});

test("the reason of a retreat is never empty", async () => {
  for (const error of [named("AbortError"), new AggregateError([]), undefined]) {
    const gate = { reserve: () => Promise.reject(error), abandon() {}, reopen: async () => {} };
    const signal = new AbortController().signal;
    const [from, to] = [gate as unknown as Gate, gate as unknown as Gate];
    const result = await flip({ from, to, epoch: 0, links: [], signal, publish() {} });
    expect(result.flipped ? "" : result.reason).toMatch(/^[a-z].+, while making the other store ready$/);
  }
});
