// bigint, integer and smallint: INTEGER values within the type's range, and nothing else.

import { type ColumnCodec, refuse, unheld } from "./column-codec.js";
import type { CodecSpec } from "./registry.js";

export function integerCodec(spec: CodecSpec, bytes: 2 | 4 | 8): ColumnCodec {
  const max = 2n ** BigInt(bytes * 8 - 1) - 1n;
  const min = -max - 1n;
  return {
    encode(value) {
      if (typeof value !== "bigint") return refuse(value, `in a ${spec.type} column`);
      if (value > max || value < min) return refuse(value, `is out of ${spec.type}'s range`);
      return value.toString();
    },
    decode(text) {
      return /^-?\d{1,19}$/.test(text) ? BigInt(text) : unheld(text, "is not an integer");
    },
    clean: (c) =>
      bytes === 8
        ? `(typeof(${c}) = 'integer' OR ${c} IS NULL)`
        : `(typeof(${c}) = 'integer' AND ${c} BETWEEN ${min} AND ${max} OR ${c} IS NULL)`,
    render: (c) => c,
  };
}
