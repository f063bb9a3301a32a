// Rows in quarantine that PostgreSQL refused are tried again: once following begins, and after each comparison. What
// kept them out may be gone, such as a constraint, or may never have been there. The link writes or refuses them.
import type { Logger } from "pino";
import { counted } from "../findings.js";
import type { QuarantineCursor } from "../postgres/target/quarantine.js";
import type { PostgresTarget } from "../postgres/target/target.js";
import type { Link } from "../protocol/link.js";

/** Keys read again with one window. */
const BATCH = 2_000;
/** Following continues after this time; what is left has its turn when there is nothing to apply. */
const TURN_MS = 500;

export class Reconsideration {
  /** Each key has one try a round: a row that is refused again waits for the next comparison. */
  private round: { after: QuarantineCursor | null; accepted: number } | null = { after: null, accepted: 0 };
  /** A comparison was made during the round. */
  private another = false;
  private seen: string | null | undefined;

  constructor(
    private readonly source: string,
    private readonly link: Link,
    private readonly target: PostgresTarget,
    private readonly log: Logger,
  ) {}

  /** Told the time of the last comparison that is recorded. */
  saw(at: string | null): void {
    if (this.seen !== undefined && this.seen !== at) this.another = true;
    this.seen = at;
  }

  /** Some of the rows, for a moment. A batch that is refused as a whole ends it. */
  async turn(): Promise<void> {
    const until = performance.now() + TURN_MS;
    while (performance.now() < until) if (!(await this.next())) return;
  }

  /** One round, to its end. */
  async all(signal: AbortSignal): Promise<void> {
    while (this.round && !signal.aborted) await this.next();
  }

  /** One batch; false when it changed nothing, or none is left. */
  private async next(): Promise<boolean> {
    if (!this.round && this.another) {
      this.round = { after: null, accepted: 0 };
      this.another = false;
    }
    const { round } = this;
    if (!round) return false;
    const before = this.quarantined();
    const { after } = round;
    const { keys, last } =
      before === 0
        ? { keys: new Map(), last: null }
        : await this.target.quarantinedKeys({ after, most: BATCH, codecs: false });
    if (last === null) {
      this.end(round.accepted);
      return false;
    }
    await this.link.reconsider(keys);
    round.after = last;
    const accepted = Math.max(0, before - this.quarantined());
    round.accepted += accepted;
    return accepted > 0;
  }

  private end(accepted: number): void {
    this.round = null;
    if (accepted > 0)
      this.log.info(
        { source: this.source },
        `${counted(accepted, "row")} left quarantine: nothing refuses them now`,
      );
  }

  private quarantined(): number {
    return [...this.link.held.tables.values()].reduce((sum, { quarantined }) => sum + quarantined, 0);
  }
}
