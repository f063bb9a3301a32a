// The SQLite files' gate for the application's writes, all files of one target together.
//
// The fence's triggers (fence.ts) are made beforehand, and a row closes the gate. So closing and opening change no
// schema and keep no application waiting for it to be parsed again. The row's table is read by every write; the
// message names the epoch that closes it. Our own writes pass: see _switchback_applying in
// sql/sqlite/migrations/0001_records.sql.
//
// A closed gate has an owner: the sidecar that closed it, or took it over to recover (`_switchback_position`). A
// sidecar that was frozen or cut off while another took over finds its gate under another owner and leaves it alone.
//
// While the writes are in the other store, the application's own triggers on captured tables are kept, word for word,
// in a table of ours. What they would do was already done where the write was made.
import { open as openFile } from "node:fs/promises";
import type Database from "better-sqlite3";
import { SwitchbackError } from "../errors.js";
import { at, only, present } from "../present.js";
import { type Gate, type IdCeilings, type Position, SourceChanged } from "../protocol/contract.js";
import type { Table } from "../schema/model.js";
import { sql } from "../sql-files.js";
import { restoreTriggers, suspendTriggers } from "./app-triggers.js";
import { raiseIdCeiling } from "./autoincrement.js";
import {
  areTriggersCurrent,
  isKnownSchema,
  recordSchema,
  recordStep,
  schemaVersion,
  upgradeTriggers,
} from "./capture/install.js";
import { closeStore } from "./close/close.js";
import { openSqlite, sqliteError } from "./connection.js";
import { isFencePrepared, prepareFence, prepareTableFences } from "./fence.js";
import { isCurrent, migrateSqlite } from "./migrate.js";
import { isRecorded, leaveCopies, type RecordedPair, recordPair } from "./pair.js";
import type { SqliteSource } from "./source/source.js";
import { durableCommits, withWriteLock } from "./transaction.js";

/** Opening again and recording are never given up; this long they may wait for a lock before they say so. */
const PATIENCE_MS = 30_000;

/** Triggers of the fence created in one transaction: the application's writes wait for each. */
const FENCE_TRIGGERS = 40;

/** What a file records about its state. */
interface FileGate {
  readonly closed: boolean;
  readonly epoch: number;
  /** How far the file has come as a copy of the other store. */
  readonly position: Position;
}

interface File {
  readonly source: SqliteSource;
  readonly db: Database.Database;
}

export class SqliteGate implements Gate {
  readonly decides = false;
  private readonly files: readonly File[];

  constructor(
    sources: readonly SqliteSource[],
    private readonly owner: string,
  ) {
    this.files = sources.map((source) => {
      const db = openSqlite(source.file, { readonly: false });
      // A gate that a power cut could open or close again would be none.
      durableCommits(db);
      return { source, db };
    });
  }

  states(): FileGate[] {
    return this.files.map((file) => guard(file, () => readGate(file.db)));
  }

  /** Takes closed gates over from the sidecar that closed them; must come before the other store's record is read. */
  async claim(): Promise<void> {
    for (const file of this.files) {
      // An open gate has no owner, and the application is spared a commit of ours.
      if (!guard(file, () => readGate(file.db)).closed) continue;
      await this.one(file, patience(), ({ db }) => {
        db.prepare("UPDATE _switchback_position SET owner = ?").run(this.owner);
      });
    }
  }

  /**
   * Brings the files' records to the present version, whichever store has the writes. In a file that is a copy also
   * the triggers of the named tables; where SQLite has the writes, capture maintains its own. Only for files of this
   * pair.
   * @throws SwitchbackError RECORDS_NEWER
   */
  async upgrade(tables: ReadonlyMap<string, readonly Table[]> = new Map()): Promise<void> {
    for (const file of this.files) {
      const captured = tables.get(file.source.name) ?? [];
      if (guard(file, () => isUpgraded(file.db, captured))) continue;
      await this.one(file, patience(), ({ db, source }) => {
        const { closed } = readGate(db);
        // While the file is a copy, a change of its schema that the sidecar does not know yet must stay unknown.
        if (closed && !isKnownSchema(db)) migrateSqlite(db);
        else
          changeSchema(db, source, () => {
            migrateSqlite(db);
            if (!closed) return;
            upgradeTriggers(db, captured);
            prepareTableFences(db);
          });
      });
    }
  }

