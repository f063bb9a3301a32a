// any: every value with its storage class, as a jsonb scalar. 1 is INTEGER, 1.0 REAL, "text" TEXT. A value
// without a JSON literal is an object: {"$blob": "base64"} or {"$real": "Infinity" | "-Infinity" | "-0.0"}.
// jsonb keeps the digits after the decimal point, and they tell 1.0 from 1.
import type { Refusal, SqliteValue } from "./codec.js";
import { type ColumnCodec, csvText, type PresentValue, refuse, unheld } from "./column-codec.js";
import { plainDigits, trimmed } from "./decimal-text.js";
import { jsonString } from "./json-text.js";
import type { CodecSpec } from "./registry.js";

const SPECIAL_REALS: ReadonlyMap<string, number> = new Map([
  ["Infinity", Number.POSITIVE_INFINITY],
  ["-Infinity", Number.NEGATIVE_INFINITY],
  ["-0.0", -0],
]);

export function anyCodec(spec: CodecSpec): ColumnCodec {
  // -0.0 prints as 0.0, and only a column without numeric affinity holds it.
  const zero = spec.affinity === "BLOB" || spec.affinity === "TEXT" ? "" : "% = 0.0 OR ";
  const real = `(${zero}abs(%) BETWEEN 1e-4 AND 1e15) AND length(% || '') <= 16`;
  return {
    encode,
    decode,
    clean: (c) =>
      `(CASE typeof(${c}) WHEN 'integer' THEN 1 WHEN 'text' THEN instr(${c}, char(0)) = 0 WHEN 'null' THEN 1 ` +
      `WHEN 'real' THEN ${real.replaceAll("%", c)} ELSE 0 END)`,
    render: (c) => `CASE typeof(${c}) WHEN 'text' THEN ${csvText(`json_quote(${c})`)} ELSE ${c} END`,
  };
}

function encode(value: SqliteValue): string | Refusal {
  if (typeof value === "bigint") return value.toString();
  if (typeof value === "string") {
    return value.includes("\0") ? refuse(value, "holds a NUL, which jsonb cannot") : jsonString(value);
  }
  if (typeof value === "number") {
    if (Object.is(value, -0)) return '{"$real": "-0.0"}';
    if (!Number.isFinite(value)) return `{"$real": "${value}"}`;
    const digits = plainDigits(value);
    return digits.includes(".") ? digits : `${digits}.0`;
  }
  if (value instanceof Uint8Array) {
    const bytes = Buffer.from(value.buffer, value.byteOffset, value.byteLength);
    return `{"$blob": "${bytes.toString("base64")}"}`;
  }
  return refuse(value, "in a column of any type");
}

function decode(text: string): PresentValue | Refusal {
  if (text.startsWith('"')) return JSON.parse(text) as string;
  if (/^-?\d+$/.test(text)) {
    const whole = BigInt(text);
    return BigInt.asIntN(64, whole) === whole ? whole : unheld(text, "is beyond SQLite's integers");
  }
  if (/^-?\d+\.\d+$/.test(text)) {
    const real = Number(text);
    const exact = Number.isFinite(real) && trimmed(plainDigits(real)) === trimmed(text);
    return exact ? real : unheld(text, "has more digits than a SQLite number");
  }
  return wrapped(text) ?? unheld(text, "is not a scalar that switchback knows");
}

function wrapped(text: string): PresentValue | null {
  const blob = /^\{"\$blob": "([A-Za-z0-9+/]*={0,2})"\}$/.exec(text)?.[1];
  if (blob !== undefined) {
    const bytes = Buffer.from(blob, "base64");
    return bytes.toString("base64") === blob ? bytes : null;
  }
  const real = /^\{"\$real": "([^"]*)"\}$/.exec(text)?.[1];
  return real === undefined ? null : (SPECIAL_REALS.get(real) ?? null);
}
