// PostgreSQL's gate for the application's writes, for every source of this database together. It owns the fence's
// body, the route, and what is present only while applications write: foreign keys, sequences, triggers and capture.
// Its record decides who has the writes.
//
// Two sessions. One closes, reopens and records; statements on it are answered in order, so that what was given
// up is undone after it. The other holds the flip's one transaction and is cut off when the flip is given up:
// what was not committed then never will be.
import type pg from "pg";
import type { PostgresConfig } from "../config/config.js";
import { SwitchbackError } from "../errors.js";
import type { TableMapping } from "../mapping/mapping.js";
import { present } from "../present.js";
import type { Gate, IdCeilings } from "../protocol/contract.js";
import { pause, untilAborted } from "../retry.js";
import { sql } from "../sql-files.js";
import { installPostgresCapture, suspendCapture } from "./capture.js";
import {
  allAnswered,
  connectPostgres,
  endNow,
  pipelined,
  postgresError,
  retryTransaction,
} from "./connection.js";
import { keepForeignKeys, suspendAll, suspendedStatements } from "./ddl/constraints.js";
import { assertOwner, beginDurable, commitOrDoubt, FlipTransaction, setRoute } from "./gate-transaction.js";

import { closedFence, type FollowedTable, Records } from "./records.js";
import { alignSequences, readIdCeilings, readSequences, type Sequence } from "./sequences.js";
import { qualifiedName } from "./target/merge.js";
import type { PostgresTarget } from "./target/target.js";
import { assertGuarded, isCapturing, isDisturbed } from "./trigger-check.js";

/** A lock that is not free soon is tried again later: a session that queues behind us must not wait long. */
const LOCK_MS = 50;
const LOCK_PAUSE_MS = 100;
/** A transaction that writes for longer than this may end before the gate closes. */
const LONG_WRITER_MS = 25;
/** With the gate closed the last ones are waited for no longer than this; then it opens again for a while. */
const CLOSED_MS = 250;
const WRITER_LOOK_MS = 1;
/** A second or two of trying deserves a word. */
const NOTICE_TRIES = 10;

interface GateSource {
  readonly name: string;
  readonly tables: readonly FollowedTable[];
}

export class PostgresGate implements Gate {
  readonly decides = true;
  private flip: FlipTransaction | null = null;
  private sequences: readonly Sequence[] = [];
  private suspended: readonly string[] = [];
  private aligned = new Map<string, bigint>();
  private readonly touched = new Map<string, Set<string>>();
  private readonly targets = new Map<string, PostgresTarget>();
  /** What was last begun on the first session and may have been given up. */
  private begun: Promise<unknown> = Promise.resolve();

  private constructor(
    private readonly config: PostgresConfig,
    private readonly owner: string,
    private readonly sources: readonly GateSource[],
    private readonly client: pg.Client,
  ) {}

  static async open(
    config: PostgresConfig,
    owner: string,
    sources: readonly GateSource[],
  ): Promise<PostgresGate> {
    return new PostgresGate(
      config,
      owner,
      sources,
      await connectPostgres(config, { name: "switchback gate" }),
    );
  }

  /** Where a source's windows are applied: within the flip's transaction, from `reserve` on. */
  feed(source: string, target: PostgresTarget): void {
    this.targets.set(source, target);
  }

  async prepare(): Promise<void> {
    await this.guard(async () => {
      const records = new Records(this.client);
      for (const { name, tables } of this.sources) {
        await installPostgresCapture(this.client, tables);
        await keepForeignKeys(records, name, tables);
      }
      this.sequences = await readSequences(this.client, this.mappings());
    });
  }

  async reserve(signal: AbortSignal): Promise<void> {
    await this.guard(async () => {
      const client = await connectPostgres(this.config, { name: "switchback flip" });
      const flip = new FlipTransaction(client);
      this.flip = flip;
      this.suspended = await suspendedStatements(new Records(client), this.names);
      await this.lock(client, this.suspended.length > 0, signal);
      await assertOwner(client, this.names, this.owner);
      this.aligned = await alignSequences(client, this.sequences, new Map());
      for (const [name, target] of this.targets) {
        const tables = new Set<string>();
        this.touched.set(name, tables);
        target.join(flip, tables);
      }
    });
  }

  abandon(): void {
    for (const target of this.targets.values()) target.leave();
    this.flip?.abandon();
    this.flip = null;
  }

