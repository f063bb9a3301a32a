// The flip's one transaction in PostgreSQL, shared by the gate and the targets of all its sources. Each has the
// session for itself while it works. One sends its statements without waiting in between, another fills a table with
// COPY, and the driver can do only one of them at a time.
import type pg from "pg";
import { present } from "../present.js";
import { pipelined } from "./connection.js";

export class FlipTransaction {
  private last: Promise<unknown> = Promise.resolve();

  constructor(readonly client: pg.Client) {}

  /** Runs `work` when what was asked for before is over; its statements wait for one another. */
  inTurn<T>(work: (client: pg.Client) => Promise<T>): Promise<T> {
    const turn = this.last.then(() => work(this.client));
    this.last = turn.catch(() => {});
    return turn;
  }

  /**
   * The same for statements that wait for nothing: `work` sends them all before it first waits, and settles when every one
   * of them was answered.
   */
  together<T>(work: (client: pg.Client) => Promise<T>): Promise<T> {
    return this.inTurn((client) => pipelined(client, () => work(client)));
  }

  /** Cuts the session off, without a word to a server that may not answer: what was not committed never will be. */
  abandon(): void {
    const { connection } = this.client as { connection?: { stream?: { destroy(): void } } };
    present(connection?.stream, "stream of the session").destroy();
  }
}
