// The application's SQLite file as a target, while PostgreSQL has the writes: windows of changes, each
// applied in one transaction together with its position (I1, I2). It owns the connection, the transaction,
// the record of the file's owner, and the quarantine; table-writer.ts writes the rows.
//
// A row in `_switchback_applying`, inserted and deleted within the transaction, lets its writes pass the
// fence and keeps them out of the log.
import { setImmediate as nextTurn } from "node:timers/promises";
import Database from "better-sqlite3";
import { SwitchbackError, type Where } from "../../errors.js";
import type { TableMapping } from "../../mapping/mapping.js";
import type {
  Applied,
  EncodedRow,
  KeysByTable,
  Position,
  RefusedRow,
  TableWindow,
  Target,
  Window,
} from "../../protocol/contract.js";
import { type LockWait, retryOnLock } from "../../retry.js";
import type { Table } from "../../schema/model.js";
import { triggeredTables } from "../app-triggers.js";
import { isKnownSchema, missingTriggers, readCapture, recordSchema } from "../capture/install.js";
import { openSqlite, sqliteError } from "../connection.js";
import { FileIdentity } from "../file-identity.js";
import { durableCommits, isBusy } from "../transaction.js";
import { carriedBeyond, remember, Touched } from "./applied-windows.js";
import { rowBatches } from "./row-batches.js";
import { type TableQuarantine, TableReplay } from "./table-writer.js";

/** Waits for a lock in short steps, between which the event loop runs. */
const BUSY_STEP_MS = 250;
/** One attempt to claim the file; waiting for a lock blocks this process. */
const CLAIM_BUSY_MS = 50;
const BUSY_PAUSE_MS = 20;
/** Longer than any reader of a rollback-journal file should take. */
const BUSY_MAX_MS = 10_000;
const LOCK_WAIT: LockWait = { locked: isBusy, pauseMs: () => BUSY_PAUSE_MS, waitMaxMs: BUSY_MAX_MS };

export class SqliteTarget implements Target {
  private readonly db: Database.Database;
  private readonly where: Where;
  private readonly tables = new Map<string, TableReplay>();
  private readonly mappings: ReadonlyMap<string, TableMapping>;
  private readonly place: FileIdentity;
  /** The position that this sidecar itself brought the file to; null before the claim. */
  private reached: Position | null = null;

  private readonly begin = () => this.db.exec("BEGIN IMMEDIATE");
  /** In rollback-journal mode readers block a COMMIT; it may be repeated, and new readers wait for it. */
  private readonly commit = () => this.db.exec("COMMIT");

  /** @throws SwitchbackError as openSqlite */
  constructor(
    source: string,
    file: string,
    private readonly owner: string,
    mappings: readonly TableMapping[],
  ) {
    this.where = { source, file };
    this.place = new FileIdentity({ source, file });
    this.mappings = new Map(mappings.map((mapping) => [mapping.table.name, mapping]));
    this.db = openSqlite(file, { readonly: false });
    // Foreign key actions have run in PostgreSQL already; running them here again would change other rows.
    this.db.pragma("foreign_keys = OFF");
    // PostgreSQL deletes the changes once they are committed here.
    durableCommits(this.db);
    // Rows that wait for a unique value must not fill the memory.
    this.db.pragma("temp_store = FILE");
  }

  /**
   * Takes the file over for this owner: the previous owner can no longer write to it. Returns the position
   * that it has reached.
   * @throws SwitchbackError NOT_INSTALLED, SQLITE_BUSY
   */
  claim(): Position {
    this.db.pragma(`busy_timeout = ${CLAIM_BUSY_MS}`);
    try {
      const position = this.db
        .prepare("UPDATE _switchback_position SET owner = ? RETURNING position")
        .pluck()
        .get(this.owner);
      if (position === undefined) {
        throw new SwitchbackError("NOT_INSTALLED", "the file has no record of a position", this.where);
      }
      this.reached = Number(position);
      return this.reached;
    } catch (error) {
      throw this.explained(error);
    }
  }

  /** As `claim`, for a file that others may lock for some time: the event loop keeps running. */
  claimPatiently(): Promise<Position> {
    return retryOnLock(() => this.claim(), LOCK_WAIT);
  }

