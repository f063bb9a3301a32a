// The time between two flips, in either direction: the links run and the flag is watched. The flip that the flag asks
// for ends it, also one that was tried in vain. A direction is one epoch's links and everything that the flip at its end
// needs, from the preconditions to the gates. What was opened for a flip is closed with the epoch.
import type { Logger } from "pino";
import type { Config, PostgresConfig } from "../config/config.js";
import type { FlipController, FlipDirection } from "../cutover/controller.js";
import { cutoverObstacle, revertObstacle } from "../cutover/preflight.js";
import { validateForeignKeys } from "../postgres/ddl/validate-foreign-keys.js";
import { PostgresGate } from "../postgres/gate.js";
import type { FollowedTable } from "../postgres/records.js";
import { Barrier, type Drainable } from "../protocol/flip.js";
import type { PhaseEvent } from "../protocol/phase.js";
import { shared } from "../retry.js";
import { SqliteGate } from "../sqlite/gate.js";
import type { Problem, Route, Status } from "../status.js";
import type { ForwardReplication, InHand } from "./forward.js";
import type { ReverseReplication } from "./reverse.js";
import { readTables, suspendTarget, tablesOf } from "./target-tables.js";

/** What both directions need of the sidecar. */
export interface EpochOptions {
  readonly config: Config;
  readonly postgres: PostgresConfig;
  readonly owner: string;
  readonly log: Logger;
  readonly forwards: readonly ForwardReplication[];
  readonly reverses: readonly ReverseReplication[];
  readonly status: () => Status;
  readonly route: () => Route;
  /** Tells every source's phase. */
  readonly on: (event: PhaseEvent) => void;
  /** Told what keeps a link from starting that the operator could repair, and null once it is over. */
  readonly hindered: (problem: Problem | null) => void;
  /** Called once for each source, when both its sides are open and agree. */
  readonly ready: () => void;
}

/** A direction for the time of one epoch. */
interface EpochDirection extends FlipDirection {
  /** What must be so before a link starts. */
  start(signal: AbortSignal): Promise<void>;
  /** One link for each source. Each runs until aborted or until the flip is over. */
  replications(): readonly ((signal: AbortSignal) => Promise<void>)[];
  /** Closes what was opened for a flip. */
  dispose(): Promise<void>;
}

/** Runs the links until a flip was tried. @throws what the links, the flip or the start throw */
export async function runEpoch(
  options: EpochOptions,
  controller: FlipController,
  signal: AbortSignal,
): Promise<void> {
  const away = options.route().writes === "postgres";
  const direction: EpochDirection = away ? new ReverseDirection(options) : new ForwardDirection(options);
  await direction.start(signal);
  try {
    await allOrThrow(signal, [...direction.replications(), (stop) => controller.serve(direction, stop)]);
  } finally {
    await direction.dispose();
  }
}

/** SQLite has the writes: every source's link to PostgreSQL, and what the cutover at its end needs. */
class ForwardDirection implements EpochDirection {
  readonly to = "postgres";
  private readonly barrier: Barrier<InHand>;
  private from: SqliteGate | undefined;
  private target: PostgresGate | undefined;

  constructor(private readonly options: EpochOptions) {
    this.barrier = new Barrier(options.forwards.length);
  }

  async start(signal: AbortSignal): Promise<void> {
    this.options.on({ kind: "changed" });
    await suspendTarget(this.options, signal);
  }

  replications(): readonly ((signal: AbortSignal) => Promise<void>)[] {
    const { forwards, owner, ready } = this.options;
    return forwards.map((forward) => (signal) => forward.follow(owner, signal, ready, this.barrier));
  }

  starting(): boolean {
    return this.options.status().phase === "starting";
  }

  obstacle(): Promise<string | null> {
    const { status, config, postgres } = this.options;
    return cutoverObstacle(status(), config, postgres);
  }

  async gates(): Promise<{ from: SqliteGate; to: PostgresGate }> {
    const { forwards, postgres, owner, route, on } = this.options;
    on({ kind: "flipping" });
    const files = forwards.map(({ source }) => source);
    const from = new SqliteGate(files, owner);
    this.from = from;
    const sources = forwards.map(({ name, tables }) => ({ name, tables }));
    const to = await PostgresGate.open(postgres, owner, sources);
    this.target = to;
    await to.prepare();
    await from.prepare(route().epoch + 1);
    return { from, to };
  }

