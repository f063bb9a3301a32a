// Forgets applied rows of the change log in SQLite, in small bites at quiet moments: each is a commit that the
// application may notice. Only what the target has on its disk may be forgotten.

/** The log is pruned when it has grown to this, and cut back to KEEP rows behind the newest. */
const LOG_ROWS_MAX = 100_000;
const LOG_ROWS_KEEP = 20_000;
/** Pruning waits for a pause in the application's writes, until the log is this long. */
const LOG_ROWS_PRESSING = 2_000_000;
const QUIET_MS = 300;
const PRUNE_EVERY_MS = 250;
/** Bites taken in one quiet moment, a millisecond or two each. */
const QUIET_BITES = 5;

/** The log, as pruning sees it. */
interface Prunable {
  logRows(): number;
  readonly quietMs: number;
  /** Forgets some rows up to `position`; how many. */
  prune(position: number): number;
}

export class Pruning {
  private prunedMs = 0;

  constructor(private readonly log: Prunable) {}

  /** Takes a bite where it is time; `flush` answers false while the rows are needed. */
  async next(applied: number, flush: () => Promise<boolean>): Promise<void> {
    const now = performance.now();
    if (now - this.prunedMs < PRUNE_EVERY_MS) return;
    this.prunedMs = now;
    const rows = this.log.logRows();
    const quiet = this.log.quietMs >= QUIET_MS;
    if (rows < LOG_ROWS_MAX || !(quiet || rows > LOG_ROWS_PRESSING)) return;
    if (!(await flush())) return;
    for (let bites = quiet ? QUIET_BITES : 1; bites > 0; bites--) {
      if (this.log.prune(applied - LOG_ROWS_KEEP) === 0) return;
    }
  }
}
