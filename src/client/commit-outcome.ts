// Finds out whether a transaction was committed whose COMMIT got no answer. It asks PostgreSQL for the status
// of the transaction's number, on a new connection. It handles the one case in which the number proves
// nothing: a server that crashed may reuse numbers of transactions that it lost. It knows no pool and no
// route.
import type pg from "pg";
import { only } from "../present.js";
import { sql } from "../sql-files.js";
import { isLost, reportedSqlState } from "./errors.js";
import { sleep } from "./store.js";

/** One run of a server: its start time, and the processes that live as long as its shared memory. */
export interface Era {
  readonly started: string;
  readonly processes: readonly number[];
  /** The session that answers; behind a pooler it is not the one that the client knows. */
  readonly backend: number;
}

interface DoubtfulCommit {
  readonly id: string;
  readonly era: Era | undefined;
}

const POLL_MS = 20;
/** The session of a vanished client may sleep until TCP notices; after this long it is terminated. */
const END_AFTER_MS = 1_000;

export async function eraOf(client: pg.ClientBase): Promise<Era> {
  const { rows } = await client.query<{ started: string; processes: number[] | null; backend: number }>(
    sql("postgres/server-era"),
  );
  const { started, processes, backend } = only(rows, "answer");
  return { started, processes: processes ?? [], backend: Number(backend) };
}

function same(before: Era | undefined, now: Era): boolean {
  if (before?.started !== now.started) return false;
  return before.processes.some((pid) => now.processes.includes(pid));
}

/** Asks until there is an answer, at most `waitMs`. */
export async function resolveOutcome(
  doubt: DoubtfulCommit,
  connect: () => pg.Client,
  waitMs: number,
): Promise<"committed" | "aborted" | "unknown"> {
  const began = performance.now();
  for (;;) {
    const answer = await askOnce(doubt, connect(), performance.now() - began > END_AFTER_MS);
    if (answer !== "in progress") return answer;
    if (performance.now() - began > waitMs) return "unknown";
    await sleep(POLL_MS + Math.min(200, (performance.now() - began) / 10));
  }
}

async function askOnce(
  { id, era }: DoubtfulCommit,
  client: pg.Client,
  end: boolean,
): Promise<"committed" | "aborted" | "unknown" | "in progress"> {
  client.on("error", () => {});
  try {
    await client.connect();
    if (end) {
      await client.query(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_xid = $1::xid8::xid",
        [id],
      );
    }
    const now = await eraOf(client);
    const { rows } = await client.query<{ status: string | null }>(
      "SELECT pg_xact_status($1::xid8) AS status",
      [id],
    );
    const status = rows[0]?.status;
    // After a crash "committed" may describe another transaction; "aborted" is true of this one in any case.
    if (status === "committed") return same(era, now) ? "committed" : "unknown";
    if (status === "in progress" && !same(era, now)) return "aborted";
    return status === "aborted" || status === "in progress" ? status : "unknown";
  } catch (error) {
    // "transaction ID is in the future": the server crashed and lost the transaction.
    if (reportedSqlState(error) === "22023") return "aborted";
    if (isLost(error)) return "in progress";
    return "unknown";
  } finally {
    client.end().catch(() => {});
  }
}
