// Connections to PostgreSQL, and what its errors mean. Every session of the sidecar's is set up the same way,
// so that values print in one form and our own writes pass our own fence. Every statement of every session fails
// with an error classified here, in one place: no caller can forget it. It knows nothing of tables.
import type { Writable } from "node:stream";
import pg from "pg";
import type { PostgresConfig } from "../config/config.js";
import { addressOf } from "../config/postgres.js";
import { type ErrorCode, SwitchbackError } from "../errors.js";
import { only, present } from "../present.js";
import { type LockWait, retryOnLock } from "../retry.js";
import { sql } from "../sql-files.js";
import { assertLasting, backendOf, isPooled, pooled } from "./pooler.js";

const CONNECT_TIMEOUT_MS = 10_000;
/** A connection that is idle for so long is probed; TCP itself would wait for two hours. */
const KEEPALIVE_MS = 10_000;
/** PostgreSQL 14: the oldest release that is tested. */
const VERSION_MIN = 140_000;
/** The first release that has transaction_timeout. */
const VERSION_TRANSACTION_TIMEOUT = 170_000;

interface SessionOptions {
  /** Shown in pg_stat_activity, so that a second sidecar can name the first. */
  readonly name: string;
  /** Statements are sent without waiting for the one before. */
  readonly pipeline?: boolean;
  /** False for a session that must meet the fence like anybody else. */
  readonly applies?: boolean;
}

/**
 * The settings that the text form of values, the fence and long copies depend on. Where a policy would hide rows from
 * this role, row_security = off makes the statement fail instead. A role or a database may set timeouts for its
 * applications; our sessions idle between changes and copy for hours. A session whose network went away must not keep
 * its locks for the two hours that TCP waits by default.
 */
const SESSION = sql("postgres/session");

/**
 * A session. Losing a commit of ours to a server crash loses no data, because the position is lost with it and the
 * log rows stay until a later, synchronous commit. So ordinary commits do not wait for the disk.
 * @throws SwitchbackError POSTGRES_* when the server cannot be reached or refuses
 */
export async function connectPostgres(config: PostgresConfig, options: SessionOptions): Promise<pg.Client> {
  const client = newClient(config, options);
  try {
    await client.connect();
    // Before anything is set: behind some poolers a setting would stay with others.
    const { rows } = await client.query<{
      version: number;
      readonly: boolean;
      pid: number;
      applies: boolean;
    }>(
      "SELECT current_setting('server_version_num')::int AS version, pg_is_in_recovery() OR current_setting('transaction_read_only')::bool AS readonly, pg_backend_pid() AS pid, coalesce(current_setting('switchback.apply', true), '') = 'on' AS applies",
    );
    const server = only(rows, "answer");
    const backend = server.pid;
    backends.set(client, backend);
    if (server.applies) {
      throw new SwitchbackError(
        "POSTGRES_POOLED",
        "sessions begin with switchback.apply = on, so that the fence lets everybody pass: a pooler hands them on without server_reset_query, or a role or the database sets it",
      );
    }
    if (isPooled(client, backend)) await assertLastingHere(config, client, backend);
    assertServer(config, server.version, server.readonly);
    const timeout = server.version >= VERSION_TRANSACTION_TIMEOUT ? "SET transaction_timeout = 0;" : "";
    const applies =
      options.applies === false ? "" : "SET switchback.apply = 'on'; SET synchronous_commit = off;";
    await client.query(SESSION + timeout + applies);
    return client;
  } catch (error) {
    client.end().catch(() => {});
    throw postgresError(error, addressOf(config));
  }
}

/**
 * The same on a session that otherwise sends a statement when the one before was answered, as COPY needs it to. The session
 * must be idle; `send` gives what settles when every statement was answered.
 */
export async function pipelined<T>(client: pg.Client, send: () => Promise<T>): Promise<T> {
  const session = client as Pipelining;
  session.pipeline = true;
  try {
    return await inOneMessage(client, send);
  } finally {
    session.pipeline = false;
  }
}