  /**
   * Applies a window in one transaction. Rows that SQLite cannot hold go to quarantine; they do not fail the
   * window.
   * @throws SwitchbackError POSITION_CONFLICT when another owner took the file over, SQLITE_REPLACED when another
   *   file stands in its place, SQLITE_BUSY when a lock was not to be had, and others of connection.ts; the file is
   *   then as it was
   */
  async apply(window: Window): Promise<Applied> {
    this.place.assertSame();
    this.db.pragma(`busy_timeout = ${BUSY_STEP_MS}`);
    try {
      await retryOnLock(this.begin, LOCK_WAIT);
      this.advance(window.to);
      this.db.exec("INSERT INTO _switchback_applying VALUES (1)");
      const quarantine = new Quarantine(this.db, this.quarantined());
      const touched = new Touched();
      for (const table of window.tables) await this.applyTable(table, quarantine, touched);
      remember(this.db, window, touched);
      this.db.exec("DELETE FROM _switchback_applying");
      await retryOnLock(this.commit, LOCK_WAIT);
      this.reached = window.to;
      return { refused: quarantine.refused, released: quarantine.released };
    } catch (error) {
      if (this.db.inTransaction) this.db.exec("ROLLBACK");
      throw this.explained(error);
    }
  }

  /**
   * Checks whether other programs changed the file's schema since it became a copy; the fence cannot refuse
   * that. Returns the tables whose rows may be affected, and why; `acceptSchema` records the schema as known.
   * @throws SwitchbackError SQLITE_REPLACED
   */
  disturbed(): { readonly table: string; readonly reason: string }[] | null {
    this.assertHeld();
    try {
      if (isKnownSchema(this.db)) return null;
      const tables = [...this.mappings.values()].map(({ table }) => table);
      const recreated = missingTriggers(this.db, tables, readCapture(this.db)?.ids ?? new Map());
      const triggered = triggeredTables(this.db);
      const found = (table: Table) => {
        if (recreated.has(table.name)) return "was created again in SQLite";
        if (triggered.has(table.name.toLowerCase()))
          return "has a trigger in SQLite that another program made";
        return table.key.kind === "rowid" ? "may have been given other rowids by VACUUM in SQLite" : null;
      };
      return tables.flatMap((table) => {
        const what = found(table);
        return what === null ? [] : [{ table: table.name, reason: `the table ${table.name} ${what}` }];
      });
    } catch (error) {
      throw this.explained(error);
    }
  }

  acceptSchema(): void {
    this.db.pragma(`busy_timeout = ${BUSY_STEP_MS}`);
    try {
      this.db.transaction(() => recordSchema(this.db)).immediate();
    } catch (error) {
      throw this.explained(error);
    }
  }

  /** As `carriedBeyond`, of this file. */
  carriedBeyond(position: Position, mark: string): KeysByTable | null {
    return carriedBeyond(this.db, position, mark);
  }

  /** Rows in quarantine, per table. */
  quarantined(): Map<string, number> {
    const rows = this.db
      .prepare("SELECT table_name, count(*) FROM _switchback_quarantine GROUP BY table_name")
      .raw()
      .all() as [string, bigint][];
    return new Map(rows.map(([table, count]) => [table, Number(count)]));
  }

  close(): void {
    this.db.close();
  }

  private advance(to: Position): void {
    const { changes } = this.db
      .prepare(
        "UPDATE _switchback_position SET position = ? WHERE owner = ? AND position = ifnull(?, position)",
      )
      .run(to, this.owner, this.reached);
    if (changes === 0) throw this.strayed();
  }

  /**
   * Verifies that the file is as this sidecar left it. @throws SwitchbackError SPLIT for a restored backup,
   * POSITION_CONFLICT when another owner took the file over, SQLITE_REPLACED
   */
  assertHeld(): void {
    this.place.assertSame();
    try {
      const held = this.db
        .prepare("SELECT 1 FROM _switchback_position WHERE owner = ? AND position = ifnull(?, position)")
        .get(this.owner, this.reached);
      if (held === undefined) throw this.strayed();
    } catch (error) {
      throw this.explained(error);
    }
  }

