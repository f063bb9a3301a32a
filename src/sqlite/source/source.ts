// SQLite as a source. Two connections: `writer` polls, installs and prunes; `reader` reads windows and pins snapshots
// and never writes to the file. Every window checks, in its own read transaction, that the file is still the captured
// one: its shape, its identity, and a log without gaps that has not gone backwards.
import { statSync } from "node:fs";
import type Database from "better-sqlite3";
import type { SqliteValue } from "../../codec/codec.js";
import { type ErrorCode, SwitchbackError } from "../../errors.js";
import { mappingToJson, type TableMapping } from "../../mapping/mapping.js";
import { present } from "../../present.js";
import {
  type HistorySource,
  type Position,
  type Range,
  type Scope,
  type Snapshot,
  SourceChanged,
  type Window,
} from "../../protocol/contract.js";
import type { Schema, Table } from "../../schema/model.js";
import {
  boundaryRow,
  type Captured,
  installSqliteCapture,
  missedTables,
  missingTriggers,
  readCapture,
  schemaVersion,
} from "../capture/install.js";
import { type Rename, settleRenames } from "../capture/renames.js";
import { ChangePoller } from "../change-poller.js";
import { openSqlite, sqliteError } from "../connection.js";
import { FileIdentity } from "../file-identity.js";
import type { RecordedPair } from "../pair.js";
import { readSchema } from "../schema.js";
import { durableCommits, waitFor } from "../transaction.js";
import { READ_TRY_MS, untilFree, whenReadable } from "./brief-reads.js";
import { type AppliedMark, ChangeLog, logFault } from "./change-log.js";
import { markAt } from "./mark.js";
import { cutRanges, estimateRows } from "./ranges.js";
import { begin } from "./reader-worker.js";
import { pin, Reader } from "./snapshot.js";
import { type Followed, readWindow } from "./window.js";

/** Rows per range: one second's work at most, so that a crash loses little and snapshots rotate in time. */
const RANGE_ROWS = 50_000;
/** The same where an open read blocks the application's commits: some ten milliseconds of reading. */
const BRIEF_RANGE_ROWS = 4_000;
/** A snapshot is released when it has made the application's WAL grow to this size. */
const WAL_BYTES = 256 * 1024 * 1024;
/** Examining the path costs microseconds; twice a second is soon enough to notice another file there. */
const STAT_MS = 500;
const PATIENCE_MS = 250;
/** The full check and the installation of capture run once; without a lock both would start again. */
const START_PATIENCE_MS = 10_000;

export class SqliteSource implements HistorySource {
  readonly briefReads: boolean;
  /** For processes that open the path again. */
  readonly place: FileIdentity;
  /** The database to which the file belongs, as found at the start. */
  pair: RecordedPair | null = null;
  private readonly reader: Database.Database;
  private readonly writer: Database.Database;
  private readonly watch: ChangePoller;
  private followed: Followed[] = [];
  private readers: Reader[] = [];
  private accepted = new Set<number>();
  private statedAtMs = 0;
  private captured: Captured | null = null;
  private readonly log: ChangeLog;
  private marked: AppliedMark | null = null;

  constructor(
    readonly name: string,
    readonly file: string,
    private readonly workers: number,
    /** How long a lock may block this process. */
    private readonly patienceMs = PATIENCE_MS,
  ) {
    this.place = new FileIdentity({ source: name, file });
    this.writer = openSqlite(file, { readonly: false });
    this.reader = openSqlite(file, { readonly: false });
    this.log = new ChangeLog(this.writer);
    // PostgreSQL's records depend on what is installed and touched here.
    durableCommits(this.writer);
    this.briefReads = this.guard(() => this.writer.pragma("journal_mode", { simple: true }) !== "wal");
    if (!this.briefReads) this.guard(() => this.place.holdShared());
    this.watch = this.guard(() => new ChangePoller(this.writer, file));
    this.waitBriefly();
  }

  get maxReaders(): number {
    return this.briefReads ? 1 : this.workers;
  }

  get identity(): string {
    if (!this.captured) throw new Error("capture is not installed");
    return this.captured.identity;
  }

  /** All access to the file goes through here, so that every error is translated. */
  look<T>(work: (db: Database.Database) => T): T {
    return this.guard(() => work(this.writer));
  }

  /** Work that must not fail because of a short lock. */
  async patiently<T>(work: () => Promise<T>): Promise<T> {
    waitFor(START_PATIENCE_MS, this.writer, this.reader);
    try {
      return await work();
    } finally {
      this.waitBriefly();
    }
  }

  private waitBriefly(): void {
    waitFor(this.briefReads ? READ_TRY_MS : this.patienceMs, this.writer, this.reader);
  }