/** Ends a session; one that waits for an answer is cut off, because the server may never give it. */
export async function endNow(client: pg.Client): Promise<void> {
  // A session that pipelines would wait for the answers.
  (client as Pipelining).pipeline = false;
  await client.end().catch(() => {});
}

type Pipelining = pg.Client & { pipeline: boolean };

/** Waits for the answers to all statements that were sent together. @throws the first failure, in their order */
export async function allAnswered<T extends readonly unknown[]>(
  sent: readonly [...T],
): Promise<{ -readonly [K in keyof T]: Awaited<T[K]> }> {
  const results: readonly PromiseSettledResult<unknown>[] = await Promise.allSettled(sent);
  const failed = results.find((result) => result.status === "rejected");
  if (failed) throw failed.reason;
  return Promise.all(sent);
}

/** Runs `use` in a session, and ends it. @throws SwitchbackError POSTGRES_* when there is none */
export async function withSession<T>(
  config: PostgresConfig,
  name: string,
  use: (client: pg.Client) => Promise<T>,
): Promise<T> {
  const client = await connectPostgres(config, { name });
  try {
    return await use(client);
  } finally {
    await client.end().catch(() => {});
  }
}

function assertServer(config: PostgresConfig, version: number, readonly: boolean): void {
  if (version < VERSION_MIN) {
    throw new SwitchbackError(
      "POSTGRES_VERSION",
      `the server is PostgreSQL ${Math.floor(version / 10_000)}; 14 or later is needed`,
    );
  }
  if (readonly) {
    throw new SwitchbackError(
      "POSTGRES_READ_ONLY",
      `the server at ${config.host}:${config.port} accepts no writes`,
    );
  }
}

/** Sends the statements that `send` makes in one message, which saves a system call per statement on both sides. */
export function inOneMessage<T>(client: pg.Client, send: () => T): T {
  const { stream } = (client as unknown as { connection: { stream: Writable } }).connection;
  stream.cork();
  try {
    return send();
  } finally {
    stream.uncork();
  }
}

function newClient(config: PostgresConfig, options: SessionOptions): pg.Client {
  const client = new pg.Client({
    host: config.host,
    port: config.port,
    database: config.database,
    user: config.user,
    ...(config.password === undefined ? {} : { password: config.password }),
    ssl: config.ssl,
    application_name: options.name.slice(0, 63),
    connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
    keepAlive: true,
    keepAliveInitialDelayMillis: KEEPALIVE_MS,
    pipeline: options.pipeline ?? false,
  } as pg.ClientConfig);
  return classifying(client);
}

/** Sessions whose connection is gone: whatever the driver says of them from then on means that. */
const gone = new WeakSet<pg.Client>();

/** What pg runs: a statement that it made itself, or a COPY, which is a stream. */
interface Submitted {
  submit(connection: unknown): unknown;
  handleError(error: unknown, connection: unknown): void;
}

/** The same client, whose statements fail with classified errors only. COPY streams fail through their own handler. */
function classifying(client: pg.Client): pg.Client {
  // A session that ends while idle must not take the process with it; the next statement reports it.
  client.on("error", () => gone.add(client));
  client.once("end", () => gone.add(client));
  const send = client.query.bind(client) as (...all: unknown[]) => unknown;
  const query = (...all: unknown[]): unknown => {
    const [first] = all;
    if (isSubmitted(first)) {
      const handle = first.handleError.bind(first);
      first.handleError = (error, connection) => handle(sessionError(client, error), connection);
    }
    const answer = send(...all);
    if (!(answer instanceof Promise)) return answer;
    return answer.catch((error: unknown) => {
      throw sessionError(client, error);
    });
  };
  return Object.assign(client, { query: query as typeof client.query });
}

function isSubmitted(what: unknown): what is Submitted {
  return typeof (what as Partial<Submitted> | null)?.submit === "function";
}

