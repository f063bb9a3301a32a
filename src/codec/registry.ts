// Makes a column's codec from plain data, so that a mapping can be stored and rebuilt in another thread. It
// owns the list of types and the rules that hold for all of them. NULL is NULL; text must be valid UTF-8; a
// value comes back unchanged in spite of affinity. Where values identify rows (`strict`), two SQLite values
// never share one PostgreSQL value. The other files of this folder own the types.
import type { Affinity } from "../schema/model.js";
import type { MomentSource } from "../schema/moment-source.js";
import { parseType } from "../schema/pg-types.js";
import { describeValue, sameValue, storedAs } from "./affinity.js";
import { anyCodec } from "./any.js";
import { booleanCodec } from "./boolean.js";
import { byteaCodec } from "./bytea.js";
import { type Codec, InvalidText, Refusal, type SqliteValue } from "./codec.js";
import type { ColumnCodec } from "./column-codec.js";
import { dateCodec, momentCodec, timeCodec } from "./datetime.js";
import { doubleCodec, realCodec } from "./float.js";
import { integerCodec } from "./integer.js";
import { jsonbCodec, jsonCodec } from "./json.js";
import { numericCodec } from "./numeric.js";
import { charCodec, textCodec, varcharCodec } from "./text.js";
import { uuidCodec } from "./uuid.js";

/** A codec as plain JSON data. */
export interface CodecSpec {
  /** The PostgreSQL type as `parseType` spells it: bigint, numeric(10,2), varchar(50), any … */
  readonly type: string;
  readonly affinity: Affinity;
  /** timestamptz, timestamp and date only; text when absent. */
  readonly from?: MomentSource;
  /** For a type of the database's own, an enum for example: the type by whose codec its values are read and written. */
  readonly like?: string;
  /** The column's prevailing spelling; each type defines its own. */
  readonly spelling?: string;
  /** True for columns of a key or a unique index: values in any other than the prevailing spelling are refused. */
  readonly strict?: boolean;
  /** The longest value in bytes, for columns that PostgreSQL must index. */
  readonly bytesMax?: number;
}

const MAKERS: Readonly<Record<string, (spec: CodecSpec, args: readonly number[]) => ColumnCodec>> = {
  bigint: (spec) => integerCodec(spec, 8),
  integer: (spec) => integerCodec(spec, 4),
  smallint: (spec) => integerCodec(spec, 2),
  "double precision": doubleCodec,
  real: realCodec,
  numeric: numericCodec,
  text: textCodec,
  varchar: varcharCodec,
  char: charCodec,
  boolean: booleanCodec,
  date: dateCodec,
  time: timeCodec,
  timestamp: momentCodec,
  timestamptz: momentCodec,
  uuid: uuidCodec,
  json: jsonCodec,
  jsonb: jsonbCodec,
  bytea: byteaCodec,
  any: anyCodec,
};

/** The codec for a spec. A type that `parseType` does not know is a bug of the caller. */
export function codecFor(spec: CodecSpec): Codec {
  const parsed = parseType(spec.like ?? spec.type);
  const make = parsed && MAKERS[parsed.name];
  if (!parsed || !make) throw new Error(`no codec for the type ${spec.type}`);
  const inner = make({ ...spec, type: parsed.type }, parsed.args);
  const { bytesMax } = spec;
  return {
    name: parsed.name,
    type: spec.like !== undefined ? spec.type : parsed.name === "any" ? "jsonb" : parsed.type,
    encode: (value) => encode(spec, inner, value),
    decode: (text) => decode(spec, inner, text),
    clean:
      bytesMax === undefined
        ? inner.clean
        : (c) => `(${inner.clean(c)} AND octet_length(${c}) <= ${bytesMax})`,
    render: inner.render,
  };
}

function encode(spec: CodecSpec, inner: ColumnCodec, value: SqliteValue): string | null | Refusal {
  if (value === null) return null;
  if (value instanceof InvalidText) return new Refusal(`text that is not valid ${value.encoding}`);
  const text = inner.encode(value);
  if (text instanceof Refusal) return text;
  if (spec.bytesMax !== undefined && bytesOf(value) > spec.bytesMax) {
    return new Refusal(`longer than ${spec.bytesMax} bytes, which PostgreSQL cannot index`);
  }
  if (spec.strict && !comesBack(spec, inner, text, value)) {
    return new Refusal(`${describeValue(value)} is spelled unlike the rest of a column that identifies rows`);
  }
  return text;
}

function bytesOf(value: SqliteValue): number {
  if (typeof value === "string") return Buffer.byteLength(value);
  return value instanceof Uint8Array ? value.length : 0;
}

function comesBack(spec: CodecSpec, inner: ColumnCodec, text: string, value: SqliteValue): boolean {
  const back = inner.decode(text);
  return !(back instanceof Refusal) && sameValue(storedAs(back, spec.affinity), value);
}

function decode(spec: CodecSpec, inner: ColumnCodec, text: string | null): SqliteValue | Refusal {
  if (text === null) return null;
  const value = inner.decode(text);
  if (value instanceof Refusal) return value;
  const stored = storedAs(value, spec.affinity);
  if (sameValue(stored, value)) return value;
  // Affinity changes the class, which is fine where the codec sees the same value in the other class.
  const wanted = inner.encode(value);
  if (typeof wanted === "string" && inner.encode(stored) === wanted) return stored;
  return new Refusal(`SQLite would store ${describeValue(value)} as ${describeValue(stored)}`);
}
