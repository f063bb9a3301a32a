// The errors that the application's library throws: which store, what it reported, and for constraints which
// kind, so that callers need to know neither engine. It owns the reading of both engines' codes and runs
// nothing.
import { mask } from "../telemetry/redact.js";
import { fenceOf } from "./fence.js";

export type StoreName = "sqlite" | "postgres";
export type Constraint = "unique" | "foreign key" | "not null" | "check";

interface ErrorFacts {
  readonly store?: StoreName | undefined;
  readonly cause?: unknown;
  /** The kind of failure, where the store named none. */
  readonly code?: string;
}

/** The common fields of all errors of this library. `message` never contains a password. */
export class ClientError extends Error {
  override readonly name: string = "ClientError";
  /** The store concerned, where it matters. */
  readonly store: StoreName | undefined;
  /** PostgreSQL's SQLSTATE, where PostgreSQL reported the error. */
  readonly sqlState: string | undefined;
  /** SQLite's code (`SQLITE_CONSTRAINT_UNIQUE`), the SQLSTATE, the socket's code, or a code of this library. */
  readonly code: string | undefined;

  constructor(message: string, facts: ErrorFacts = {}) {
    super(mask(message), facts.cause === undefined ? undefined : { cause: facts.cause });
    this.store = facts.store;
    this.code = facts.code ?? codeOf(facts.cause);
    this.sqlState = reportedSqlState(facts.cause);
  }
}

/** A store cannot be reached, or the route did not let the call through within `waitMs` (code `ROUTE_TIMEOUT`). */
export class ConnectionError extends ClientError {
  override readonly name = "ConnectionError";
}

/** The error of every call after `close`. */
export function closed(): ConnectionError {
  return new ConnectionError("the handle is closed", { code: "CLOSED" });
}

/** A store refused one statement, or its text or values cannot be used. */
export class QueryError extends ClientError {
  override readonly name = "QueryError";
  /** Which kind of constraint was violated; undefined for other errors. */
  readonly constraint: Constraint | undefined;

  constructor(message: string, facts: ErrorFacts = {}) {
    super(message, facts);
    this.constraint = constraintOf(facts.cause);
  }
}

/** A transaction, or a statement that writes, did not complete. */
export class TransactionError extends ClientError {
  override readonly name = "TransactionError";
  /** `unknown`: it may have been committed, and PostgreSQL could not be asked. All others were rolled back. */
  readonly outcome: "rolled back" | "unknown";
  /** A constraint that was checked only at the commit. */
  readonly constraint: Constraint | undefined;

  constructor(message: string, facts: ErrorFacts & { readonly outcome?: "rolled back" | "unknown" } = {}) {
    super(message, facts);
    this.outcome = facts.outcome ?? "rolled back";
    this.constraint = constraintOf(facts.cause);
  }
}

/** SQLSTATE of PostgreSQL's report. */
export function reportedSqlState(error: unknown): string | undefined {
  const code = codeOf(error);
  return code !== undefined && /^(?=.*\d)[0-9A-Z]{5}$/.test(code) ? code : undefined;
}

export function codeOf(error: unknown): string | undefined {
  const code = error instanceof Error ? (error as Error & { code?: unknown }).code : undefined;
  return typeof code === "string" ? code : undefined;
}

const CONSTRAINTS: Readonly<Record<string, Constraint>> = {
  SQLITE_CONSTRAINT_UNIQUE: "unique",
  SQLITE_CONSTRAINT_PRIMARYKEY: "unique",
  SQLITE_CONSTRAINT_ROWID: "unique",
  SQLITE_CONSTRAINT_FOREIGNKEY: "foreign key",
  SQLITE_CONSTRAINT_NOTNULL: "not null",
  SQLITE_CONSTRAINT_CHECK: "check",
  "23505": "unique",
  "23P01": "unique",
  "23503": "foreign key",
  "23001": "foreign key",
  "23502": "not null",
  "23514": "check",
};

function constraintOf(error: unknown): Constraint | undefined {
  return CONSTRAINTS[codeOf(error) ?? ""];
}