  /** Records which database the files belong to and, when told, an epoch that they have not reached. */
  async belong(pair: RecordedPair, epoch = 0): Promise<void> {
    for (const file of this.files) {
      if (guard(file, () => isRecorded(file.db, pair) && readGate(file.db).epoch >= epoch)) continue;
      await this.one(file, patience(), ({ db }) => {
        recordPair(db, pair);
        db.prepare("UPDATE _switchback_route SET epoch = ? WHERE epoch < ?").run(epoch, epoch);
      });
    }
  }

  /** Every copy of the files is given up: see pair.ts. */
  async leaveCopies(): Promise<void> {
    await this.each(patience(), ({ db }) => leaveCopies(db));
  }

  async prepare(epoch: number): Promise<void> {
    for (const file of this.files) {
      while (!guard(file, () => isFencePrepared(file.db, epoch))) {
        await this.one(file, patience(), ({ db, source }) => {
          changeSchema(db, source, () => {
            migrateSqlite(db);
            prepareFence(db, epoch, FENCE_TRIGGERS);
          });
        });
      }
    }
  }

  /**
   * Waits until the files can be written to, so that the other store is not let go while another process holds a lock
   * here. What the application has not made durable yet is, so that the next commit has less to wait for.
   */
  async reserve(signal: AbortSignal): Promise<void> {
    await this.each(signal, ({ db, source }) => {
      source.place.assertSame();
      // What VACUUM or DDL did to the copy must be checked first.
      if (!isKnownSchema(db)) throw changedSchema(source);
    });
    for (const { source } of this.files) {
      const wal = await openFile(`${source.file}-wal`, "r+").catch(() => null);
      await wal?.datasync().catch(() => {});
      await wal?.close();
    }
  }

  abandon(): void {
    // Nothing was taken.
  }

  async close(epoch: number, signal: AbortSignal): Promise<number> {
    let since = Number.POSITIVE_INFINITY;
    await this.each(signal, ({ db, source }) => {
      since = Math.min(since, performance.now());
      if (!source.accepts(schemaVersion(db))) throw new SourceChanged();
      const state = readGate(db);
      if (state.closed || state.epoch !== epoch - 1) throw gateTaken(source);
      db.exec("INSERT INTO _switchback_fenced VALUES (1)");
      db.prepare("UPDATE _switchback_position SET owner = ?").run(this.owner);
      setRoute(db, "paused", state.epoch);
    });
    return since;
  }

  /** Closes immediately, in any state of the file: for a file that must not be written to. */
  async closeAnyway(index: number, epoch: number): Promise<void> {
    const file = at(this.files, index, "SQLite file");
    await withWriteLock(file.db, patience(), () => closeStore(file.db, epoch, []));
  }

  async reopen(epoch: number): Promise<void> {
    await this.each(patience(), ({ db, source }) => {
      const state = readGate(db);
      if (!state.closed) return;
      this.assertOwner(db, source);
      if (state.epoch !== epoch) throw gateTaken(source);
      db.exec("DELETE FROM _switchback_fenced");
      setRoute(db, "sqlite", epoch);
    });
  }

  async marks(): Promise<IdCeilings> {
    return new Map(this.files.map((file) => [file.source.name, guard(file, () => readIdCeilings(file))]));
  }

  async open(epoch: number, marks: IdCeilings): Promise<void> {
    await this.each(patience(), ({ db, source }) => {
      this.assertOwner(db, source);
      changeSchema(db, source, () => restoreTriggers(db));
      // A source whose numbers the other store never gave out is not among the marks.
      const mine = marks.get(source.name) ?? new Map<string, bigint>();
      for (const table of source.captures.filter(({ autoincrement }) => autoincrement)) {
        const mark = mine.get(table.name);
        if (mark !== undefined) raiseIdCeiling(db, table.name, mark);
      }
      setRoute(db, "sqlite", epoch);
      db.exec("DELETE FROM _switchback_fenced");
    });
  }

