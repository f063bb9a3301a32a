// Decimal texts as PostgreSQL's numeric reads and prints them: plain digits, no exponent. It owns the limits of
// numeric and knows no SQLite.

/** numeric holds this many digits before the decimal point … */
const WHOLE_DIGITS_MAX = 131_072;
/** … and this many after it. */
const SCALE_MAX = 16_383;

const DECIMAL = /^(-?)(\d+)(?:\.(\d+))?(?:[eE]([+-]?\d{1,9}))?$/;

/**
 * The text that PostgreSQL prints for a decimal literal read as numeric: `1.50e1` is 15.0, `-0` is 0.
 * Null when it is no decimal or beyond numeric's limits.
 */
export function asNumericPrints(literal: string): string | null {
  const match = DECIMAL.exec(literal);
  if (!match) return null;
  const [, sign = "", whole = "", fraction = "", exponent = "0"] = match;
  const shift = Number(exponent);
  const scale = Math.max(0, fraction.length - shift);
  const digits = whole + fraction;
  const significant = digits.search(/[1-9]/);
  if (scale > SCALE_MAX || Math.abs(shift) > WHOLE_DIGITS_MAX) return null;
  if (significant < 0) return scale === 0 ? "0" : `0.${"0".repeat(scale)}`;
  const point = whole.length + shift;
  if (point - significant > WHOLE_DIGITS_MAX) return null;
  const padded = point > digits.length ? digits + "0".repeat(point - digits.length) : digits;
  const before = point <= 0 ? "0" : padded.slice(0, point).replace(/^0+(?=\d)/, "");
  const behind = point <= 0 ? "0".repeat(-point) + digits : padded.slice(point);
  return `${sign}${before}${scale === 0 ? "" : `.${behind}`}`;
}

/** The shortest decimal that reads back as exactly this finite real, without an exponent: 1e21 is 1000000000000000000000. */
export function plainDigits(real: number): string {
  const text = String(real);
  return text.includes("e") ? (asNumericPrints(text) ?? text) : text;
}

/** Without trailing zeros after the decimal point: 1.50 is 1.5, 2.00 is 2. */
export function trimmed(decimal: string): string {
  return decimal.includes(".") ? decimal.replace(/\.?0+$/, "") : decimal;
}

/** Digits before the point (0 for a bare fraction) and after it. */
export function digitCounts(decimal: string): { readonly whole: number; readonly scale: number } {
  const [whole = "", fraction = ""] = decimal.replace("-", "").split(".");
  return { whole: whole === "0" ? 0 : whole.length, scale: fraction.length };
}
