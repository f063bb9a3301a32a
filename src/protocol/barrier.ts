// Where links stop for a flip: every link of an epoch parks what it holds here, at a point between two windows, and
// waits until the flip is over. An epoch is the time between two flips, in one direction.

/** What a link has in hand while it is parked. */
export class Barrier<T> {
  private readonly stop = new AbortController();
  private readonly parked: T[] = [];
  private readonly all: Promise<void>;
  private readonly over: Promise<void>;
  private allParked: () => void = () => {};
  private end: () => void = () => {};

  constructor(private readonly count: number) {
    this.all = new Promise((resolve) => {
      this.allParked = resolve;
    });
    this.over = new Promise((resolve) => {
      this.end = resolve;
    });
  }

  /** Aborted when links must stop and park. */
  get stopping(): AbortSignal {
    return this.stop.signal;
  }

  /** The link's side: resolves once the flip is over, whatever came of it. */
  async park(held: T, signal: AbortSignal): Promise<void> {
    this.parked.push(held);
    if (this.parked.length === this.count) this.allParked();
    await orAborted(this.over, signal);
  }

  /** Stops the links; resolves to what they hold. @throws the signal's reason */
  async take(signal: AbortSignal): Promise<readonly T[]> {
    this.stop.abort();
    await orAborted(this.all, signal);
    signal.throwIfAborted();
    return this.parked;
  }

  /** Ends the epoch: parked links end. */
  release(): void {
    this.stop.abort();
    this.end();
  }
}

/** Waits for the work or the signal, whichever is first. */
async function orAborted(work: Promise<void>, signal: AbortSignal): Promise<void> {
  if (signal.aborted) return;
  let stop: () => void = () => {};
  const aborted = new Promise<void>((resolve) => {
    stop = resolve;
    signal.addEventListener("abort", stop, { once: true });
  });
  await Promise.race([work, aborted]);
  signal.removeEventListener("abort", stop);
}
