// A window of few changes, as statements that are sent without waiting for the answers in between, and the statement that
// moves the position, for windows of any size. target.ts owns the sessions and the transactions.
import type pg from "pg";
import type { TableWindow, Window } from "../../protocol/contract.js";
import { allAnswered } from "../connection.js";
import { RELEASE } from "./quarantine.js";

/** A table's part of a narrow window, and the statements that carry it over. */
export type TableMove = Pick<TableWindow, "table" | "touched"> & {
  readonly statements: readonly pg.QueryConfig[];
};

export type PositionMove = Pick<Window, "from" | "to" | "mark"> & {
  readonly source: string;
  readonly owner: string;
};

/** True when every row of the window is at hand, so that its statements can be sent together. */
export function isNarrow({ tables }: Window): boolean {
  return tables.every(
    ({ rows, gone, refused, nullKeys = [] }) =>
      rows.kind === "values" && gone.kind === "values" && refused.length + nullKeys.length === 0,
  );
}

/** Sends the statements in this turn of the event loop, and resolves to the rows of each table that left quarantine. */
export async function sendMoves(
  client: pg.Client,
  source: string,
  moves: readonly TableMove[],
): Promise<Map<string, number>> {
  const sent: Promise<unknown>[] = [];
  const releases: { table: string; result: Promise<pg.QueryResult> }[] = [];
  for (const { table, touched, statements } of moves) {
    for (const statement of statements) sent.push(client.query(statement));
    if (touched.length === 0) continue;
    const result = client.query(RELEASE, [source, table, touched]);
    releases.push({ table, result });
    sent.push(result);
  }
  await allAnswered(sent);
  const released = new Map<string, number>();
  for (const { table, result } of releases) released.set(table, (await result).rowCount ?? 0);
  return released;
}

export function advance({ source, owner, from, to, mark }: PositionMove): pg.QueryConfig {
  return {
    name: "switchback_advance",
    text: "SELECT switchback.advance($1, $2, $3, $4, $5)",
    values: [source, owner, from, to, mark],
  };
}

/** The same after writes to these tables, whose locks keep what meets them out until the transaction ends. */
export function advanceWritten(
  { source, owner, from, to, mark }: PositionMove,
  written: readonly string[],
): pg.QueryConfig {
  return {
    name: "switchback_advance_written",
    text: "SELECT switchback.advance($1, $2, $3, $4, $5, $6)",
    values: [source, owner, from, to, mark, written],
  };
}