  async left(epoch: number): Promise<void> {
    await this.each(patience(), ({ db, source }) => {
      this.assertOwner(db, source);
      changeSchema(db, source, () =>
        suspendTriggers(
          db,
          source.captures.map(({ name }) => name),
        ),
      );
      recordSchema(db);
      setRoute(db, "postgres", epoch);
    });
  }

  dispose(): void {
    for (const { db } of this.files) db.close();
  }

  private async each(signal: AbortSignal, work: (file: File) => void): Promise<void> {
    for (const file of this.files) await this.one(file, signal, work);
  }

  private async one(file: File, signal: AbortSignal, work: (file: File) => void): Promise<void> {
    try {
      await withWriteLock(file.db, signal, () => work(file));
    } catch (error) {
      if (error instanceof SourceChanged) throw error;
      const where = { source: file.source.name, file: file.source.file };
      if (signal.aborted) throw new SwitchbackError("SQLITE_BUSY", (error as Error).message, where);
      throw sqliteError(error, where);
    }
  }

  private assertOwner(db: Database.Database, source: SqliteSource): void {
    const mine = db.prepare("SELECT 1 FROM _switchback_position WHERE owner = ?").get(this.owner);
    if (mine === undefined || !readGate(db).closed) throw gateTaken(source);
  }
}

function gateTaken({ name, file }: SqliteSource): SwitchbackError {
  return new SwitchbackError("POSITION_CONFLICT", `another sidecar has taken over ${file}`, {
    source: name,
    file,
  });
}

function changedSchema({ name, file }: SqliteSource): SwitchbackError {
  return new SwitchbackError("SCHEMA_CHANGED", `${file} was vacuumed or given another schema meanwhile`, {
    source: name,
    file,
  });
}

function patience(): AbortSignal {
  const stop = new AbortController();
  setTimeout(() => stop.abort(new Error(`gave up after ${PATIENCE_MS / 1_000} s`)), PATIENCE_MS).unref();
  return stop.signal;
}

function guard<T>({ source }: File, work: () => T): T {
  try {
    return work();
  } catch (error) {
    throw sqliteError(error, { source: source.name, file: source.file });
  }
}

/** True when nothing is to be done; an open file's triggers are capture's business. */
function isUpgraded(db: Database.Database, tables: readonly Table[]): boolean {
  if (!isCurrent(db)) return false;
  return !readGate(db).closed || !isKnownSchema(db) || areTriggersCurrent(db, tables);
}

function readGate(db: Database.Database): FileGate {
  const rows = db.prepare(sql("sqlite/gate-state")).all() as {
    closed: bigint;
    epoch: bigint;
    position: bigint | null;
  }[];
  const { closed, epoch, position } = only(rows, `route in ${db.name}`);
  const reached = present(position, `position in ${db.name}`);
  return { closed: closed === 1n, epoch: Number(epoch), position: Number(reached) };
}

function setRoute(db: Database.Database, writes: string, epoch: number): void {
  const { changes } = db.prepare("UPDATE _switchback_route SET writes = ?, epoch = ?").run(writes, epoch);
  if (changes !== 1) throw new Error(`expected one route in ${db.name}, found ${changes}`);
}

/** Runs a change of ours to the schema so that it is known for ours, also after a crash. */
function changeSchema(db: Database.Database, source: SqliteSource, work: () => void): void {
  const before = schemaVersion(db);
  work();
  const after = schemaVersion(db);
  if (after === before) return;
  recordStep(db, before, after);
  if (source.accepts(before)) source.accept(after);
}

function readIdCeilings({ source, db }: File): Map<string, bigint> {
  const counted = source.captures.filter(({ autoincrement }) => autoincrement).map(({ name }) => name);
  if (counted.length === 0) return new Map();
  const rows = db.prepare("SELECT name, seq FROM sqlite_sequence").all() as { name: string; seq: unknown }[];
  // Anybody may write anything into sqlite_sequence; what is no number says nothing.
  return new Map(
    rows.flatMap(({ name, seq }) => (typeof seq === "bigint" && counted.includes(name) ? [[name, seq]] : [])),
  );
}
