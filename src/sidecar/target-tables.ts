// The target's tables between two flips: what the records say of them, and getting what stands there for the
// application out of the way of an exact copy.
import type { Logger } from "pino";
import type { PostgresConfig } from "../config/config.js";
import { connectPostgres } from "../postgres/connection.js";
import { PostgresGate } from "../postgres/gate.js";
import { type FollowedTable, Records } from "../postgres/records.js";
import { problem } from "../problem.js";
import type { Problem, Route } from "../status.js";

interface Sources {
  readonly postgres: PostgresConfig;
  readonly forwards: readonly { readonly name: string }[];
}

interface SuspendOptions extends Sources {
  readonly owner: string;
  readonly log: Logger;
  readonly route: () => Route;
  /** Told what keeps a link from starting that the operator could repair, and null once it is over. */
  readonly hindered: (problem: Problem | null) => void;
}

/** What is there while the application writes to PostgreSQL gets out of the way of an exact copy. */
export async function suspendTarget(options: SuspendOptions, signal: AbortSignal): Promise<void> {
  const { postgres, owner, forwards, route, log, hindered } = options;
  const tables = await readTables(options, true);
  const sources = forwards.map(({ name }) => ({ name, tables: tablesOf(tables, name) }));
  const gate = await PostgresGate.open(postgres, owner, sources);
  try {
    const { captures, disturbs } = await gate.awake();
    if (route().epoch > 0 || captures || disturbs)
      await gate.suspend(signal, !captures, (source) => {
        const message = `source ${source}: another session reads a table whose foreign keys must be suspended; the copy continues when it ends`;
        log.warn({ source }, message);
        hindered(problem("POSTGRES_TRANSIENT", message, { source }));
      });
  } finally {
    hindered(null);
    await gate.dispose();
  }
}

/** The followed tables of each source; on demand without those that were dropped in the target. */
export async function readTables(
  { postgres, forwards }: Sources,
  standing = false,
): Promise<Map<string, FollowedTable[]>> {
  const client = await connectPostgres(postgres, { name: "switchback setup" });
  try {
    const records = new Records(client);
    const tables = new Map<string, FollowedTable[]>();
    for (const { name } of forwards) {
      const followed = await records.followed(name);
      const vanished = standing ? await records.vanished(followed) : [];
      const there = followed.filter((table) => !vanished.includes(table));
      tables.set(name, there);
    }
    return tables;
  } finally {
    await client.end().catch(() => {});
  }
}

export function tablesOf(
  tables: ReadonlyMap<string, readonly FollowedTable[]>,
  source: string,
): readonly FollowedTable[] {
  const found = tables.get(source);
  if (!found) throw new Error(`the tables of source ${source} were not read`);
  return found;
}
