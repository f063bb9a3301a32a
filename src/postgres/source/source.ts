// PostgreSQL as a source of reverse replication: the sessions that read it, when to read, and the position. window.ts
// reads a window, ../capture.ts fills the log.
//
// In reverse replication a position is a count: how many of PostgreSQL's changes of this source were applied to the
// file. It is stored in PostgreSQL and moves in the transaction that takes the changes out of the log.
import type pg from "pg";
import type { PostgresConfig } from "../../config/config.js";
import { SwitchbackError } from "../../errors.js";
import { at, only } from "../../present.js";
import type { KeysByTable, Position, Scope, Source, Window } from "../../protocol/contract.js";
import { WakeableSleep } from "../../retry.js";
import { sql } from "../../sql-files.js";
import type { CapturedTable } from "../capture.js";
import { cancelStatements, connectPostgres, isDataError, postgresError } from "../connection.js";
import { setAside } from "../copy-doubts.js";
import { qualifiedName } from "../target/merge.js";
import { countStrange, type TableReading } from "./queries.js";
import { readNarrow, readWide, UnreadableKey, type WindowRequest } from "./window.js";

const NEWEST = sql("postgres/newest");
const LOOK: pg.QueryConfig = {
  name: "switchback_look",
  text: "SELECT EXISTS (SELECT FROM switchback.change WHERE t = ANY ($1::int[])) AS some",
};
/** How often an idle source polls: a twentieth of the time that it has been idle, within these limits. */
const LOOK_MS_MIN = 2;
const LOOK_MS_MAX = 20;
/**
 * After this idle time it sleeps: the next write notifies it, and it still polls now and then in case one did not.
 * Under load there are no notifications, because commits that notify queue for one lock.
 */
const SLEEP_AFTER_MS = 1_000;
const SLEEPING_LOOK_MS = 250;
const SLEEP = "INSERT INTO switchback.sleeper (source) VALUES ($1) ON CONFLICT DO NOTHING";
const WAKE = "DELETE FROM switchback.sleeper WHERE source = $1";
/** PREPARE TRANSACTION is refused after a NOTIFY: where it is allowed, no session is asked to notify. */
const MAY_SLEEP = "SELECT current_setting('max_prepared_transactions') = '0' AS may";
const SESSION = "SET random_page_cost = 1.1";
/** The log is always read in full: removed rows must not accumulate until the next run of autovacuum. */
const VACUUM_CHANGES = 20_000;
const VACUUM = "VACUUM (SKIP_LOCKED) switchback.change";

export class PostgresSource implements Source {
  private tables: readonly CapturedTable[] = [];
  private readings: ReadonlyMap<number, TableReading> | null = null;
  private open = false;
  private taken = 0;
  private vacuuming: Promise<void> = Promise.resolve();
  /** When there was last something to read. */
  private busyAt = performance.now();
  private asleep = false;
  private readonly nap = new WakeableSleep();

  private constructor(
    private readonly config: PostgresConfig,
    private readonly source: string,
    private readonly owner: string,
    private readonly narrow: pg.Client,
    private readonly wide: pg.Client,
    /** Checks whether there is anything to read, also while a window is open. */
    private readonly watcher: pg.Client,
    private readonly maySleep: boolean,
  ) {
    watcher.on("notification", () => this.nap.nudge());
    watcher.on("end", () => this.nap.nudge());
  }

  /** @throws SwitchbackError POSTGRES_* */
  static async open(config: PostgresConfig, source: string, owner: string): Promise<PostgresSource> {
    const opened: pg.Client[] = [];
    const connect = async (role: string, pipelined: boolean) => {
      const client = await connectPostgres(config, {
        name: `switchback ${role} ${source}`,
        pipeline: pipelined,
      });
      opened.push(client);
      await client.query(SESSION);
      return client;
    };
    try {
      const [narrow, wide] = [await connect("read", true), await connect("read", false)];
      const watcher = await connect("watch", false);
      await watcher.query("LISTEN switchback");
      const { rows } = await watcher.query<{ may: boolean }>(MAY_SLEEP);
      return new PostgresSource(config, source, owner, narrow, wide, watcher, only(rows, "answer").may);
    } catch (error) {
      await Promise.allSettled(opened.map((client) => client.end()));
      throw postgresError(error);
    }
  }

  /** Names the tables whose changes the next windows carry. */
  follow(tables: readonly CapturedTable[]): void {
    this.tables = tables;
    this.readings = null;
  }

  /** The number of changes applied to the file, and of those waiting. */
  async newest(): Promise<Position> {
    try {
      const { rows } = await this.watcher.query<{ newest: string }>(NEWEST, [
        this.source,
        this.tables.map(({ id }) => id),
      ]);
      return Number(only(rows, `record of source ${this.source}`).newest);
    } catch (error) {
      throw postgresError(error);
    }
  }

  /** True when a change of each of these keys waits in the log. */
  async awaits(keys: KeysByTable): Promise<boolean> {
    const readings = [...(await this.readingsOf()).values()];
    try {
      for (const [table, some] of keys) {
        const reading = readings.find(({ mapping }) => mapping.table.name === table);
        if (!reading) return false;
        const { rows } = await this.readable(() =>
          this.wide.query<{ strange: string }>(countStrange(reading), [JSON.stringify(some)]),
        );
        if (Number(only(rows, "count").strange) > 0) return false;
      }
      return true;
    } catch (error) {
      throw postgresError(error);
    }
  }

