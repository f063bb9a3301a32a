// Checks repeatedly and cheaply whether the file at a path is still the one that was closed, and still
// closed. An unchanged file costs one stat and one PRAGMA; a changed one is opened again, as an application
// would open it.
import { execFile } from "node:child_process";
import { statSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import type Database from "better-sqlite3";
import { openSqlite } from "../connection.js";
import { type CloseOrder, closeFile, type Judged, judgeFile, readFenceState } from "./close.js";

export type Look = Judged | "replaced" | "gone";

const CLOSE_MS = 5_000;
const PROCESS = fileURLToPath(new URL("./process.js", import.meta.url));
const run = promisify(execFile);

export class ClosedFileWatch {
  private readonly db: Database.Database;
  private readonly version: Database.Statement<unknown[]>;
  private readonly inode: string;
  private seen = "";

  constructor(private readonly file: string) {
    this.db = openSqlite(file, { readonly: true });
    this.version = this.db.prepare<unknown[]>("PRAGMA data_version").pluck();
    this.inode = placeOf(file)?.inode ?? "";
  }

  look(order: CloseOrder): Look {
    const place = placeOf(this.file);
    if (place === null) return "gone";
    if (place.inode !== this.inode) return "replaced";
    const seen = `${place.state} ${this.version.get()} ${order.epoch}`;
    if (seen === this.seen) return "closed";
    const db = openSqlite(this.file, { readonly: true });
    try {
      const found = judgeFile(readFenceState(db), order);
      if (found !== "closed") return found;
    } finally {
      db.close();
    }
    this.seen = seen;
    return "closed";
  }

  /** Closes a file that was found open. Resolves to its state before. @throws when it cannot be closed */
  async closeAgain(order: CloseOrder, found: Exclude<Look, "closed" | "gone">): Promise<Judged> {
    if (found !== "replaced") return closeFile(order, AbortSignal.timeout(CLOSE_MS));
    const { stdout } = await run(process.execPath, [PROCESS, JSON.stringify(order)], {
      timeout: 2 * CLOSE_MS,
    });
    const answer = JSON.parse(stdout) as { found: Judged } | { error: string };
    if ("error" in answer) throw new Error(answer.error);
    return answer.found;
  }

  close(): void {
    this.db.close();
  }
}

function placeOf(file: string): { inode: string; state: string } | null {
  const stat = statSync(file, { throwIfNoEntry: false });
  if (!stat) return null;
  return { inode: `${stat.dev}:${stat.ino}`, state: `${stat.mtimeMs} ${stat.ctimeMs} ${stat.size}` };
}
