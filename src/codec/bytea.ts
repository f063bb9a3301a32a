// bytea: BLOB values only, byte for byte.
import { type ColumnCodec, isBlob, refuse, unheld } from "./column-codec.js";

export function byteaCodec(): ColumnCodec {
  return {
    encode: (value) =>
      value instanceof Uint8Array
        ? `\\x${Buffer.from(value.buffer, value.byteOffset, value.byteLength).toString("hex")}`
        : refuse(value, "in a bytea column"),
    decode: (text) =>
      text.startsWith("\\x") ? Buffer.from(text.slice(2), "hex") : unheld(text, "is not in hexadecimal form"),
    clean: isBlob,
    // hex(NULL) is the empty text.
    render: (c) => `CASE WHEN ${c} NOT NULL THEN '\\x' || hex(${c}) END`,
  };
}
