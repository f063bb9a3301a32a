// text, varchar(n) and char(n): TEXT without NUL. In a column with numeric affinity TEXT never looks like a
// number. There PostgreSQL can hold the digits of an INTEGER or REAL, and affinity turns them back. A
// DATETIME column that mixes epochs and dates is held exactly in this way.
import { sameValue, storedAs } from "./affinity.js";
import { Refusal, type SqliteValue } from "./codec.js";
import { type ColumnCodec, csvText, isBelowBlob, isClass, refuse } from "./column-codec.js";
import type { CodecSpec } from "./registry.js";

export function textCodec(spec: CodecSpec): ColumnCodec {
  const numeric = spec.affinity === "INTEGER" || spec.affinity === "NUMERIC";
  const classes = numeric ? (["text", "integer"] as const) : (["text"] as const);
  // TEXT affinity turns every number into TEXT: the only other class there is BLOB.
  const clean = spec.affinity === "TEXT" ? isBelowBlob : (c: string) => isClass(c, ...classes);
  return { encode: (value) => encodeText(value, spec), decode: (text) => text, clean, render: csvText };
}

export function varcharCodec(spec: CodecSpec, [length = 0]: readonly number[]): ColumnCodec {
  return limited(spec, `length(%) <= ${length}`, (text) =>
    // A code point is one or two UTF-16 units.
    text.length <= length || (text.length <= 2 * length && codePoints(text) <= length)
      ? null
      : `has ${codePoints(text)} characters, more than ${spec.type} holds`,
  );
}

/** char(n) pads with blanks and ignores them: only values of exactly n characters come back unchanged. */
export function charCodec(spec: CodecSpec, [length = 0]: readonly number[]): ColumnCodec {
  const inner = limited(spec, `length(%) = ${length}`, (text) =>
    codePoints(text) === length ? null : `does not have exactly the ${length} characters of ${spec.type}`,
  );
  // A cast to text drops the trailing blanks that the output function prints.
  return { ...inner, decode: (text) => text + " ".repeat(Math.max(0, length - codePoints(text))) };
}

function limited(spec: CodecSpec, fits: string, complaint: (text: string) => string | null): ColumnCodec {
  const inner = textCodec(spec);
  return {
    ...inner,
    encode(value) {
      const text = inner.encode(value);
      if (text instanceof Refusal) return text;
      const why = complaint(text);
      return why === null ? text : refuse(value, why);
    },
    clean: (c) => `(${inner.clean(c)} AND ifnull(${fits.replace("%", c)}, 1))`,
  };
}

function encodeText(value: SqliteValue, spec: CodecSpec): string | Refusal {
  if (typeof value === "string") {
    return value.includes("\0") ? refuse(value, "holds a NUL, which PostgreSQL's text cannot") : value;
  }
  if (typeof value === "bigint" || typeof value === "number") {
    const digits = String(value);
    if (sameValue(storedAs(digits, spec.affinity), value)) return digits;
  }
  return refuse(value, `in a ${spec.type} column`);
}

function codePoints(text: string): number {
  let surrogates = 0;
  for (let i = 0; i < text.length; i++) if ((text.charCodeAt(i) & 0xfc00) === 0xd800) surrogates++;
  return text.length - surrogates;
}
