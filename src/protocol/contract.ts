// The contract between the link and the stores. A store plays two roles: a Source is read at exact positions,
// a Target is moved from one exact position to a later one. The link knows only what stands here; what a
// position, a snapshot or a transaction is made of is each store's own business.
//
// Rows travel in one form, the interchange: each value as the text that the mapped PostgreSQL type reads and
// prints, null for NULL, in the order of TableMapping.columns. In bulk they travel as COPY's CSV of the same.

/** A log sequence number in the source; 0 before the first change. */
export type Position = number;

export type EncodedRow = readonly (string | null)[];

/** Keys by table, each in the order of TableMapping.key. */
export type KeysByTable = ReadonlyMap<string, readonly EncodedRow[]>;

/** A row, or a value in it, that the target cannot hold. */
export interface RefusedRow {
  readonly table: string;
  /** The key as canonical JSON text, see keyText(). */
  readonly key: string;
  readonly column: string | null;
  readonly reason: string;
  /** True when the target had it in quarantine already, for the same reason. */
  readonly again?: boolean;
}

/** Some rows of one table as COPY CSV, every line ended by a newline. */
export interface Chunk {
  readonly csv: Uint8Array;
  readonly rows: number;
  readonly refused: readonly RefusedRow[];
}

/** How many rows of a range its reader counted, beside the chunks that bring them. */
export interface Counted {
  readonly rows: number;
  readonly refused: number;
}

/** A range's chunks, and at their end what the reader counted: their writer checks that nothing is missing. */
export type RangeReading = AsyncGenerator<Chunk, Counted, void>;

/** One end of a range: a row's place in the table's own order, as JSON text that only the source reads. */
export type Bound = string;

/** A stretch (lo, hi] of a table's order; null is open. */
export interface Range {
  readonly table: string;
  readonly number: number;
  readonly lo: Bound | null;
  readonly hi: Bound | null;
}

/** Which rows of a table the target holds: all, or those in the ranges recorded so far. */
export type Copied = "all" | readonly Range[];

/** What a window must know about the target to be exact: per table, what is copied and whether rows are quarantined. */
export interface Scope {
  copied(table: string): Copied;
  /** True when the table has quarantined rows, so that every touched key must be named. */
  quarantined(table: string): boolean;
  /** Keys to read again although nothing was logged of them: what the target holds there is in doubt. */
  readonly doubted?: KeysByTable;
}

/** The changes of one table in a window: present rows to write, keys whose row is gone. */
export interface TableWindow {
  readonly table: string;
  /** Log rows seen, for metrics. */
  readonly changes: number;
  readonly rows: Rows;
  /** Keys (in the order of TableMapping.key) to delete. */
  readonly gone: Rows;
  readonly refused: readonly RefusedRow[];
  /** Every touched key as key text, when the scope asked for it; else empty. None of `nullKeys`. */
  readonly touched: readonly string[];
  /** Touched keys with a NULL in them: no target can hold their rows. */
  readonly nullKeys?: readonly NullKey[];
}

/** A key with a NULL, which any number of rows may share. */
export interface NullKey {
  readonly refusal: RefusedRow;
  /** How many rows of the copied ranges have it now. */
  readonly rows: number;
}

/**
 * Rows of a window: few as values; many as CSV in memory or in a temporary file, or in batches that are read
 * while they are applied.
 */
export type Rows =
  | { readonly kind: "values"; readonly values: readonly EncodedRow[] }
  | { readonly kind: "csv"; readonly rows: number; chunks(): AsyncIterable<Uint8Array> }
  | { readonly kind: "batches"; batches(): AsyncIterable<readonly EncodedRow[]> };

/** Everything that happened in (from, to], as it stands at `to`. */
export interface Window {
  readonly from: Position;
  readonly to: Position;
  readonly changes: number;
  /** What the log looks like just before `to`: a source that shows something else there later is not the same. */
  readonly mark: string;
  readonly tables: readonly TableWindow[];
  /** The keys of `Scope.doubted`, where they were read again as well. */
  readonly doubted?: KeysByTable;
  /** Ends the reading; `applied` tells that the target has committed it, so that the source may forget the changes. */
  close(applied: boolean): Promise<void>;
}

/** One source read transaction, seen by several readers together. */
export interface Snapshot {
  readonly position: Position;
  readonly readers: number;
  /** The changes after `after` up to this snapshot's position. */
  window(after: Position, scope: Scope): Promise<Window>;
  /**
   * Reads a range with one of the readers (0-based). A reader serves one range at a time: a new reading ends the one
   * before it, whether that was read to its end or given up.
   */
  read(reader: number, range: Range): RangeReading;
  /** From then on the snapshot is the readers' alone, and the source may give later windows meanwhile. */
  leaveToReaders(): void;
  /** Counts the tables' rows with the readers, but for rows that no target can hold because their key has a NULL. */
  count(tables: readonly string[]): Promise<ReadonlyMap<string, number>>;
  /** Ends the read transactions. */
  release(): Promise<void>;
}

/** Thrown by a source whose tables no longer have the shape that was captured; the sidecar must look again. */
export class SourceChanged extends Error {
  override readonly name = "SourceChanged";
}

/**
 * Thrown by a target, with nothing committed: a unique value that the source has in one row is held by another row
 * here, whose key the source did not name. The source cannot hold both, so the other row is stale, unless the target
 * is stricter. The keys are read again, and then a row that is still in the way is refused.
 */
export class StaleRows extends Error {
  override readonly name = "StaleRows";

  constructor(readonly keys: KeysByTable) {
    super(`rows of ${[...keys.keys()].join(", ")} keep rows of the source out`);
  }
}