/** An error of a session in use. One that the server did not send, on a connection that is gone, says only that. */
function sessionError(client: pg.Client, error: unknown): unknown {
  const found = postgresError(error);
  if (found instanceof SwitchbackError || !(found instanceof Error)) return found;
  if (sqlState(found) !== null || !gone.has(client)) return found;
  return new SwitchbackError("POSTGRES_UNREACHABLE", `PostgreSQL: ${found.message}`, {}, { cause: found });
}

/** The server's number of each session; what a pooler told the client at its start is another. */
const backends = new WeakMap<pg.Client, number>();
/** A pool that was found to keep its sessions is not asked again so soon: a start opens a dozen. */
const PROOF_MS = 10_000;
const proven = new Map<string, number>();

async function assertLastingHere(config: PostgresConfig, client: pg.Client, backend: number): Promise<void> {
  const pool = `${config.user}@${config.host}:${config.port}/${config.database}`;
  if (performance.now() - (proven.get(pool) ?? Number.NEGATIVE_INFINITY) < PROOF_MS) return;
  await assertLasting(client, backend, async () => {
    const probe = newClient(config, { name: "switchback probe" });
    await probe.connect();
    return probe;
  });
  proven.set(pool, performance.now());
}

/**
 * Rejects once another session of the server answers than at its start, as behind a pooler whose pool was too quiet
 * to tell at first. Asks only where there is one, every `everyMs`, until the session ends.
 */
export function watchLasting(client: pg.Client, everyMs: number): Promise<never> {
  return new Promise((_, reject) => {
    const backend = present(backends.get(client), "process of the session");
    if (!isPooled(client, backend)) return;
    const timer = setInterval(() => {
      backendOf(client).then(
        (now) => {
          if (now !== backend) reject(pooled());
        },
        () => clearInterval(timer),
      );
    }, everyMs);
    client.once("end", () => clearInterval(timer));
  });
}

/** Ends the statements under way in these sessions, from one of its own; they fail and their transactions with them. */
export async function cancelStatements(
  config: PostgresConfig,
  sessions: readonly pg.Client[],
): Promise<void> {
  await withSession(config, "switchback cancel", async (client) => {
    await client.query("SELECT pg_cancel_backend(pid) FROM unnest($1::int[]) AS pid", [
      sessions.map((session) => present(backends.get(session), "process of the session")),
    ]);
  });
}

/**
 * What may be tried again in a new session, because the store's records tell how to continue. That is a lost
 * connection, or a server that stopped or ended the session for a timeout or an administrator. It is also a lack of
 * connections, memory or disk, a deadlock, a lock or an object in use, or a cancelled statement. Anything else is for
 * the operator, or a bug.
 */
const BY_SQLSTATE: readonly (readonly [RegExp, ErrorCode])[] = [
  [/^SB001$/, "POSITION_CONFLICT"],
  [/^SB002$/, "COUNT_MISMATCH"],
  [/^SB003$/, "TARGET_DISTURBED"],
  [/^28/, "POSTGRES_AUTHENTICATION"],
  [/^3D000$/, "POSTGRES_DATABASE_MISSING"],
  [/^42501$/, "POSTGRES_RIGHTS"],
  // A table or column of ours is not there any more.
  [/^42(P01|703)$/, "TARGET_CHANGED"],
  // Something of the operator's own depends on a table that must change its shape.
  [/^2BP01$/, "TARGET_MISMATCH"],
  [/^25006$/, "POSTGRES_READ_ONLY"],
  // 25P03, 25P04 and 57P05: the session idled or worked for longer than a timeout allows.
  [/^(08|25P0[34]$|57P0[1-5]$)/, "POSTGRES_UNREACHABLE"],
  [/^(53|40001$|40003$|40P01$|55006$|55P03$|57014$|58)/, "POSTGRES_TRANSIENT"],
];

