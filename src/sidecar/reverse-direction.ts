// The epoch in which PostgreSQL has the writes: every source's link to its SQLite file, which stays a warm copy. Also
// what the revert at its end needs, from the preconditions to the gates.
import { revertObstacle } from "../cutover/preflight.js";
import { validateForeignKeys } from "../postgres/ddl/validate-foreign-keys.js";
import { PostgresGate } from "../postgres/gate.js";
import type { FollowedTable } from "../postgres/records.js";
import { Barrier } from "../protocol/barrier.js";
import type { Drainable } from "../protocol/flip.js";
import { SqliteGate } from "../sqlite/gate.js";
import type { EpochDirection, EpochOptions } from "./epoch.js";
import { readTables, tablesOf } from "./target-tables.js";

export class ReverseDirection implements EpochDirection {
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
