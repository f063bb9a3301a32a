// The record of the gate in PostgreSQL: who has the writes under which epoch, and which sidecar may change that. Each
// function is one statement of a transaction that the gate runs, or its begin and its end.
import type pg from "pg";
import { errorText } from "../error-text.js";
import { SwitchbackError } from "../errors.js";
import { InDoubt } from "../protocol/contract.js";
import { sql } from "../sql-files.js";
import { sqlState } from "./connection.js";
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
