// The interface of a codec. A codec is one column's exact translation between a SQLite value and the text
// that PostgreSQL reads and prints for the column's type. It never coerces: a value that PostgreSQL cannot
// hold with the same meaning is refused, and the row goes to quarantine.

/** A SQLite value with its storage class: bigint is INTEGER, number is REAL, string TEXT, Uint8Array BLOB. */
export type SqliteValue = null | bigint | number | string | Uint8Array | InvalidText;

/** TEXT whose bytes are not valid in the file's encoding; better-sqlite3 would replace them silently. */
export class InvalidText {
  constructor(
    readonly bytes: Uint8Array,
    readonly encoding: "UTF-8" | "UTF-16" = "UTF-8",
  ) {}
}

/** Why a value cannot be held exactly, as the operator reads it. */
export class Refusal {
  constructor(readonly reason: string) {}
}

export interface Codec {
  /** The name in the configuration: bigint, text, timestamptz, any … */
  readonly name: string;
  /** The column type in PostgreSQL's DDL, for example `numeric(10,2)`. */
  readonly type: string;
  /** The text that PostgreSQL's input function turns into the same value; null is NULL. */
  encode(value: SqliteValue): string | null | Refusal;
  /**
   * The SQLite value for PostgreSQL's output text (`bytea_output=hex`, `DateStyle=ISO`, `TimeZone=UTC`,
   * `extra_float_digits=1`), in the column's prevailing spelling. `column` gives the affinity that SQLite
   * will apply when it is stored.
   */
  decode(text: string | null): SqliteValue | Refusal;
  /**
   * SQL over the quoted column: 1 when `render` is exact for the value, 0 when the row must take the exact
   * path. For NULL, which is always exact, 1 or NULL.
   */
  clean(column: string): string;
  /**
   * SQL over the quoted column: the value as one field of COPY's CSV, NULL for NULL (the caller turns that
   * into an empty field). Only used on clean values. The caller then checks the bytes for NUL and invalid
   * UTF-8.
   */
  render(column: string): string;
}
