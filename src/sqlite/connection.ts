// Opens the application's SQLite file, and turns SQLite's errors into errors that an operator can act on. It
// owns the settings of every connection: it never creates a file, waits for locks, and never lets the file's
// schema call a function with side effects. It knows no tables.
import { accessSync, constants, type Stats, statSync } from "node:fs";
import { dirname } from "node:path";
import Database from "better-sqlite3";
import { type ErrorCode, SwitchbackError, type Where } from "../errors.js";

/** Long enough for an ordinary transaction of the application to end; a longer lock deserves a message. */
const BUSY_TIMEOUT_MS = 5_000;

/**
 * Opens an existing file. Integers are read as bigint, because a number is inexact beyond 2^53. The
 * connection is `query_only` when it is readonly; it may still create the shared-memory file that WAL mode
 * needs.
 * @throws SwitchbackError SQLITE_MISSING, SQLITE_NOT_A_DATABASE, SQLITE_CORRUPT, SQLITE_READ_ONLY, SQLITE_BUSY, SQLITE_IO
 */
export function openSqlite(file: string, options: { readonly: boolean }): Database.Database {
  const where: Where = { file };
  assertFile(file, options.readonly, where);
  let db: Database.Database | undefined;
  try {
    db = new Database(file, { readonly: options.readonly, fileMustExist: true, timeout: BUSY_TIMEOUT_MS });
    db.defaultSafeIntegers(true);
    // Views, triggers and CHECKs of the file run with harmless functions only, even in a file from an
    // untrusted source.
    db.pragma("trusted_schema = OFF");
    if (options.readonly) db.pragma("query_only = ON");
    // The header is read at the first statement, not when the file is opened.
    db.prepare("SELECT count(*) FROM sqlite_schema").pluck().get();
    return db;
  } catch (error) {
    db?.close();
    throw sqliteError(error, where);
  }
}

/** SQLite's own message for all of these is "unable to open database file". */
function assertFile(file: string, readonly: boolean, where: Where): void {
  const stat = statFile(file, where);
  if (!stat) throw new SwitchbackError("SQLITE_MISSING", `no SQLite file at ${file}`, where);
  if (!stat.isFile())
    throw new SwitchbackError("SQLITE_NOT_A_DATABASE", `${file} is not a plain file`, where);
  if (!may(file, constants.R_OK)) {
    throw new SwitchbackError("SQLITE_UNREADABLE", `this user may not read ${file}`, where);
  }
  if (readonly) return;
  if (!may(file, constants.W_OK)) {
    throw new SwitchbackError("SQLITE_READ_ONLY", `this user may not write ${file}`, where);
  }
  if (!may(dirname(file), constants.W_OK)) {
    throw new SwitchbackError(
      "SQLITE_READ_ONLY",
      `this user may not create files in ${dirname(file)}`,
      where,
    );
  }
}

/**
 * Undefined when there is no file; a folder that may not be entered does not reveal that.
 * @throws SwitchbackError SQLITE_UNREADABLE
 */
export function statFile(file: string, where: Where): Stats | undefined {
  try {
    return statSync(file, { throwIfNoEntry: false });
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === "ENOTDIR") return undefined;
    throw new SwitchbackError("SQLITE_UNREADABLE", `${file} cannot be reached: ${code}`, where);
  }
}

/** True when this user has the right; the superuser has every right that the file system grants. */
export function may(path: string, right: number): boolean {
  try {
    accessSync(path, right);
    return true;
  } catch {
    return false;
  }
}

const CODES: readonly (readonly [RegExp, ErrorCode])[] = [
  [/^SQLITE_(BUSY|LOCKED)/, "SQLITE_BUSY"],
  [/^SQLITE_NOTADB/, "SQLITE_NOT_A_DATABASE"],
  [/^SQLITE_CORRUPT|^SQLITE_FORMAT|^SQLITE_IOERR_CORRUPTFS/, "SQLITE_CORRUPT"],
  // The file existed a moment ago: SQLite could not open the -wal or -shm file beside it.
  [/^SQLITE_(READONLY|PERM|AUTH|CANTOPEN)/, "SQLITE_READ_ONLY"],
  [/^SQLITE_(IOERR|FULL|NOLFS|PROTOCOL)/, "SQLITE_IO"],
];

/**
 * The SwitchbackError for an error of better-sqlite3; a SwitchbackError is returned unchanged. An error that
 * is not about the file's state, a constraint or a syntax error for example, is a bug of switchback.
 */
export function sqliteError(error: unknown, where: Where): SwitchbackError {
  if (error instanceof SwitchbackError) return error;
  const message = error instanceof Error ? error.message : String(error);
  if (!(error instanceof Database.SqliteError)) {
    return new SwitchbackError("BUG", message, where, { cause: error });
  }
  if (/no such (collation sequence|function)|unknown function|no such module/.test(message)) {
    return new SwitchbackError("SQLITE_FOREIGN", message, where, { cause: error });
  }
  const code = CODES.find(([pattern]) => pattern.test(error.code))?.[1] ?? "BUG";
  const place = where.file === undefined ? "" : `${where.file}: `;
  return new SwitchbackError(code, `${place}${message} (${error.code})`, where, { cause: error });
}

/** The last resort where errors are reported: an error of SQLite that no caller has translated. */
export function explained(error: unknown): unknown {
  return error instanceof Database.SqliteError ? sqliteError(error, {}) : error;
}
