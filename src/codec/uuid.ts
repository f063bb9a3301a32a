// uuid: the hyphenated form in either case, the 32 digits alone in either case, or the 16 bytes as a BLOB. PostgreSQL
// prints lower case with hyphens, which is the spelling where none is named.

import { storedAs } from "./affinity.js";
import type { SqliteValue } from "./codec.js";
import { type ColumnCodec, refuse, unheld } from "./column-codec.js";
import type { CodecSpec } from "./registry.js";

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i;
const DIGITS = /^[0-9a-f]{32}$/i;
const BYTES = 16;

type UuidSpelling = "lower" | "upper" | "hex" | "HEX" | "blob";

/** How a value spells a UUID, where it is one. */
export function uuidSpelling(value: SqliteValue): UuidSpelling | undefined {
  if (value instanceof Uint8Array) return value.length === BYTES ? "blob" : undefined;
  if (typeof value !== "string") return undefined;
  const upper = /[A-F]/.test(value) && !/[a-f]/.test(value);
  if (UUID.test(value)) return upper ? "upper" : "lower";
  return DIGITS.test(value) ? (upper ? "HEX" : "hex") : undefined;
}

export function uuidCodec(spec: CodecSpec): ColumnCodec {
  const spelling = (spec.spelling ?? "lower") as UuidSpelling;
  return {
    encode(value) {
      const digits = digitsOf(value);
      return digits === null ? refuse(value, "is not a UUID") : hyphenated(digits);
    },
    decode(text) {
      if (!UUID.test(text)) return unheld(text, "is not a UUID");
      const lower = text.toLowerCase();
      const hex = lower.replaceAll("-", "");
      const spelled = { lower, upper: lower.toUpperCase(), hex, HEX: hex.toUpperCase() };
      if (spelling === "blob") return Buffer.from(hex, "hex");
      // Digits alone would become a number in a column of numbers.
      const kept = storedAs(spelled[spelling], spec.affinity);
      return typeof kept === "string" ? kept : lower;
    },
    clean: (c) => `(${c} IS NULL OR ifnull(${shaped(c, spelling)}${inCase(c, spec, spelling)}, 0))`,
    render: (c) => (spelling === "blob" ? `hex(${c})` : c),
  };
}

function digitsOf(value: SqliteValue): string | null {
  const spelling = uuidSpelling(value);
  if (spelling === undefined) return null;
  if (value instanceof Uint8Array) return Buffer.from(value).toString("hex");
  return String(value).replaceAll("-", "").toLowerCase();
}

function hyphenated(digits: string): string {
  const ends = [8, 12, 16, 20, 32];
  return ends.map((end, i) => digits.slice(ends[i - 1] ?? 0, end)).join("-");
}

function shaped(c: string, spelling: UuidSpelling): string {
  if (spelling === "blob") return `typeof(${c}) = 'blob' AND length(${c}) = ${BYTES}`;
  const form =
    spelling === "hex" || spelling === "HEX"
      ? `length(${c}) = ${2 * BYTES}`
      : `${c} GLOB '????????-????-????-????-????????????'`;
  return `typeof(${c}) = 'text' AND length(unhex(${c}, '-')) = ${BYTES} AND ${form}`;
}

/** Where values identify rows, those in the other case are two values for SQLite. */
function inCase(c: string, { strict }: CodecSpec, spelling: UuidSpelling): string {
  if (!strict || spelling === "blob") return "";
  const fold = spelling === "upper" || spelling === "HEX" ? "upper" : "lower";
  return ` AND ${c} COLLATE BINARY = ${fold}(${c})`;
}
