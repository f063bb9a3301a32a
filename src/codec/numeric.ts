// numeric, with or without precision: INTEGER values, and REAL values by the shortest decimal that reads back as
// the same double. Nothing is rounded: what does not fit the scale is refused, in both directions.
import { sameValue, storedAs } from "./affinity.js";
import { type ColumnCodec, refuse, unheld } from "./column-codec.js";
import { digitCounts, plainDigits, trimmed } from "./decimal-text.js";
import type { CodecSpec } from "./registry.js";

/** A decimal of at most 15 digits is the shortest one for its double; SQLite prints it in 16 characters or less. */
const SHORTEST_CHARACTERS_MAX = 16;

export function numericCodec(spec: CodecSpec, [precision, scale = 0]: readonly number[]): ColumnCodec {
  const fits = (decimal: string) => {
    if (precision === undefined) return true;
    const digits = digitCounts(decimal);
    return digits.whole <= precision - scale && digits.scale <= scale;
  };
  return {
    encode(value) {
      if (typeof value !== "bigint" && typeof value !== "number") {
        return refuse(value, `in a ${spec.type} column`);
      }
      const decimal = decimalOf(value);
      const fitting = FINITE.test(decimal) ? fits(decimal) : precision === undefined;
      if (!fitting) return refuse(value, `does not fit ${spec.type}`);
      // 5.0 and 5 are the same numeric; only affinity tells which it was.
      const back = numberFrom(decimal);
      if (back === null || !sameValue(storedAs(back, spec.affinity), value)) {
        return refuse(value, `would come back from ${spec.type} as another value`);
      }
      return decimal;
    },
    decode(text) {
      const decimal = trimmed(text);
      const value = numberFrom(decimal);
      if (value === null) return unheld(text, "has no counterpart in SQLite");
      const held = spec.affinity === "REAL" ? Number(value) : value;
      return decimalOf(held) === decimal ? held : unheld(text, "has more digits than a SQLite number");
    },
    clean(c) {
      // A number that SQLite prints with an exponent, or as 2.0, has another scale in a numeric that keeps
      // scales.
      const scaled = precision === undefined ? ` AND round(${c}) <> ${c} AND abs(${c}) >= 1e-4` : "";
      const real =
        spec.affinity === "BLOB" ? "0" : `length(${c} || '') <= ${SHORTEST_CHARACTERS_MAX}${scaled}`;
      const sound = `CASE typeof(${c}) WHEN 'integer' THEN 1 WHEN 'real' THEN ${real} ELSE 0 END`;
      if (precision === undefined) return `(${sound} OR ${c} IS NULL)`;
      const limit = `1e${precision - scale}`;
      return `(${sound} AND ${c} > -${limit} AND ${c} < ${limit} AND round(${c}, ${scale}) = ${c} OR ${c} IS NULL)`;
    },
    render: (c) => c,
  };
}

const FINITE = /^-?\d/;

function decimalOf(value: bigint | number): string {
  return typeof value === "bigint" ? value.toString() : trimmed(plainDigits(value));
}

/** Whole decimals become INTEGER where one holds them; all others become REAL. */
function numberFrom(decimal: string): bigint | number | null {
  if (/^-?\d+$/.test(decimal)) {
    const whole = BigInt(decimal);
    return BigInt.asIntN(64, whole) === whole ? whole : Number(decimal);
  }
  const real = Number(decimal);
  return Number.isNaN(real) ? null : real;
}