export interface Source {
  /** The newest committed position. */
  newest(): Promise<Position>;
  /** The changes after `after` up to now; null when there are none. */
  window(after: Position, scope: Scope): Promise<Window | null>;
  /** Resolves when something may have changed, or after `ms`. */
  wait(ms: number, signal: AbortSignal): Promise<void>;
}

/** A source whose history can be read, range by range, for a first copy. */
export interface HistorySource extends Source {
  /** How many readers may work side by side; 1 where an open read blocks the application. */
  readonly maxReaders: number;
  /** True where an open read blocks the application: ranges are small and each has its own snapshot. */
  readonly briefReads: boolean;
  snapshot(readers: number): Promise<Snapshot>;
  /** True when a snapshot should be let go for the application's sake, for example because its log grows. */
  strained(): boolean;
}

export interface Target {
  /** Moves the copy from window.from to window.to in one transaction (I1, I2). @throws StaleRows */
  apply(window: Window): Promise<Applied>;
}

/** A target that history can be copied into. */
export interface HistoryTarget extends Target {
  /**
   * Adds a range as of `position`, which must be the target's position, in one transaction. `read` gives the
   * range's chunks, and gives them again when the target has to go row by row. Rows written and rows refused are
   * together the rows that the reader counted. @throws COUNT_MISMATCH, with nothing committed, when they are not;
   * StaleRows, unless the last window to this position had their keys
   */
  copy(range: Range, position: Position, read: () => RangeReading): Promise<CopiedRange>;
  /** How many copies may run side by side. */
  readonly writers: number;
  /** Holds on to what the target has at `position`, which must be its position, while it moves on. */
  snapshot(position: Position): Promise<TargetSnapshot>;
}

/** One position of a target, to be counted and compared; uses a writer until it is closed. */
export interface TargetSnapshot {
  /**
   * Looks for these rows of the source, but for quarantined ones. Rows that the target alone has are not looked for:
   * the counts of both stores tell whether there are any.
   */
  compare(table: string, chunks: AsyncIterable<Chunk>): Promise<Difference>;
  /** The tables' rows, and their quarantined rows but for those whose key has a NULL. */
  count(tables: readonly string[]): Promise<ReadonlyMap<string, RowsHeld>>;
  /** Ends the count under way; it fails. */
  cancel(): Promise<void>;
  close(): Promise<void>;
}

export interface RowsHeld {
  readonly rows: number;
  readonly quarantined: number;
}

export interface Applied {
  /** Rows that went to quarantine. */
  readonly refused: readonly RefusedRow[];
  /** How many rows of each table left it. */
  readonly released: ReadonlyMap<string, number>;
}

export interface CopiedRange {
  readonly rows: number;
  readonly refused: readonly RefusedRow[];
}

/** Where the copy of a table departs from its source. */
export interface Difference {
  /** In the source and not in the target. */
  readonly missing: number;
  /** In the target and not in the source. */
  readonly extra: number;
  /** In both, with other values. */
  readonly different: number;
  /** The first of each kind, keys in the interchange form. */
  readonly keys: readonly { readonly kind: "missing" | "extra" | "different"; readonly key: EncodedRow }[];
}

/** One read transaction of the target, at one position. */
export interface View {
  readonly position: Position;
  /**
   * Compares every row, but for those in the window that `exempt` gives once the rows are read: they changed
   * meanwhile and are read again.
   */
  compareAll(
    table: string,
    rows: AsyncIterable<Chunk>,
    exempt: () => TableWindow | null,
  ): Promise<Difference & { readonly target: number }>;
  /** Compares the rows of a window only: present ones must be there alike, gone ones must not be there. */
  compareWindow(window: TableWindow, exempt: TableWindow | null): Promise<Difference>;
  close(): Promise<void>;
}

/** The highest number ever given out, by source and table: a store that takes over continues above it. */
export type IdCeilings = ReadonlyMap<string, ReadonlyMap<string, bigint>>;

/**
 * A store's gate for the application's writes. Whatever a method promises holds once it resolves, because it is one
 * committed transaction of the store; after a failure the store's own record tells (recovery.ts).
 */
export interface Gate {
  /** True for the store whose record decides who has the writes. Of the two stores exactly one does. */
  readonly decides: boolean;
  /** Work that takes time and can be done while the other store still has the writes. May be repeated. */
  prepare(epoch: number): Promise<void>;
  /** Takes what could keep the flip waiting, just before the pause. */
  reserve(signal: AbortSignal): Promise<void>;
  /** Gives back what `reserve` took; never waits for the store. */
  abandon(): void;
  /** Refuses every application write that is not committed yet. Resolves to when that began (performance.now). */
  close(epoch: number, signal: AbortSignal): Promise<number>;
  /**
   * Takes the writes again after `close`, under the same epoch as before; also after a `close` that was given up
   * and might still succeed.
   */
  reopen(epoch: number): Promise<void>;
  /** The highest numbers given out so far; exact while the gate is closed. */
  marks(): Promise<IdCeilings>;
  /**
   * Takes the writes under a new epoch. Given up by the signal until the commit is sent, and not after.
   * @throws InDoubt when the store did not say whether it committed
   */
  open(epoch: number, marks: IdCeilings, signal?: AbortSignal): Promise<void>;
  /** Records that the other store has the writes under this epoch. Signal and errors as above. */
  left(epoch: number, signal?: AbortSignal): Promise<void>;
}

/** The connection went away during a commit: only the store knows the outcome. */
export class InDoubt extends Error {
  override readonly name = "InDoubt";
}
