// The time between two flips, in either direction: the links run, the flag is watched, and the flip that the flag
// asks for ends it, or one that was tried in vain. What was opened for a flip is closed with the period.
import type { Logger } from "pino";
import type { Config, PostgresConfig } from "../config/config.js";
import type { FlipController } from "../cutover/controller.js";
import { cutoverObstacle, revertObstacle } from "../cutover/preflight.js";
import { connectPostgres } from "../postgres/connection.js";
import { validateForeignKeys } from "../postgres/ddl/validate-foreign-keys.js";
import { PostgresGate } from "../postgres/gate.js";
import { type FollowedTable, Records } from "../postgres/records.js";
import { problem } from "../problem.js";
import { Barrier } from "../protocol/barrier.js";
import type { Drainable } from "../protocol/flip.js";
import type { PhaseEvent } from "../protocol/phase.js";
import { shared } from "../retry.js";
import { SqliteGate } from "../sqlite/gate.js";
import type { Problem, Route, Status } from "../status.js";
import type { ForwardReplication, InHand } from "./forward.js";
import type { ReverseReplication } from "./reverse.js";

interface EpochOptions {
  readonly config: Config;
  readonly postgres: PostgresConfig;
  readonly owner: string;
  readonly log: Logger;
  readonly forwards: readonly ForwardReplication[];
  readonly reverses: readonly ReverseReplication[];
  readonly controller: FlipController;
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
export async function runSqliteEpoch(options: EpochOptions, signal: AbortSignal): Promise<void> {
  const { config, postgres, owner, forwards, controller } = options;
  const barrier = new Barrier<InHand>(forwards.length);
  const opened: { from?: SqliteGate; to?: PostgresGate } = {};
  options.on({ kind: "changed" });
  await restTarget(options, signal);
  try {
    await allOrThrow(signal, [
      ...forwards.map(
        (forward) => (stop: AbortSignal) => forward.follow(owner, stop, options.ready, barrier),
      ),
      (stop) =>
        controller.serve(
          {
            to: "postgres",
            barrier,
            starting: () => options.status().phase === "starting",
            obstacle: () => cutoverObstacle(options.status(), config, postgres),
            begin: () => options.on({ kind: "flipping" }),
            gates: async () => {
              const sources = forwards.map(({ name, tables }) => ({ name, tables }));
              const from = new SqliteGate(
                forwards.map(({ source }) => source),
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
export async function runPostgresEpoch(options: EpochOptions, signal: AbortSignal): Promise<void> {
  const { postgres, owner, forwards, reverses, controller } = options;
  const barrier = new Barrier<Drainable>(reverses.length);
  let waiting = reverses.length;
  const ready = () => {
    waiting -= 1;
    options.ready();
  };
  const opened: { from?: PostgresGate; to?: SqliteGate } = {};
  for (const forward of forwards) forward.rest();
  const tables = await readTables(options);
  for (const { source, name } of forwards) {
    source.attach((tables.get(name) ?? []).map(({ mapping }) => mapping));
  }
  options.on({ kind: "away" });
  const validating = validateForeignKeys(postgres, [...tables.values()].flat(), options.log, signal);
  try {
    await allOrThrow(signal, [
      ...reverses.map(
        (reverse) => (stop: AbortSignal) =>
          reverse.follow(owner, tables.get(reverse.name) ?? [], stop, ready, barrier),
      ),
      (stop) =>
        controller.serve(
          {
            to: "sqlite",
            barrier,
            starting: () => waiting > 0,
            obstacle: () => revertObstacle(options.status(), options.config, postgres),
            begin: () => options.on({ kind: "flipping" }),
            gates: async () => {
              const sources = forwards.map(({ name }) => ({ name, tables: tables.get(name) ?? [] }));
              const to = new SqliteGate(
                forwards.map(({ source }) => source),
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
    forwards,
    route,
    log,
    hindered,
  }: Pick<EpochOptions, "postgres" | "owner" | "forwards" | "route" | "log" | "hindered">,
  signal: AbortSignal,
): Promise<void> {
  const tables = await readTables({ postgres, forwards });
  const sources = forwards.map(({ name }) => ({ name, tables: tables.get(name) ?? [] }));
  const gate = await PostgresGate.open(postgres, owner, sources);
  try {
    const { captures, disturbs } = await gate.awake();
    if (route().epoch > 0 || captures || disturbs)
      await gate.rest(signal, !captures, (source) => {
        const message = `source ${source}: somebody reads a table whose foreign keys must rest; the copy goes on when that ends`;
        log.warn({ source }, message);
        hindered(problem("POSTGRES_TRANSIENT", message, { source }));
      });
  } finally {
    hindered(null);
    await gate.dispose();
  }
}

async function readTables({
  postgres,
  forwards,
}: Pick<EpochOptions, "postgres" | "forwards">): Promise<Map<string, FollowedTable[]>> {
  const client = await connectPostgres(postgres, { name: "switchback setup" });
  try {
    const records = new Records(client);
    const tables = new Map<string, FollowedTable[]>();
    for (const { name } of forwards) tables.set(name, await records.followed(name));
    return tables;
  } finally {
    await client.end().catch(() => {});
  }
}

/** Runs all of it; the first failure stops the others, and all are waited for, so that nothing goes on unlocked. */
export async function allOrThrow(
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
