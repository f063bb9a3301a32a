// The locks on a sidecar's SQLite files: each file is followed by one sidecar, whichever database that one copies to.
import { hostname } from "node:os";
import type { PairedSource } from "../cutover/pair.js";
import type { DatabaseIdentity } from "../postgres/pair.js";
import { FileLock } from "../sqlite/file-lock.js";

export class FileLocks {
  private held: FileLock[] = [];

  /** Takes all of them, once. @throws SwitchbackError SOURCE_TAKEN; none is held then */
  async take(sources: readonly PairedSource[], { address, place }: DatabaseIdentity): Promise<void> {
    if (this.held.length > 0) return;
    const me = { host: hostname(), pid: process.pid, address, place, since: new Date().toISOString() };
    try {
      for (const { name, sqlite } of sources)
        this.held.push(await FileLock.take(sqlite, me, { source: name, file: sqlite }));
    } catch (error) {
      this.release();
      throw error;
    }
  }

  release(): void {
    for (const lock of this.held) lock.release();
    this.held = [];
  }
}
