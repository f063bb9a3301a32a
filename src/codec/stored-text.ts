// How a SQLite file stores text, and how text crosses the connection without loss. SQLite converts invalid
// bytes between encodings without an error, and turns U+FFFE and U+FFFF into U+FFFD when it writes to a
// UTF-16 file. Therefore text travels as bytes, and this file alone knows their encoding.
import { isUtf8 } from "node:buffer";
import type Database from "better-sqlite3";
import { InvalidText, type SqliteValue } from "./codec.js";

type Encoding = "UTF-8" | "UTF-16le" | "UTF-16be";

/** SQL for one value of any class, bound as three by `StoredText.bindExactly`; without affinity, as `?` is. */
export const EXACT_SLOT = "iif(?, CAST(? AS TEXT), ?)";

/**
 * SQL list: each expression's value, TEXT as the bytes that the file stores, and at the end one letter per
 * value.
 */
export function exactValues(expressions: readonly string[]): string {
  const values = expressions.map((x) => `iif(typeof(${x}) = 'text', CAST(${x} AS BLOB), ${x})`);
  // i, r, t, b or n.
  return [...values, joined(expressions.map((x) => `substr(typeof(${x}), 1, 1)`))].join(", ");
}

/** A file's encoding never changes once it holds a table, so each connection reads it once. */
const opened = new WeakMap<Database.Database, StoredText>();

export class StoredText {
  private constructor(private readonly encoding: Encoding) {}

  static of(db: Database.Database): StoredText {
    const known = opened.get(db);
    if (known) return known;
    const name = String(db.pragma("encoding", { simple: true }));
    if (name !== "UTF-8" && name !== "UTF-16le" && name !== "UTF-16be")
      throw new Error(`SQLite names an unknown encoding: ${name}`);
    const text = new StoredText(name);
    opened.set(db, text);
    return text;
  }

  /** True when the bytes of a text are its UTF-8, so that SQLite may render rows itself and `?` binds text exactly. */
  get isUtf8(): boolean {
    return this.encoding === "UTF-8";
  }

  /** The values that `exactValues` selected, from column `offset` of the result on. */
  values(row: readonly unknown[], count: number, offset = 0): SqliteValue[] {
    const classes = String(row[offset + count]);
    const values: SqliteValue[] = new Array(count);
    for (let i = 0; i < count; i++) {
      const value = row[offset + i] as SqliteValue;
      values[i] = classes.charCodeAt(i) === 116 /* t */ ? this.read(value as Buffer) : value;
    }
    return values;
  }

  /** The text that a file of this encoding stores as `bytes`. */
  read(bytes: Buffer): string | InvalidText {
    if (this.encoding === "UTF-8") return isUtf8(bytes) ? bytes.toString("utf8") : new InvalidText(bytes);
    if (bytes.length % 2 !== 0) return new InvalidText(bytes, "UTF-16");
    const text = this.inLittleEndian(bytes).toString("utf16le");
    return LONE_SURROGATE.test(text) ? new InvalidText(bytes, "UTF-16") : text;
  }

  /** SQL for one value of a statement that writes or searches rows; `bind` gives its parameters. */
  get slot(): string {
    return this.isUtf8 ? "?" : EXACT_SLOT;
  }

  bind(values: readonly SqliteValue[]): readonly unknown[] {
    return this.isUtf8 ? values : this.bindExactly(values);
  }

  /** The parameters of `EXACT_SLOT`s; text that is not valid is bound as it is. */
  bindExactly(values: readonly SqliteValue[]): unknown[] {
    return values.flatMap((value) => {
      const bytes = this.bytesOf(value);
      return bytes === null ? [0, null, value] : [1, bytes, null];
    });
  }

  /** The bytes of a text; null for a value of another class. */
  private bytesOf(value: SqliteValue): Uint8Array | null {
    if (value instanceof InvalidText) return value.bytes;
    if (typeof value !== "string") return null;
    return this.isUtf8 ? Buffer.from(value, "utf8") : this.inLittleEndian(Buffer.from(value, "utf16le"));
  }

  /** To little endian or back; the byte swap is the same. */
  private inLittleEndian(bytes: Buffer): Buffer {
    return this.encoding === "UTF-16be" ? Buffer.from(bytes).swap16() : bytes;
  }
}

/** Half of a surrogate pair, alone: valid UTF-16 has none. With /u a whole pair is one character. */
const LONE_SURROGATE = /\p{Surrogate}/u;

function joined(parts: readonly string[]): string {
  return tree(parts, " || ");
}

/** Joins operands as a balanced tree: SQLite limits the depth of an expression, not its size. */
export function tree(parts: readonly string[], operator: string): string {
  if (parts.length <= 2) return `(${parts.join(operator)})`;
  const half = Math.ceil(parts.length / 2);
  return `(${tree(parts.slice(0, half), operator)}${operator}${tree(parts.slice(half), operator)})`;
}
