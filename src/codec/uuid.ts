// uuid: the canonical hyphenated form in either case. PostgreSQL prints lower case; `upper` is the other spelling.

import { type ColumnCodec, refuse, unheld } from "./column-codec.js";
import type { CodecSpec } from "./registry.js";

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i;

export function uuidCodec(spec: CodecSpec): ColumnCodec {
  const upper = spec.spelling === "upper";
  const inCase = (c: string) =>
    spec.strict ? ` AND ${c} COLLATE BINARY = ${upper ? "upper" : "lower"}(${c})` : "";
  return {
    encode(value) {
      if (typeof value !== "string" || !UUID.test(value)) {
        return refuse(value, "is not a UUID in its hyphenated form");
      }
      return value.toLowerCase();
    },
    decode(text) {
      if (!UUID.test(text)) return unheld(text, "is not a UUID");
      return upper ? text.toUpperCase() : text.toLowerCase();
    },
    clean: (c) =>
      `(${c} IS NULL OR ifnull(typeof(${c}) = 'text' AND length(unhex(${c}, '-')) = 16 AND ${c} GLOB '????????-????-????-????-????????????'${inCase(c)}, 0))`,
    render: (c) => c,
  };
}
