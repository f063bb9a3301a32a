// double precision and real: REAL values. A double holds every REAL of SQLite; real (float4) holds only those
// that lose no digits. Where affinity keeps whole reals as integers, exact integers count as REALs.
//
// SQLite prints a stored -0.0 as 0.0, which only a column without numeric affinity can hold.
import { sameValue, storedAs } from "./affinity.js";
import type { SqliteValue } from "./codec.js";
import { type ColumnCodec, isBelowText, refuse, turnsNumeric, unheld } from "./column-codec.js";
import type { CodecSpec } from "./registry.js";

/** Whole numbers up to here are exact in a double: 2^53. */
const EXACT_MAX = 9_007_199_254_740_992;

export function doubleCodec(spec: CodecSpec): ColumnCodec {
  return floatCodec(spec, (real) => real);
}

export function realCodec(spec: CodecSpec): ColumnCodec {
  const { clean, ...rest } = floatCodec(spec, Math.fround);
  // 2^24: whole numbers up to here are exact in a float4; JavaScript decides about all others.
  const whole = (c: string) => `${c} BETWEEN -16777216 AND 16777216 AND round(${c}) = ${c}`;
  return { ...rest, clean: (c) => `(${clean(c)} AND ifnull(${whole(c)}, 1))` };
}

function floatCodec(spec: CodecSpec, narrowed: (real: number) => number): ColumnCodec {
  const whole = turnsNumeric(spec.affinity);
  return {
    encode(value) {
      const real = realOf(value, spec);
      if (real === null) return refuse(value, `in a ${spec.type} column`);
      if (!Object.is(narrowed(real), real)) return refuse(value, `would lose digits in ${spec.type}`);
      return Object.is(real, -0) ? "-0" : String(real);
    },
    decode(text) {
      const real = narrowed(Number(text));
      return Number.isNaN(real) ? unheld(text, "is not a number, and SQLite has no NaN") : real;
    },
    clean(c) {
      if (whole) {
        return `(CASE typeof(${c}) WHEN 'integer' THEN ${c} BETWEEN -${EXACT_MAX} AND ${EXACT_MAX} ELSE typeof(${c}) IN ('real', 'null') END)`;
      }
      return spec.affinity === "REAL"
        ? // REAL affinity turns every INTEGER into a REAL.
          isBelowText(c)
        : `(CASE typeof(${c}) WHEN 'real' THEN ${c} <> 0.0 WHEN 'null' THEN 1 ELSE 0 END)`;
    },
    render: (c) => c,
  };
}

function realOf(value: SqliteValue, spec: CodecSpec): number | null {
  if (typeof value === "number") return value;
  if (typeof value !== "bigint") return null;
  const real = Number(value);
  // Only where storing the real gives the integer back.
  return sameValue(storedAs(real, spec.affinity), value) ? real : null;
}
