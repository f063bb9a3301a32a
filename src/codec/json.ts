// jsonb and json: TEXT that is strict JSON. jsonb keeps the value, not the layout. A value that PostgreSQL
// changed returns as jsonb prints it, or without blanks where the column's spelling is `compact`. json keeps
// the text.
//
// A column declared JSON has numeric affinity: there 5 is the INTEGER 5, which is JSON as well.
import { sameValue, storedAs } from "./affinity.js";
import { Refusal, type SqliteValue } from "./codec.js";
import { type ColumnCodec, csvText, refuse } from "./column-codec.js";
import { asJsonbPrints, compacted, JsonFault, jsonFault } from "./json-text.js";
import type { CodecSpec } from "./registry.js";

export function jsonbCodec(spec: CodecSpec): ColumnCodec {
  return {
    encode(value) {
      const text = sourceText(value, spec);
      if (text instanceof Refusal) return text;
      const printed = asJsonbPrints(text);
      return printed instanceof JsonFault ? refuse(value, printed.why) : printed;
    },
    decode: (text) => (spec.spelling === "compact" ? compacted(text) : text),
    // `encode` decides whether the text is spelled as it would come back.
    clean: (c) => `(${c} IS NULL${spec.strict ? "" : ` OR (${cleanClass(c, spec)}${soundJson(c)})`})`,
    render: csvText,
  };
}

export function jsonCodec(spec: CodecSpec): ColumnCodec {
  return {
    encode(value) {
      const text = sourceText(value, spec);
      if (text instanceof Refusal) return text;
      const fault = jsonFault(text);
      return fault ? refuse(value, fault.why) : text;
    },
    decode: (text) => text,
    clean: (c) => `(${c} IS NULL OR (${cleanClass(c, spec)}${soundJson(c)}))`,
    render: csvText,
  };
}

function sourceText(value: SqliteValue, spec: CodecSpec): string | Refusal {
  if (typeof value === "string") return value;
  if (typeof value === "bigint" || typeof value === "number") {
    const digits = String(value);
    if (sameValue(storedAs(digits, spec.affinity), value)) return digits;
  }
  return refuse(value, `in a ${spec.type} column`);
}

function cleanClass(c: string, spec: CodecSpec): string {
  const numbers = spec.affinity === "INTEGER" || spec.affinity === "NUMERIC" ? ", 'integer'" : "";
  return `typeof(${c}) IN ('text'${numbers})`;
}

/**
 * Valid for SQLite, and free of what SQLite takes but jsonb does not: \u0000, halves of surrogate pairs, numbers
 * beyond numeric. The patterns may refuse a sound value, never the reverse; all begin with a literal character,
 * which GLOB finds quickly.
 */
function soundJson(c: string): string {
  const digit = "[0-9]";
  const exponent = `[-+0-9]${digit.repeat(4)}`;
  const doubtful = ["\\u0000", "\\u[dD][89abcdefABCDEF]", `e${exponent}`, `E${exponent}`];
  const free = doubtful.map((pattern) => ` AND ${c} NOT GLOB '*${pattern}*'`).join("");
  // A number with more than 16,383 digits after the decimal point (without a three-digit exponent) needs at
  // least this many bytes.
  return ` AND json_valid(${c})${free} AND (octet_length(${c}) < 15000 OR ${c} NOT GLOB '*${digit.repeat(40)}*')`;
}
