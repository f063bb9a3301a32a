// boolean: 0 and 1 as INTEGER, or one pair of words. A column has one spelling, so true always comes back as it was.

import { type ColumnCodec, refuse, unheld } from "./column-codec.js";
import type { CodecSpec } from "./registry.js";

/**
 * The pairs of TEXT that a boolean column may use instead of the integers, false first. PostgreSQL reads all
 * of them.
 */
export const BOOLEAN_PAIRS: readonly string[] = [
  "0/1",
  "false/true",
  "False/True",
  "FALSE/TRUE",
  "f/t",
  "F/T",
  "n/y",
  "N/Y",
  "no/yes",
  "No/Yes",
  "NO/YES",
  "off/on",
  "OFF/ON",
];

export function booleanCodec(spec: CodecSpec): ColumnCodec {
  const pair = spec.spelling?.split("/");
  const [no, yes] = pair ? [pair[0] ?? "", pair[1] ?? ""] : [0n, 1n];
  const list = pair ? `'${no}', '${yes}'` : "0, 1";
  const storage = pair ? "text" : "integer";
  return {
    encode(value) {
      if (value === no) return "f";
      if (value === yes) return "t";
      return refuse(value, `is neither ${pair ? `"${no}" nor "${yes}"` : "0 nor 1"}`);
    },
    decode(text) {
      if (text === "t" || text === "true") return yes;
      return text === "f" || text === "false" ? no : unheld(text, "is not a boolean");
    },
    // BINARY, because the column's own collation may treat True as true.
    clean: (c) => `(${c} IS NULL OR (typeof(${c}) = '${storage}' AND ${c} COLLATE BINARY IN (${list})))`,
    render: (c) => c,
  };
}