  /** The file's tables, and the schema version at which they were read. */
  schema(): { schema: Schema; version: number } {
    return this.guard(() => {
      for (;;) {
        const version = schemaVersion(this.writer);
        try {
          // One transaction waits for a lock once, and not with every statement.
          const read = this.writer.transaction(() => readSchema(this.writer));
          const schema = this.writer.inTransaction ? readSchema(this.writer) : read();
          if (schemaVersion(this.writer) === version) return { schema, version };
        } catch (error) {
          // A table disappeared while it was read.
          if (schemaVersion(this.writer) === version) throw error;
        }
      }
    });
  }

  /** The identity in the file, or null when capture was never installed. */
  recordedIdentity(): string | null {
    return this.guard(() => readCapture(this.writer)?.identity ?? null);
  }

  /** The tables with missing triggers, or triggers that were kept from running: their missed changes are unknown. */
  missedTables(mappings: readonly TableMapping[]): Set<string> {
    const tables = mappings.map((mapping) => mapping.table);
    return this.guard(() => missedTables(this.writer, tables, readCapture(this.writer)?.ids ?? new Map()));
  }

  /**
   * Records the names that the application gave to captured tables. `same`: the copies have them too. Otherwise what
   * the copies hold under these names is unknown. @throws SourceChanged when the tables are no longer as read
   */
  settleRenames(renames: readonly Rename[], version: number, same: boolean): void {
    this.guard(() =>
      this.writer
        .transaction(() => {
          if (schemaVersion(this.writer) !== version) throw new SourceChanged();
          settleRenames(this.writer, renames, () => (same ? null : boundaryRow(this.writer)));
        })
        .immediate(),
    );
  }

  /** Captures exactly the mapped tables and follows them. @throws SourceChanged when they are no longer as read */
  capture(mappings: readonly TableMapping[], version: number): Captured {
    return this.guard(() => {
      const tables = mappings.map((mapping) => mapping.table);
      const captured = installSqliteCapture(this.writer, tables, version, this.pair);
      this.captured = captured;
      this.followed = mappings.map((mapping) => numbered(mapping, captured.ids));
      this.accepted = new Set([captured.version]);
      return captured;
    });
  }

  get captures(): readonly Table[] {
    return this.followed.map(({ mapping }) => mapping.table);
  }

  /** True when tables and triggers are as captured at this schema version. */
  accepts(version: number): boolean {
    return this.accepted.has(version);
  }

  /** A schema change of ours produced this version. */
  accept(version: number): void {
    this.accepted.add(version);
  }

  /**
   * Reads the state of capture, without installing anything: for commands beside the sidecar, and while the file is
   * only a copy. @throws CAPTURE_LOST when a part is missing
   */
  attach(mappings: readonly TableMapping[]): void {
    const tables = mappings.map((mapping) => mapping.table);
    const known = this.guard(() => readCapture(this.writer)?.ids ?? new Map<string, number>());
    const [first] = this.guard(() => missingTriggers(this.writer, tables, known));
    if (first !== undefined) {
      throw this.unlike("CAPTURE_LOST", `the triggers of ${first} are not in place`);
    }
    this.know(mappings);
  }

  /** The same for a file whose triggers may be gone. @throws CAPTURE_LOST when nothing was ever installed */
  know(mappings: readonly TableMapping[]): void {
    this.guard(() => {
      const version = schemaVersion(this.writer);
      const found = readCapture(this.writer);
      if (!found) throw this.unlike("CAPTURE_LOST", "no change log is installed");
      this.captured = { ...found, fresh: [], version };
      this.accepted = new Set([version]);
      this.followed = mappings.map((mapping) => numbered(mapping, found.ids));
    });
  }

  /**
   * Logs keys as if their rows had been written, so that every reader of the log reads the rows again. A touched key
   * is only a hint. Returns the position that covers them.
   */
  touch(table: string, keys: readonly (readonly SqliteValue[])[]): Position {
    return this.guard(() => {
      const followed = this.followed.find(({ mapping }) => mapping.table.name === table);
      if (!followed) throw new Error(`table ${table} is not followed`);
      return this.log.touch(followed.id, keys);
    });
  }

  position(): Position {
    return this.guard(() => this.log.position());
  }

  async newest(): Promise<Position> {
    return this.position();
  }

  async window(after: Position, scope: Scope): Promise<Window | null> {
    return this.whenReadable(async () => {
      this.checkFile();
      try {
        const to = begin(this.reader);
        this.checkShape(after, to);
        if (to === after && !scope.doubted) return null;
        return await this.read(after, to, scope);
      } finally {
        if (this.reader.inTransaction) this.reader.exec("ROLLBACK");
      }
    });
  }