  /**
   * All captured changes that the file does not have yet, as of PostgreSQL's present state; null when there are none.
   * The window's transaction is open until it is closed, and only one window is open at a time. Nothing is
   * quarantined by the target's scope in this direction.
   * @throws SwitchbackError POSITION_CONFLICT when `after` is not the position, or the owner changed; POSTGRES_*
   */
  async window(after: Position, _scope: Scope): Promise<Window | null> {
    if (this.open) throw new Error("a window is open already");
    this.open = true;
    try {
      const request = { source: this.source, owner: this.owner, after, readings: await this.readingsOf() };
      const window = await this.readable(() => this.read(request));
      if (window) this.busyAt = performance.now();
      else this.open = false;
      return window && { ...window, close: (applied) => this.closeWindow(window, applied) };
    } catch (error) {
      this.open = false;
      throw error;
    }
  }

  /** @throws SwitchbackError POSTGRES_* as soon as the polling session has ended */
  async wait(ms: number, signal: AbortSignal): Promise<void> {
    const ids = this.tables.map(({ id }) => id);
    try {
      for (const until = performance.now() + ms; !signal.aborted; ) {
        const { rows } = await this.watcher.query<{ some: boolean }>({ ...LOOK, values: [ids] });
        const now = performance.now();
        const idleMs = now - this.busyAt;
        if (only(rows, "answer").some) return await this.awake();
        if (now >= until) return;
        if (!this.asleep && this.maySleep && idleMs > SLEEP_AFTER_MS) {
          this.asleep = true;
          await this.watcher.query(SLEEP, [this.source]);
          // Changes that were committed before other sessions could see that this one sleeps.
          continue;
        }
        const lookMs = Math.min(LOOK_MS_MAX, Math.max(LOOK_MS_MIN, idleMs / 20));
        await this.nap.sleep(Math.min(this.asleep ? SLEEPING_LOOK_MS : lookMs, until - now), signal);
      }
    } catch (error) {
      if (!signal.aborted) throw postgresError(error);
    }
  }

  private async awake(): Promise<void> {
    if (!this.asleep) return;
    this.asleep = false;
    await this.watcher.query(WAKE, [this.source]);
  }

  /** Cancels the current statement from a separate session; the statement fails and its transaction with it. */
  cancel(): Promise<void> {
    return cancelStatements(this.config, [this.narrow, this.wide, this.watcher]);
  }

  /** Ends the sessions; a window that is still open is rolled back. */
  async close(): Promise<void> {
    await Promise.allSettled([this.narrow, this.wide, this.watcher].map((client) => client.end()));
  }

  private async read(request: WindowRequest): Promise<Window | null> {
    if (request.readings.size === 0) return null;
    for (;;) {
      const narrow = await readNarrow(this.narrow, request);
      if (narrow === "again") continue;
      if (narrow !== "wide") return narrow;
      await this.vacuuming;
      const wide = await readWide(this.wide, request);
      if (wide !== "again") return wide;
    }
  }

  /** Changes in the log that cannot be read are removed and noted, and the others are read. */
  private async readable<T>(read: () => Promise<T>): Promise<T> {
    try {
      return await read();
    } catch (error) {
      if (!(isDataError(error) || error instanceof UnreadableKey) || !(await this.setUnreadableAside()))
        throw error;
      return read();
    }
  }

  private async setUnreadableAside(): Promise<boolean> {
    let some = false;
    try {
      await this.wide.query("BEGIN; SET LOCAL synchronous_commit = on");
      for (const { id, mapping, keyTypes } of (await this.readingsOf()).values()) {
        const aside = await setAside(this.wide, this.source, { id, table: mapping.table.name, keyTypes });
        some ||= aside;
      }
      await this.wide.query("COMMIT");
      return some;
    } catch (error) {
      await this.wide.query("ROLLBACK").catch(() => {});
      throw postgresError(error);
    }
  }

  private async closeWindow(window: Window, applied: boolean): Promise<void> {
    try {
      await window.close(applied);
    } finally {
      this.open = false;
    }
    if (!applied) return;
    this.taken += window.changes;
    if (this.taken < VACUUM_CHANGES) return;
    this.taken = 0;
    // Not awaited; if it fails, autovacuum does the same.
    this.vacuuming = this.vacuuming
      .then(() => this.wide.query(VACUUM))
      .then(
        () => {},
        () => {},
      );
  }

  /** How the followed tables are read; queried once. */
  private async readingsOf(): Promise<ReadonlyMap<number, TableReading>> {
    if (this.readings) return this.readings;
    const { tables } = this;
    const columns = tables.flatMap(({ mapping }) =>
      mapping.key.map(({ target }) => ({ place: qualifiedName(mapping), name: target })),
    );
    try {
      const { rows } = await this.wide.query<{ type: string }>(sql("postgres/key-types"), [
        columns.map(({ place }) => place),
        columns.map(({ name }) => name),
      ]);
      if (rows.length !== columns.length) {
        throw new SwitchbackError("TARGET_MISMATCH", "a followed table has lost a column of its key");
      }
      let place = 0;
      const readings = tables.map(({ id, mapping }): [number, TableReading] => {
        const keyTypes = mapping.key.map(() => at(rows, place++, "type of a key column").type);
        return [id, { id, mapping, keyTypes }];
      });
      this.readings = new Map(readings);
      return this.readings;
    } catch (error) {
      throw postgresError(error);
    }
  }
}