  /** From the flip's reservation on, the links' windows are part of the flip's transaction. */
  async stopLinks(signal: AbortSignal): Promise<readonly Drainable[]> {
    const gate = this.target;
    if (!gate) throw new Error("the links were stopped before the gates were opened");
    const held = await this.barrier.take(signal);
    for (const { name, target } of held) gate.feed(name, target);
    return held.map(({ link }) => link);
  }

  release(): void {
    this.barrier.release();
  }

  async dispose(): Promise<void> {
    this.from?.dispose();
    await this.target?.dispose();
  }
}

/**
 * PostgreSQL has the writes: every source's link to its SQLite file, which stays a warm copy, and what the revert at its
 * end needs.
 */
class ReverseDirection implements EpochDirection {
  readonly to = "sqlite";
  private readonly barrier: Barrier<Drainable>;
  private tables: ReadonlyMap<string, readonly FollowedTable[]> = new Map();
  /** Sources whose link is not set up yet. */
  private waiting: number;
  private from: PostgresGate | undefined;
  private target: SqliteGate | undefined;
  private validating: Promise<void> = Promise.resolve();

  constructor(private readonly options: EpochOptions) {
    this.barrier = new Barrier(options.reverses.length);
    this.waiting = options.reverses.length;
  }

  async start(signal: AbortSignal): Promise<void> {
    const { forwards, postgres, log } = this.options;
    for (const forward of forwards) forward.suspend();
    this.tables = await readTables(this.options);
    for (const { source, name } of forwards) {
      source.attach(this.tablesOf(name).map(({ mapping }) => mapping));
    }
    this.options.on({ kind: "reversed" });
    this.validating = validateForeignKeys(postgres, [...this.tables.values()].flat(), log, signal);
  }

  replications(): readonly ((signal: AbortSignal) => Promise<void>)[] {
    const { reverses, owner } = this.options;
    const ready = () => {
      this.waiting -= 1;
      this.options.ready();
    };
    return reverses.map(
      (reverse) => (signal) =>
        reverse.follow(owner, this.tablesOf(reverse.name), signal, ready, this.barrier),
    );
  }

  starting(): boolean {
    return this.waiting > 0;
  }

  obstacle(): Promise<string | null> {
    const { status, config, postgres } = this.options;
    return revertObstacle(status(), config, postgres);
  }

  async gates(): Promise<{ from: PostgresGate; to: SqliteGate }> {
    const { forwards, postgres, owner, on } = this.options;
    on({ kind: "flipping" });
    const files = forwards.map(({ source }) => source);
    const to = new SqliteGate(files, owner);
    this.target = to;
    const sources = forwards.map(({ name }) => ({ name, tables: this.tablesOf(name) }));
    const from = await PostgresGate.open(postgres, owner, sources);
    this.from = from;
    return { from, to };
  }

  stopLinks(signal: AbortSignal): Promise<readonly Drainable[]> {
    return this.barrier.take(signal);
  }

  release(): void {
    this.barrier.release();
  }

  async dispose(): Promise<void> {
    this.target?.dispose();
    await this.from?.dispose();
    await this.validating;
  }

  private tablesOf(source: string): readonly FollowedTable[] {
    return tablesOf(this.tables, source);
  }
}

/** Runs all of it; the first failure stops the others, and all are waited for, so that nothing continues unlocked. */
export async function allOrThrow(
  signal: AbortSignal,
  works: readonly ((signal: AbortSignal) => Promise<void>)[],
): Promise<void> {
  const failing = new AbortController();
  const inner = shared(AbortSignal.any([signal, failing.signal]));
  const results = await Promise.allSettled(
    works.map(async (work) => {
      try {
        await work(inner);
      } catch (error) {
        failing.abort(error);
        throw error;
      }
    }),
  );
  if (failing.signal.aborted) throw failing.signal.reason;
  const failed = results.find((result) => result.status === "rejected");
  if (failed) throw failed.reason;
}