/** An error's message; for several causes the first one's. */
export function errorMessage(error: unknown): string {
  if (error instanceof AggregateError && error.errors.length > 0) return errorMessage(error.errors[0]);
  return error instanceof Error ? error.message || String(codeOf(error)) : String(error);
}

// ---- what the caller sees

/** Carries an error of the caller's own function through the handle unchanged. */
export class CallersOwn extends Error {
  constructor(readonly error: unknown) {
    super("the caller's own error");
  }
}

/** The caller's error for what a store threw; any other error is returned unchanged. */
export function typed(store: StoreName, error: unknown, sql: string | null): unknown {
  if (error instanceof CallersOwn) return error.error;
  if (error instanceof ClientError || !(error instanceof Error)) return error;
  const facts = { store, cause: error };
  if (isLost(error) || /^(28|3D)/.test(reportedSqlState(error) ?? "")) {
    return new ConnectionError(`${store}: ${errorMessage(error)}`, facts);
  }
  if (/^SQLITE_(CANTOPEN|NOTADB|CORRUPT|IOERR|READONLY|FULL|PERM)/.test(codeOf(error) ?? "")) {
    return new ConnectionError(`${store}: ${errorMessage(error)}`, facts);
  }
  const about = sql === null ? "" : ` (in ${shortened(sql)})`;
  return new QueryError(`${store}: ${errorMessage(error)}${about}`, facts);
}

function shortened(sql: string): string {
  const line = sql.replaceAll(/\s+/g, " ").trim();
  return line.length > 120 ? `${line.slice(0, 119)}…` : line;
}

// ---- what to do about an error

/** The epoch is null where the refusal came from a store's record, not from its fence. */
export class FenceMet extends Error {
  constructor(
    readonly store: StoreName,
    readonly epoch: number | null,
  ) {
    super(`writes have left ${store}`);
  }
}

/** A transaction that was certainly not committed, and whose own work is not the cause. */
export class Lost extends Error {}

/**
 * fence: the writes have moved · conflict: again in the same store · lost: the connection, before anything
 * could be committed · final: for the caller.
 */
export type ErrorVerdict = "fence" | "conflict" | "lost" | "final";

const SOCKET = /^(ECONN|EPIPE|ETIMEDOUT|ENOTFOUND|EAI_AGAIN|EHOST|ENETUNREACH|ENETDOWN|EADDRNOTAVAIL)/;
const BROKEN =
  /connection (terminated|ended|timeout)|timeout e|not queryable|socket|client (was closed|has enc)/i;

/** Classifies a store's error, also when it is the cause of an error of this library. */
export function judgeError(error: unknown): ErrorVerdict {
  if (error instanceof FenceMet) return "fence";
  if (error instanceof Lost) return "lost";
  if (error instanceof ClientError) {
    const decided = error instanceof TransactionError && error.outcome === "unknown";
    return decided || error.cause === undefined ? "final" : judgeError(error.cause);
  }
  if (!(error instanceof Error)) return "final";
  const code = codeOf(error) ?? "";
  if (fenceOf(error) !== null) return "fence";
  if (/^(SQLITE_BUSY|SQLITE_LOCKED)|^(40001|40P01)$/.test(code)) return "conflict";
  return isLost(error) ? "lost" : "final";
}

/** The epoch that a fence names; null for every other error. */
export function fenceEpoch(error: unknown): number | null {
  return error instanceof FenceMet ? error.epoch : (fenceOf(error)?.epoch ?? null);
}

/** True when the connection, not the statement, is at fault and a new one may succeed. */
export function isLost(error: unknown): boolean {
  if (error instanceof AggregateError) return error.errors.some(isLost);
  const state = reportedSqlState(error);
  // A pooler's refusal comes as 08P01, a protocol violation; this one is permanent.
  if (error instanceof Error && /statement pooling mode/i.test(error.message)) return false;
  // 53300: too many connections; 57P0x: the server stops, crashed or is starting.
  if (state !== undefined) return /^(08|57P0[1235]|53300)/.test(state);
  if (!(error instanceof Error) || codeOf(error)?.startsWith("SQLITE_")) return false;
  return SOCKET.test(codeOf(error) ?? "") || BROKEN.test(error.message);
}
