// A mutex in first-in, first-out order: a connection to SQLite carries one transaction. It knows nothing of
// the work inside.
import { TransactionError } from "./errors.js";

export class Mutex {
  private taken = false;
  private readonly waiting: (() => void)[] = [];

  /** Resolves with the function that releases the mutex. @throws TransactionError after `waitMs` */
  take(waitMs: number): Promise<() => void> {
    const release = this.releaser();
    if (!this.taken) {
      this.taken = true;
      return Promise.resolve(release);
    }
    return new Promise((resolve, reject) => {
      const next = () => {
        clearTimeout(timer);
        resolve(release);
      };
      const timer = setTimeout(() => {
        this.waiting.splice(this.waiting.indexOf(next), 1);
        reject(
          new TransactionError(
            `waited ${waitMs} ms for another transaction of this handle to end in SQLite`,
            {
              store: "sqlite",
              code: "TURN_TIMEOUT",
            },
          ),
        );
      }, waitMs);
      this.waiting.push(next);
    });
  }

  private releaser(): () => void {
    let held = true;
    return () => {
      if (!held) return;
      held = false;
      const next = this.waiting.shift();
      if (next) next();
      else this.taken = false;
    };
  }
}
