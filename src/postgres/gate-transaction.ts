// The transactions in which PostgreSQL's gate changes: how they begin and end, and which sidecar may run them. They change
// the record of who has the writes under which epoch. Also the flip's one transaction, which the gate shares with the
// targets.
import type pg from "pg";
import { errorText } from "../error-text.js";
import { SwitchbackError } from "../errors.js";
import { present } from "../present.js";
import { InDoubt } from "../protocol/contract.js";
import { sql } from "../sql-files.js";
import { pipelined, sqlState } from "./connection.js";
import { Records } from "./records.js";

interface GateRecord {
  readonly writes: "sqlite" | "paused" | "postgres";
  readonly epoch: number;
}

/** What PostgreSQL records, once no transaction of an earlier owner can change it any more. */
export async function claimRecord(
  client: pg.Client,
  sources: readonly string[],
  owner: string,
): Promise<GateRecord> {
  // Waits for a flip that may still be committing: it holds these rows.
  await client.query("UPDATE switchback.source SET owner = $2 WHERE name = ANY ($1)", [sources, owner]);
  return new Records(client).route();
}

/** The flip's commit waits for the disk, unlike those of the copy. */
export async function beginDurable(client: pg.Client): Promise<void> {
  await client.query("BEGIN; SET LOCAL synchronous_commit = on");
}

/** @throws InDoubt when the session or the server ended before it answered */
export async function commitOrDoubt(client: pg.Client): Promise<void> {
  try {
    await client.query("COMMIT");
  } catch (error) {
    // A statement that failed has not committed. A session or a server that ended meanwhile may have.
    const state = sqlState(error);
    const lost = error instanceof SwitchbackError && error.code === "POSTGRES_UNREACHABLE";
    if (state !== null && !lost && !/^(53|57|58|XX)/.test(state)) throw error;
    throw new InDoubt(`PostgreSQL did not say whether it committed: ${errorText(error)}`);
  }
}

/** Holds the sources' records: no other sidecar may have taken them over. */
export async function assertOwner(
  client: pg.Client,
  sources: readonly string[],
  owner: string,
): Promise<void> {
  const { rowCount } = await client.query(
    "SELECT 1 FROM switchback.source WHERE name = ANY ($1) AND owner = $2 FOR UPDATE",
    [sources, owner],
  );
  if (rowCount === sources.length) return;
  throw new SwitchbackError("POSITION_CONFLICT", "another sidecar has taken over");
}

/**
 * Changes the record from one state to the next. It matches nothing outside of a transaction of that kind: sent behind a
 * BEGIN that failed unseen, it would commit by itself.
 */
export async function setRoute(
  client: pg.Client,
  kind: "durable" | "relaxed",
  { writes, epoch }: GateRecord,
  from: GateRecord,
): Promise<void> {
  const { rowCount } = await client.query(sql("postgres/set-route"), [
    writes,
    epoch,
    from.writes,
    from.epoch,
    kind === "durable" ? "on" : "off",
  ]);
  if (rowCount !== 1) {
    throw new SwitchbackError(
      "POSITION_CONFLICT",
      `the route is not ${from.writes} under epoch ${from.epoch} any more`,
    );
  }
}

/**
 * The flip's one transaction, shared by the gate and the targets of all its sources. Each has the session for itself while
 * it works. One sends its statements without waiting in between, another fills a table with COPY, and the driver can do
 * only one of them at a time.
 */
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