  /** Another sidecar only ever advances the file, and leaves it closed or opens it under a later epoch. */
  private strayed(): SwitchbackError {
    const found = this.db.prepare("SELECT position FROM _switchback_position").pluck().get();
    const closed = this.db.prepare("SELECT 1 FROM _switchback_fenced").get() !== undefined;
    if (closed && Number(found) >= (this.reached ?? 0))
      return new SwitchbackError(
        "POSITION_CONFLICT",
        "another sidecar took the SQLite file over",
        this.where,
      );
    return new SwitchbackError(
      "SPLIT",
      `${this.where.file} holds ${found} of PostgreSQL's changes, but ${this.reached} were carried to it: a backup was put back`,
      this.where,
    );
  }

  private async applyTable(window: TableWindow, quarantine: Quarantine, touched: Touched): Promise<void> {
    const replay = this.replay(window.table);
    replay.reset();
    const naming = quarantine.has(window.table);
    for (const key of window.touched) quarantine.leave(window.table, key);
    for (const row of window.refused) quarantine.refuse(row);
    for await (const keys of rowBatches(window.gone)) {
      for (const key of keys) {
        if (naming) quarantine.leaveAll(window.table, replay.namesOf(key));
        replay.remove(key);
        touched.add(window.table, key);
      }
      await nextTurn();
    }
    replay.keepNumbers();
    for await (const rows of rowBatches(window.rows)) {
      for (const row of rows) {
        this.applyRow(replay, row, naming, quarantine);
        touched.add(window.table, replay.keyOf(row));
      }
      await nextTurn();
    }
    await replay.place(quarantine.of(window.table), () => nextTurn());
  }

  private applyRow(replay: TableReplay, row: EncodedRow, naming: boolean, quarantine: Quarantine): void {
    if (naming) quarantine.leaveAll(replay.table, replay.namesOf(replay.keyOf(row)));
    const fault = replay.write(row);
    if (fault === null) return;
    quarantine.refuse({ table: replay.table, key: replay.nameOf(replay.keyOf(row)), ...fault });
  }

  private replay(table: string): TableReplay {
    const ready = this.tables.get(table);
    if (ready) return ready;
    const mapping = this.mappings.get(table);
    if (!mapping) throw new Error(`table ${table} has no mapping`);
    const made = new TableReplay(this.db, mapping, this.tables.size);
    this.tables.set(table, made);
    return made;
  }

  /** SQLite's error, for the operator; errors of the window's reader pass unchanged. */
  private explained(error: unknown): unknown {
    return error instanceof Database.SqliteError ? sqliteError(error, this.where) : error;
  }
}

/** The rows that enter and leave quarantine during a window, in the file and for the caller. */
class Quarantine {
  readonly refused: RefusedRow[] = [];
  readonly released = new Map<string, number>();
  private readonly leaving: Database.Statement<unknown[]>;
  private readonly entering: Database.Statement<unknown[]>;
  private readonly looking: Database.Statement<unknown[]>;

  constructor(
    db: Database.Database,
    private readonly before: ReadonlyMap<string, number>,
  ) {
    this.leaving = db.prepare("DELETE FROM _switchback_quarantine WHERE table_name = ? AND key = ?");
    this.looking = db.prepare("SELECT 1 FROM _switchback_quarantine WHERE table_name = ? AND key = ?");
    this.entering = db.prepare("INSERT INTO _switchback_quarantine VALUES (?, ?, ?, ?)");
  }

  /** True when rows of the table were in quarantine before the window. */
  has(table: string): boolean {
    return (this.before.get(table) ?? 0) > 0;
  }

  /** One table's part, as it is at the moment of asking. */
  of(table: string): TableQuarantine {
    return {
      isEmpty: () => !this.has(table) && !this.refused.some((row) => row.table === table),
      holds: (key) => this.looking.get(table, key) !== undefined,
      refuse: (row) => this.refuse(row),
    };
  }

  leave(table: string, key: string): void {
    const { changes } = this.leaving.run(table, key);
    if (changes > 0) this.released.set(table, (this.released.get(table) ?? 0) + changes);
  }

  leaveAll(table: string, names: readonly string[]): void {
    for (const name of names) this.leave(table, name);
  }

  /** A key is in quarantine once. */
  refuse(row: RefusedRow): void {
    this.leave(row.table, row.key);
    this.entering.run(row.table, row.key, row.column, row.reason);
    this.refused.push(row);
  }
}