  async open(epoch: number, marks: IdCeilings, signal?: AbortSignal): Promise<void> {
    const { flip } = this;
    if (!flip) throw new Error("open before reserve");
    // Every answer that is waited for is a part of the pause. The commit has an answer of its own: until it is sent, the
    // flip can be taken back.
    const statements = this.guard(() => flip.together((client) => this.sendOpening(client, epoch, marks)));
    await (signal ? untilAborted(signal, statements) : statements);
    signal?.throwIfAborted();
    await commitOrDoubt(flip.client);
    for (const target of this.targets.values()) target.leave();
    this.flip = null;
    // Ending the session takes milliseconds that no caller must wait for.
    void flip.client.end().catch(() => {});
  }

  private async sendOpening(client: pg.Client, epoch: number, marks: IdCeilings): Promise<void> {
    const stale = this.sequences.filter(({ source, table, sequence }) => {
      const mark = present(marks.get(source), `marks of ${source}`).get(table) ?? 0n;
      const touched = present(this.touched.get(source), `target of ${source}`);
      return touched.has(table) || mark > present(this.aligned.get(sequence), `place of ${sequence}`);
    });
    const sent: Promise<unknown>[] = [
      alignSequences(client, stale, marks),
      client.query([...this.suspended, sql("postgres/fence-open")].join(";\n")),
    ];
    if (this.suspended.length > 0)
      sent.push(client.query("DELETE FROM switchback.suspended WHERE source = ANY ($1)", [this.names]));
    sent.push(
      setRoute(client, "durable", { writes: "postgres", epoch }, { writes: "sqlite", epoch: epoch - 1 }),
    );
    await allAnswered(sent);
  }

  /**
   * The closed body refuses every statement from its commit on, also in transactions that began earlier; those that
   * wrote before hold their locks until they end, and are waited for. No lock is asked for, so no session queues
   * behind us or deadlocks with us. A transaction that takes long is waited for with the gate open.
   */
  async close(epoch: number, signal: AbortSignal): Promise<number> {
    const closed = this.guard(async () => {
      await assertGuarded(
        this.client,
        this.sources.flatMap(({ tables }) => tables),
      );
      this.sequences = await readSequences(this.client, this.mappings());
      // Read once for nothing: a session that never did it would take its time for that in the pause.
      await readIdCeilings(this.client, this.sequences);
      for (;;) {
        await this.outlast(signal, LONG_WRITER_MS);
        signal.throwIfAborted();
        // Needs no disk: if it is lost, so is the decision, whose commit does wait for it.
        await this.client.query("BEGIN; SET LOCAL synchronous_commit = off");
        await assertOwner(this.client, this.names, this.owner);
        await this.client.query(closedFence(epoch));
        const from = { writes: "postgres", epoch: epoch - 1 } as const;
        await setRoute(this.client, "relaxed", { writes: "paused", epoch: epoch - 1 }, from);
        const since = performance.now();
        // The look is sent behind the commit, and so sees every writer that the closed fence let pass.
        const [, left] = await pipelined(this.client, () =>
          allAnswered([this.client.query("COMMIT"), this.writers()]),
        );
        if (await this.outlast(signal, 0, left)) return since;
        await this.openAgain(epoch - 1);
      }
    });
    this.begun = closed.catch(() => {});
    return closed;
  }

  /**
   * Waits until the transactions that write now, or those given, have ended. Looks every `everyMs` for as long as it takes;
   * with 0, all the time, and answers false when some have not ended in CLOSED_MS.
   */
  private async outlast(
    signal: AbortSignal,
    everyMs: number,
    found: ReadonlySet<string> | null = null,
  ): Promise<boolean> {
    let left = found ?? (await this.writers());
    for (const started = performance.now(); left.size > 0; ) {
      if (signal.aborted) throw stillWriting(signal.reason);
      await pause(everyMs > 0 ? everyMs : WRITER_LOOK_MS);
      const now = await this.writers();
      left = new Set([...left].filter((writer) => now.has(writer)));
      if (everyMs === 0 && performance.now() - started > CLOSED_MS) return left.size === 0;
    }
    return true;
  }

  private async writers(): Promise<Set<string>> {
    const { rows } = await this.client.query<{ writer: string }>({
      name: "switchback_writers",
      text: sql("postgres/writers"),
      values: [this.all().map(qualifiedName)],
    });
    return new Set(rows.map(({ writer }) => writer));
  }

  async reopen(epoch: number): Promise<void> {
    // What was given up continues for some statements: they must not fall among ours.
    await this.begun;
    await this.guard(() => this.openAgain(epoch));
  }

  private async openAgain(epoch: number): Promise<void> {
    // What a close that was given up left behind.
    await this.client.query("ROLLBACK");
    await beginDurable(this.client);
    await assertOwner(this.client, this.names, this.owner);
    const { writes } = await new Records(this.client).route();
    if (writes === "paused") {
      await setRoute(this.client, "durable", { writes: "postgres", epoch }, { writes: "paused", epoch });
      await this.client.query(sql("postgres/fence-open"));
    }
    await this.client.query("COMMIT");
  }