const SOCKET = /^(ECONN|EPIPE|ETIMEDOUT|ENOTFOUND|EAI_AGAIN|EHOST|ENETUNREACH|ENETDOWN)/;
const LOST =
  /connection (terminated|ended)|timeout expired|connection timeout|not queryable|socket|client (was closed|has encountered)|server does not support SSL/i;

/** SQLSTATE of an error that PostgreSQL reported, or null; EPIPE has five letters as well, but no digit. */
export function sqlState(error: unknown): string | null {
  if (error instanceof SwitchbackError) return error.cause === undefined ? null : sqlState(error.cause);
  const code = (error as { code?: unknown } | null)?.code;
  return error instanceof Error && typeof code === "string" && /^(?=.*\d)[0-9A-Z]{5}$/.test(code)
    ? code
    : null;
}

/** True when the statement did not fail for what it says: the connection, a lock, another sidecar came in between. */
export function isInterrupted(error: unknown): boolean {
  const { code } = error instanceof SwitchbackError ? error : {};
  return code !== undefined && INTERRUPTIONS.has(code);
}

const INTERRUPTIONS: ReadonlySet<ErrorCode> = new Set([
  "POSTGRES_UNREACHABLE",
  "POSTGRES_TRANSIENT",
  "POSTGRES_READ_ONLY",
  "POSITION_CONFLICT",
]);

/** True when the rows sent are at fault: a value out of range, a constraint, an index entry too large. */
export function isDataError(error: unknown): boolean {
  return /^(22|23|54)/.test(sqlState(error) ?? "");
}

function codeOf(state: string, error: Error): ErrorCode | undefined {
  // All missing rights have one SQLSTATE, and the message is in the server's language.
  if (state === "42501" && (error as { routine?: unknown }).routine === "check_enable_rls")
    return "POSTGRES_ROW_SECURITY";
  return BY_SQLSTATE.find(([pattern]) => pattern.test(state))?.[1];
}

/** The SwitchbackError for what pg threw; unknown errors come back as they are, for the operator to see. */
export function postgresError(error: unknown, where = "PostgreSQL"): unknown {
  if (error instanceof SwitchbackError || !(error instanceof Error)) return error;
  const state = sqlState(error);
  const bySqlState = state === null ? undefined : codeOf(state, error);
  if (bySqlState) {
    // The detail names the objects that depend on a table or a column.
    const { detail } = error as { detail?: unknown };
    const named = state === "2BP01" && typeof detail === "string" ? `: ${detail.replaceAll("\n", "; ")}` : "";
    return new SwitchbackError(bySqlState, `${where}: ${error.message}${named}`, {}, { cause: error });
  }
  // The server ends the session with it, whatever the reason.
  const last = state !== null && /^(FATAL|PANIC)$/.test(String((error as { severity?: unknown }).severity));
  const code = (error as { code?: unknown }).code;
  const nested = error instanceof AggregateError ? (error.errors[0] as Error | undefined) : undefined;
  if ((typeof code === "string" && SOCKET.test(code)) || LOST.test(error.message) || nested || last) {
    return new SwitchbackError(
      "POSTGRES_UNREACHABLE",
      `${where}: ${nested?.message ?? error.message}`,
      {},
      { cause: error },
    );
  }
  return error;
}

/** lock_not_available, deadlock_detected, serialization_failure. */
const LOCKED = /^(55P03|40P01|40001)$/;

/**
 * Runs `work`, which begins a transaction with a lock_timeout of its own, and tries again while locks are not free. Other
 * sessions queue behind a request for a lock, so the request ends soon. Each try that fails is rolled back.
 */
export function retryTransaction(
  client: pg.ClientBase,
  wait: Omit<LockWait, "locked">,
  work: () => Promise<void>,
): Promise<void> {
  const attempt = async () => {
    try {
      await work();
    } catch (error) {
      await client.query("ROLLBACK").catch(() => {});
      throw error;
    }
  };
  return retryOnLock(attempt, { ...wait, locked: (error) => LOCKED.test(sqlState(error) ?? "") });
}
