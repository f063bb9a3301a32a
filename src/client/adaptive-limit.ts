// How many transactions may be at work in PostgreSQL at the same time: as many as get along. Serializable ones on
// small tables conflict whatever they touch, because PostgreSQL reads such tables whole; one after another, as in
// SQLite, is then the fastest that there is. Each conflict halves the number, each commit lets it grow a little. It
// knows nothing of what is done, and of no other process.

/** A transaction may be what an open one waits for: after this long it comes in whatever the number. */
const OUTSIDE_MS = 250;
/** One conflict costs as much as some commits gain. */
const GROWTH = 1 / 16;

export class AdaptiveLimit {
  private present = 0;
  private limit: number;
  private readonly waiting: (() => void)[] = [];

  constructor(private readonly most: number) {
    this.limit = most;
  }

  /** Resolves once there is room; who has met a conflict comes first. `leave` must follow. */
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
