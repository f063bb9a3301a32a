// The identity of the file at a path. An open connection stays with the file that it opened, wherever that
// file is now; opening the path again opens the file that was moved there. It examines the path and never
// opens the file.
import { realpathSync } from "node:fs";
import { SwitchbackError } from "../errors.js";
import { assertOneName } from "./check/second-names.js";
import { statFile } from "./connection.js";

const GONE = "gone";

export class FileIdentity {
  private readonly inode: string;
  private shared: { readonly file: string; readonly inode: string } | null = null;

  /** Must run before the file is opened. @throws SwitchbackError SQLITE_LINKED, SQLITE_UNREADABLE */
  constructor(private readonly where: { readonly source: string; readonly file: string }) {
    assertOneName(where.file, where);
    this.inode = inodeOf(where);
  }

  /**
   * Costs microseconds. @throws SwitchbackError SQLITE_REPLACED when the path has another file by now, or
   * none
   */
  assertSame(): void {
    if (inodeOf(this.where) !== this.inode) throw this.replaced("another file was moved there");
    const { shared, where } = this;
    if (shared && inodeOf({ ...where, file: shared.file }) !== shared.inode)
      throw this.replaced(
        "its -wal and -shm files were deleted, as by a restored backup; restore it once more when the sidecar has stopped",
      );
  }

  /**
   * From now on the file's shared memory must stay as well. SQLite deletes it with the last connection: while one in WAL
   * mode is open, that one sees no later change once it is deleted.
   */
  holdShared(): void {
    const file = `${realpathSync(this.where.file)}-shm`;
    const inode = inodeOf({ ...this.where, file });
    if (inode !== GONE) this.shared = { file, inode };
  }

  private replaced(how: string): SwitchbackError {
    const message = `${this.where.file}: it is not the file that was captured: ${how}`;
    return new SwitchbackError("SQLITE_REPLACED", message, this.where);
  }
}

function inodeOf(where: { readonly source: string; readonly file: string }): string {
  const stat = statFile(where.file, where);
  return stat ? `${stat.dev}:${stat.ino}` : GONE;
}