  async snapshot(readers: number): Promise<Snapshot> {
    return this.whenReadable(async () => {
      this.checkFile();
      this.openReaders(readers);
      const snapshot = await pin(this.reader, this.readers.slice(0, readers), (after, to, scope) =>
        this.read(after, to, scope),
      );
      try {
        this.checkShape(0, snapshot.position);
      } catch (error) {
        await snapshot.release();
        throw error;
      }
      return snapshot;
    });
  }

  /** Splits a table into ranges that together cover every present and future row. */
  rangesOf(table: Table): Range[] {
    const rowsPerRange = this.briefReads ? BRIEF_RANGE_ROWS : RANGE_ROWS;
    return this.guard(() => cutRanges(this.writer, table, this.estimateOf(table), rowsPerRange));
  }

  estimateOf(table: Table): number {
    return this.guard(() => estimateRows(this.writer, table));
  }

  strained(): boolean {
    return this.walBytes() > WAL_BYTES;
  }

  walBytes(): number {
    return statSync(`${this.file}-wal`, { throwIfNoEntry: false })?.size ?? 0;
  }

  /** Rows in the change log, whether applied or not. */
  logRows(): number {
    return this.guard(() => this.log.rows());
  }

  async wait(ms: number, signal: AbortSignal): Promise<void> {
    await this.guard(() => this.watch.changed(ms, signal));
  }

  get quietMs(): number {
    return this.watch.quietMs;
  }

  /** Forgets some of the oldest rows of the change log, up to `to`; how many. */
  prune(to: Position): number {
    return this.guard(() => this.log.prune(to));
  }

  async close(): Promise<void> {
    await this.watch.close();
    await this.closeReaders();
    if (this.reader.open) this.reader.close();
    if (this.writer.open) this.writer.close();
  }

  /** Ends the reader threads; they are started again when a snapshot needs them. */
  async closeReaders(): Promise<void> {
    const readers = this.readers;
    this.readers = [];
    await Promise.all(readers.map((reader) => reader.close()));
  }

  private whenReadable<T>(work: () => Promise<T>): Promise<T> {
    return this.guard(() => (this.briefReads ? whenReadable(work) : work()));
  }

  private openReaders(count: number): void {
    const mappings = Object.fromEntries(
      this.followed.map(({ mapping }) => [mapping.table.name, JSON.stringify(mappingToJson(mapping))]),
    );
    const patienceMs = this.briefReads ? READ_TRY_MS : null;
    while (this.readers.length < count)
      this.readers.push(new Reader({ file: this.file, mappings, patienceMs }));
  }

  markAt(position: Position): string {
    return this.guard(() => markAt(this.writer, position));
  }

  /** The log's end at an applied position, for comparison with the next window. */
  remember(position: Position, mark: string | null): void {
    this.marked = mark === null ? null : { position, mark };
  }

  private read(after: Position, to: Position, scope: Scope): Promise<Window> {
    // Where an open read blocks the application, the window is read without a pause.
    const breathe = this.briefReads
      ? async () => {}
      : () => new Promise<void>((resolve) => setImmediate(resolve));
    return readWindow(this.reader, this.followed, scope, after, to, breathe);
  }

  /** Within a read transaction: checks that the file, its shape and its log are still those that were captured. */
  private checkShape(after: Position, to: Position): void {
    if (!this.accepted.has(schemaVersion(this.reader))) {
      const found = readCapture(this.reader)?.identity;
      if (found !== this.identity)
        throw this.unlike("SQLITE_REPLACED", "it is not the file that was captured: its identity is another");
      throw new SourceChanged();
    }
    const fault = logFault(this.reader, after, to, this.marked);
    if (fault) throw this.unlike(fault.code, fault.what);
  }

  private checkFile(): void {
    const now = performance.now();
    if (now - this.statedAtMs < STAT_MS) return;
    this.statedAtMs = now;
    this.place.assertSame();
  }

  private unlike(code: ErrorCode, what: string): SwitchbackError {
    return new SwitchbackError(code, `${this.file}: ${what}`, { source: this.name, file: this.file });
  }

  private guard<T>(work: () => T): T {
    const fail = (error: unknown): never => {
      throw error instanceof SourceChanged
        ? error
        : sqliteError(error, { source: this.name, file: this.file });
    };
    try {
      const done = this.briefReads ? untilFree(4 * this.patienceMs, work) : work();
      return done instanceof Promise ? (done.catch(fail) as T) : done;
    } catch (error) {
      return fail(error);
    }
  }
}

/** A mapped table under its number in the log. */
function numbered(mapping: TableMapping, ids: ReadonlyMap<string, number>) {
  return { mapping, id: present(ids.get(mapping.table.name), `captured table ${mapping.table.name}`) };
}
