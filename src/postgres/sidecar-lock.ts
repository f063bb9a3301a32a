// One sidecar per target: an advisory lock on a session of its own, kept for as long as the sidecar lives.
// The session ends with the process, however it ends, and the lock with it. What a sidecar that lost its lock
// without noticing might still send is refused by the owner written here (see switchback.advance).
import { randomUUID } from "node:crypto";
import { hostname } from "node:os";
import type pg from "pg";
import type { PostgresConfig } from "../config/config.js";
import { SwitchbackError } from "../errors.js";
import { only } from "../present.js";
import { pause } from "../retry.js";
import { sql } from "../sql-files.js";
import { connectPostgres, watchLasting, withSession } from "./connection.js";

/** The advisory lock's key in the target's database: "switchbk" as eight bytes. */
const LOCK = "8320234785195188843";
/** PostgreSQL notices within milliseconds that a killed sidecar's session is gone; a busy one may take longer. */
const PATIENCE_MS = 3_000;
/** Behind a pooler, how often it is looked whether the session is still the one that has the lock. */
const WATCH_MS = 500;

const HOLDER = sql("postgres/lock-holder");

interface TargetLock {
  readonly owner: string;
  /** Rejects when the session, and so the lock, is gone. */
  readonly lost: Promise<never>;
  release(): Promise<void>;
}

/** Takes the lock or says who has it. @throws SwitchbackError TARGET_TAKEN, exit 4 */
export async function lockTarget(config: PostgresConfig): Promise<TargetLock> {
  const client = await connectPostgres(config, { name: `switchback on ${hostname()} pid ${process.pid}` });
  const ended = new Promise<never>((_, reject) =>
    client.once("end", () =>
      reject(
        new SwitchbackError("POSTGRES_UNREACHABLE", "the session that holds the target's lock was lost"),
      ),
    ),
  );
  const lost = Promise.race([ended, watchLasting(client, WATCH_MS)]);
  // A caller that waits for it gets the failure; no caller has to wait.
  lost.catch(() => {});
  try {
    await takeLock(client, config.database);
  } catch (error) {
    await client.end().catch(() => {});
    throw error;
  }
  return { owner: randomUUID(), lost, release: () => client.end().catch(() => {}) };
}

async function takeLock(client: pg.Client, database: string): Promise<void> {
  for (const until = performance.now() + PATIENCE_MS; ; ) {
    const { rows } = await client.query<{ got: boolean }>(`SELECT pg_try_advisory_lock(${LOCK}) AS got`);
    if (only(rows, "answer").got) return;
    if (performance.now() > until) {
      const holder = await describeHolder(client);
      throw new SwitchbackError("TARGET_TAKEN", `the lock of database ${database} is held: ${holder}`);
    }
    await pause(100);
  }
}

/** True when some sidecar holds the lock. */
export async function isLocked(client: pg.ClientBase): Promise<boolean> {
  return ((await client.query(HOLDER, [LOCK])).rowCount ?? 0) > 0;
}

async function describeHolder(client: pg.Client): Promise<string> {
  const { rows } = await client.query<{
    pid: number;
    role: string;
    application_name: string;
    address: string;
    since: string;
  }>(HOLDER, [LOCK]);
  const holder = rows[0];
  if (!holder) return "it has just been released; try again";
  const { pid, role, application_name: name, address, since } = holder;
  const session = `PostgreSQL process ${pid} of role ${role}${address}${since}`;
  // Any role may take an advisory lock.
  if (name.startsWith("switchback on ")) return `another sidecar has it, ${name} (${session})`;
  return `${session} has it, with application_name "${name}", which is no sidecar; SELECT pg_terminate_backend(${pid}) ends it`;
}

/** True when PostgreSQL has the writes of these sources and records this owner; false when it does not answer. */
export async function isOwner(
  config: PostgresConfig,
  sources: readonly { readonly name: string }[],
  owner: string,
): Promise<boolean> {
  try {
    return await withSession(config, "switchback watch", async (client) => {
      const { rows } = await client.query<{ ours: boolean }>(sql("postgres/is-owner"), [
        sources.map(({ name }) => name),
        owner,
      ]);
      return only(rows, "answer").ours;
    });
  } catch {
    return false;
  }
}
