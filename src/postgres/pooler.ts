// Whether a session lasts. A pooler in transaction mode gives each transaction whatever session of the server is
// free. The lock would have no owner, and the settings that let our writes pass the fence would stay in the sessions
// of the application. So this is found out before anything is set. It knows no configuration and no connection of
// ours.
import type pg from "pg";
import { SwitchbackError } from "../errors.js";
import { only } from "../present.js";

/** One is enough where a pooler hands out the session used last or the next in turn; others' traffic may interfere. */
const PROBES = 4;
/** A pool that has no session left keeps a probe waiting, which proves nothing. */
const PATIENCE_MS = 2_000;

const PID = "SELECT pg_catalog.pg_backend_pid() AS pid";

interface Queryable {
  query(text: string): Promise<{ readonly rows: readonly { readonly pid?: unknown }[] }>;
}

export interface Probe extends Queryable {
  end(): Promise<void>;
}

/** The server's own number of the session that answers. */
export async function backendOf(client: Queryable): Promise<number> {
  return Number(only((await client.query(PID)).rows, "answer").pid);
}

/** True when a pooler stands between: the number that the client was told at its start is not the session's. */
export function isPooled(client: pg.ClientBase, backend: number): boolean {
  return (client as pg.ClientBase & { processID?: number | null }).processID !== backend;
}

/**
 * Other sessions are opened beside it and kept busy with a transaction each. In a pool that changes sessions between
 * transactions, one of them gets ours, or we get another.
 * @throws SwitchbackError POSTGRES_POOLED when it is so; what `open` throws
 */
export async function assertLasting(
  client: Queryable,
  backend: number,
  open: () => Promise<Probe>,
  patienceMs = PATIENCE_MS,
): Promise<void> {
  const probes: Probe[] = [];
  let over = false;
  let late: NodeJS.Timeout | undefined;
  const patience = new Promise<"late">((resolve) => {
    late = setTimeout(() => resolve("late"), patienceMs);
  });
  const parted = async (): Promise<boolean> => {
    for (let n = 0; n < PROBES; n++) {
      const probe = await open();
      if (over) await probe.end();
      if (over) return false;
      probes.push(probe);
      await probe.query("BEGIN");
      if ((await backendOf(probe)) === backend) return true;
      if ((await backendOf(client)) !== backend) return true;
    }
    return false;
  };
  const proof = parted();
  proof.catch(() => {});
  try {
    if ((await Promise.race([proof, patience])) === true) throw pooled();
  } catch (error) {
    if (/statement pooling/i.test(error instanceof Error ? error.message : "")) throw pooled();
    throw error;
  } finally {
    over = true;
    await Promise.race([Promise.allSettled(probes.map((probe) => probe.end())), patience]);
    clearTimeout(late);
  }
}

export function pooled(): SwitchbackError {
  return new SwitchbackError(
    "POSTGRES_POOLED",
    "a pooler gives every transaction another session of the server: no lock and no setting would last",
  );
}
