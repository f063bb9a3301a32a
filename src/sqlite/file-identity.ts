// The identity of the file at a path. An open connection stays with the file that it opened, wherever that
// file is now; opening the path again opens the file that was moved there. It examines the path and never
// opens the file.
import { SwitchbackError } from "../errors.js";
import { assertOneName } from "./check/second-names.js";
import { statFile } from "./connection.js";

export class FileIdentity {
  private readonly inode: string;

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
    const { file } = this.where;
    if (inodeOf(this.where) === this.inode) return;
    throw new SwitchbackError(
      "SQLITE_REPLACED",
      `${file}: it is not the file that was captured: another file was moved there`,
      this.where,
    );
  }
}

function inodeOf(where: { readonly source: string; readonly file: string }): string {
  const stat = statFile(where.file, where);
  return stat ? `${stat.dev}:${stat.ino}` : "gone";
}
