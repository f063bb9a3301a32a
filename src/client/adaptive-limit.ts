// An adaptive limit on the number of concurrent transactions in PostgreSQL. Serializable transactions on
// small tables always conflict, because PostgreSQL reads such tables whole. Running them one after another,
// as in SQLite, is then fastest. Each conflict halves the limit, each commit raises it a little. It knows
// nothing of the transactions' work and of other processes.

/**
 * An open transaction may be waiting for a queued one: after this long a transaction starts in spite of the
 * limit.
 */
const OUTSIDE_MS = 250;
/** One conflict costs as much as several commits gain. */
const GROWTH = 1 / 16;

export class AdaptiveLimit {
  private present = 0;
  private limit: number;
  private readonly waiting: (() => void)[] = [];

  constructor(private readonly most: number) {
    this.limit = most;
  }

  /** Resolves once there is room; retries go to the head of the queue. `leave` must follow. */
  enter(again: boolean): Promise<void> {
    if (this.present < Math.floor(this.limit)) {
      this.present += 1;
      return Promise.resolve();
    }
    return new Promise((resolve) => {
      const come = () => {
        clearTimeout(timer);
        this.present += 1;
        resolve();
      };
      const timer = setTimeout(() => {
        this.waiting.splice(this.waiting.indexOf(come), 1);
        come();
      }, OUTSIDE_MS);
      if (again) this.waiting.unshift(come);
      else this.waiting.push(come);
    });
  }

  leave(conflict: boolean): void {
    this.limit = conflict
      ? Math.max(1, Math.min(this.limit, this.present) / 2)
      : Math.min(this.most, this.limit + GROWTH);
    this.present -= 1;
    while (this.waiting.length > 0 && this.present < Math.floor(this.limit)) this.waiting.shift()?.();
  }
}