  /** Opens the fence where the record says that it is open. */
  async assertOpen(): Promise<void> {
    await this.guard(async () => {
      const { rowCount } = await this.client.query(
        "SELECT 1 FROM pg_catalog.pg_proc WHERE oid = 'switchback.fence()'::regprocedure AND prosrc LIKE '%RAISE%'",
      );
      if (rowCount === 0) return;
      await beginDurable(this.client);
      await assertOwner(this.client, this.names, this.owner);
      await this.client.query(sql("postgres/fence-open"));
      await this.client.query("COMMIT");
    });
  }

  async marks(): Promise<IdCeilings> {
    return this.guard(async () => {
      if (this.sequences.length === 0) this.sequences = await readSequences(this.client, this.mappings());
      return readIdCeilings(this.client, this.sequences);
    });
  }

  async left(epoch: number, signal?: AbortSignal): Promise<void> {
    const from = { writes: "paused", epoch: epoch - 1 } as const;
    const statements = this.guard(() =>
      pipelined(this.client, () =>
        allAnswered([
          beginDurable(this.client),
          assertOwner(this.client, this.names, this.owner),
          setRoute(this.client, "durable", { writes: "sqlite", epoch }, from),
        ]),
      ),
    );
    this.begun = statements.catch(() => {});
    await (signal ? untilAborted(signal, statements) : statements);
    signal?.throwIfAborted();
    await commitOrDoubt(this.client);
  }

  /** Whether capture is awake, as after a retreat, and whether something of others' came to stand there. */
  async awake(): Promise<{ captures: boolean; disturbs: boolean }> {
    const tables = this.all();
    const captures = await isCapturing(this.client, tables);
    return { captures, disturbs: captures || (await isDisturbed(this.client, tables)) };
  }

  /**
   * Takes out of the way what would disturb or slow an exact copy, once the writes are elsewhere. What `appeared` during
   * the copy is noted: a comparison has to show that it did no harm.
   */
  async suspend(signal: AbortSignal, appeared: boolean, waiting: (source: string) => void): Promise<void> {
    const records = new Records(this.client);
    for (const { name, tables } of this.sources) {
      const mappings = tables.map(({ mapping }) => mapping);
      await this.guard(async () => {
        await this.patiently(
          this.client,
          signal,
          () => suspendAll(this.client, records, { source: name, mappings, appeared }),
          () => waiting(name),
        );
        await this.client.query("COMMIT");
      });
    }
    // Capture last: while it is enabled, a start that finds the rest knows that it is the application's.
    for (const { tables } of this.sources) await suspendCapture(this.client, tables);
  }

  async dispose(): Promise<void> {
    this.abandon();
    await endNow(this.client);
  }

  private get names(): string[] {
    return this.sources.map(({ name }) => name);
  }

  private all(): TableMapping[] {
    return this.mappings().map(({ mapping }) => mapping);
  }

  private mappings(): { source: string; mapping: TableMapping }[] {
    return this.sources.flatMap(({ name, tables }) =>
      tables.map(({ mapping }) => ({ source: name, mapping })),
    );
  }

  /** Begins a transaction and, if asked to, keeps everybody from writing; resolves to when that was so. */
  private async lock(client: pg.Client, tables: boolean, signal: AbortSignal): Promise<number> {
    const names = this.all().map(qualifiedName);
    await this.patiently(client, signal, async () => {
      if (tables && names.length > 0)
        await client.query(`LOCK TABLE ${names.join(", ")} IN SHARE ROW EXCLUSIVE MODE`);
    });
    return performance.now();
  }

  /** Begins a transaction and works in it; tries again while others hold locks that it needs. */
  private async patiently(
    client: pg.Client,
    signal: AbortSignal,
    work: () => Promise<void>,
    waiting: () => void = () => {},
  ): Promise<void> {
    const met = (tries: number) => {
      if (tries === NOTICE_TRIES) waiting();
    };
    await retryTransaction(client, { pauseMs: () => LOCK_PAUSE_MS, signal, met }, async () => {
      await beginDurable(client);
      await client.query(`SET LOCAL lock_timeout = ${LOCK_MS}`);
      await work();
    });
  }

  private async guard<T>(work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (error) {
      throw postgresError(error);
    }
  }
}

function stillWriting(reason: unknown): SwitchbackError {
  const message = reason instanceof Error ? reason.message : String(reason);
  return new SwitchbackError(
    "POSTGRES_TRANSIENT",
    `${message}: a transaction that writes to these tables has not ended`,
  );
}
