// The epoch in which SQLite has the writes: every source's link to PostgreSQL, and what the cutover at its end needs,
// from the preconditions to the gates.
import { cutoverObstacle } from "../cutover/preflight.js";
import { PostgresGate } from "../postgres/gate.js";
import { Barrier } from "../protocol/barrier.js";
import type { Drainable } from "../protocol/flip.js";
import { SqliteGate } from "../sqlite/gate.js";
import type { EpochDirection, EpochOptions } from "./epoch.js";
import type { InHand } from "./forward.js";
import { suspendTarget } from "./target-tables.js";

export class ForwardDirection implements EpochDirection {
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
