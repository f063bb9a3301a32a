// The time between two flips, in either direction: the links run, the flag is watched, and the flip that the flag
// asks for ends it, or one that was tried in vain. What was opened for a flip is closed with the period.
import type { Logger } from "pino";
import type { Config, PostgresConfig } from "./config.js";
import type { Drainable } from "./flip.js";
import type { Follower, InHand } from "./follower.js";
import { Handover } from "./handover.js";
import type { PhaseEvent } from "./phase.js";
import { cutoverObstacle, revertObstacle } from "./preconditions.js";
import { problem } from "./reconcile.js";
import { shared } from "./retry.js";
import type { Problem, Route, Status } from "./status.js";
import { connectPostgres } from "./store/postgres/connection.js";
import { Control, type FollowedTable } from "./store/postgres/control.js";
import { PostgresGate } from "./store/postgres/gate.js";
import { validateForeignKeys } from "./store/postgres/validate.js";
import { SqliteGate } from "./store/sqlite/gate.js";
import type { Switching } from "./switching.js";
import type { WayBack } from "./way-back.js";

export interface PeriodOptions {
  readonly config: Config;
  readonly postgres: PostgresConfig;
  readonly owner: string;
  readonly log: Logger;
  readonly followers: readonly Follower[];
  readonly waysBack: readonly WayBack[];
  readonly switching: Switching;
  readonly status: () => Status;
  readonly route: () => Route;
  /** Tells every source's phase. */
  readonly on: (event: PhaseEvent) => void;
  /** Told what keeps a link from starting that the operator could mend, and null once it is over. */
  readonly hindered: (problem: Problem | null) => void;
  /** Called once for each source, when both its sides are open and agree. */
  readonly ready: () => void;
}

/** SQLite has the writes. */
export async function homePeriod(options: PeriodOptions, signal: AbortSignal): Promise<void> {
  const { config, postgres, owner, followers, switching } = options;
  const handover = new Handover<InHand>(followers.length);
  const opened: { from?: SqliteGate; to?: PostgresGate } = {};
  options.on({ kind: "changed" });
  await restTarget(options, signal);
  try {
    await together(signal, [
      ...followers.map(
        (follower) => (stop: AbortSignal) => follower.follow(owner, stop, options.ready, handover),
      ),
      (stop) =>
        switching.serve(
          {
            to: "postgres",
            handover,
            starting: () => options.status().phase === "starting",
            obstacle: () => cutoverObstacle(options.status(), config, postgres),
            begin: () => options.on({ kind: "flipping" }),
            gates: async () => {
              const sources = followers.map(({ name, tables }) => ({ name, tables }));
              const from = new SqliteGate(
                followers.map(({ source }) => source),
                owner,
              );
              opened.from = from;
              const to = await PostgresGate.open(postgres, owner, sources);
              opened.to = to;
              await to.prepare();
              await from.prepare(options.route().epoch + 1);
              return { from, to };
            },
            link: ({ name, link, target }) => {
              opened.to?.feed(name, target);
              return link;
            },
          },
          stop,
        ),
    ]);
  } finally {
    opened.from?.dispose();
    await opened.to?.dispose();
  }
}

/** PostgreSQL has the writes, and every SQLite file is kept a warm copy. */
export async function awayPeriod(options: PeriodOptions, signal: AbortSignal): Promise<void> {
  const { postgres, owner, followers, waysBack, switching } = options;
  const handover = new Handover<Drainable>(waysBack.length);
  let waiting = waysBack.length;
  const ready = () => {
    waiting -= 1;
    options.ready();
  };
  const opened: { from?: PostgresGate; to?: SqliteGate } = {};
  for (const follower of followers) follower.rest();
  const tables = await readTables(options);
  for (const { source, name } of followers) {
    source.attach((tables.get(name) ?? []).map(({ mapping }) => mapping));
  }
  options.on({ kind: "away" });
  const validating = validateForeignKeys(postgres, [...tables.values()].flat(), options.log, signal);
  try {
    await together(signal, [
      ...waysBack.map(
        (wayBack) => (stop: AbortSignal) =>
          wayBack.follow(owner, tables.get(wayBack.name) ?? [], stop, ready, handover),
      ),
      (stop) =>
        switching.serve(
          {
            to: "sqlite",
            handover,
            starting: () => waiting > 0,
            obstacle: () => revertObstacle(options.status(), options.config, postgres),
            begin: () => options.on({ kind: "flipping" }),
            gates: async () => {
              const sources = followers.map(({ name }) => ({ name, tables: tables.get(name) ?? [] }));
              const to = new SqliteGate(
                followers.map(({ source }) => source),
                owner,
              );
              opened.to = to;
              const from = await PostgresGate.open(postgres, owner, sources);
              opened.from = from;
              return { from, to };
            },
            link: (link) => link,
          },
          stop,
        ),
    ]);
  } finally {
    opened.to?.dispose();
    await opened.from?.dispose();
    await validating;
  }
}

/** What is there while the application writes to PostgreSQL gets out of the way of an exact copy. */
export async function restTarget(
  {
    postgres,
    owner,
    followers,
    route,
    log,
    hindered,
  }: Pick<PeriodOptions, "postgres" | "owner" | "followers" | "route" | "log" | "hindered">,
  signal: AbortSignal,
): Promise<void> {
  const tables = await readTables({ postgres, followers });
  const sources = followers.map(({ name }) => ({ name, tables: tables.get(name) ?? [] }));
  const gate = await PostgresGate.open(postgres, owner, sources);
  try {
    const { captures, disturbs } = await gate.awake();
    if (route().epoch > 0 || captures || disturbs)
      await gate.rest(signal, !captures, (source) => {
        const message = `source ${source}: somebody reads a table whose foreign keys must rest; the copy goes on when that ends`;
        log.warn({ source }, message);
        hindered(problem("POSTGRES_TRANSIENT", message, source));
      });
  } finally {
    hindered(null);
    await gate.dispose();
  }
}

async function readTables({
  postgres,
  followers,
}: Pick<PeriodOptions, "postgres" | "followers">): Promise<Map<string, FollowedTable[]>> {
  const client = await connectPostgres(postgres, { name: "switchback setup" });
  try {
    const control = new Control(client);
    const tables = new Map<string, FollowedTable[]>();
    for (const { name } of followers) tables.set(name, await control.followed(name));
    return tables;
  } finally {
    await client.end().catch(() => {});
  }
}

/** Runs all of it; the first failure stops the others, and all are waited for, so that nothing goes on unlocked. */
export async function together(
  signal: AbortSignal,
  works: readonly ((signal: AbortSignal) => Promise<void>)[],
): Promise<void> {
  const failing = new AbortController();
  const inner = shared(AbortSignal.any([signal, failing.signal]));
  const results = await Promise.allSettled(
    works.map(async (work) => {
      try {
        await work(inner);
      } catch (error) {
        failing.abort(error);
        throw error;
      }
    }),
  );
  if (failing.signal.aborted) throw failing.signal.reason;
  const failed = results.find((result) => result.status === "rejected");
  if (failed) throw failed.reason;
}
