// Where the tests' servers and files live: in memory where the machine has room there. What a test crashes is a
// process and not the machine, so nothing has to reach a disk. TMPDIR, when it is set, has precedence.
import { accessSync, constants, mkdtempSync, rmSync, statfsSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const MEMORY = "/dev/shm";
/** Two servers, and those of the tests that crash their own. A container's default of 64 MB is not enough. */
const ROOM_BYTES = 4 * 1024 ** 3;

let chosen: string | undefined;

/** The folder to make temporary folders in. */
export function scratch(): string {
  chosen ??= process.env.TMPDIR === undefined && hasRoom(MEMORY) ? MEMORY : tmpdir();
  return chosen;
}

/** A temporary folder, deleted by the function beside it. */
export function temporaryFolder(): { folder: string; remove: () => void } {
  const folder = mkdtempSync(join(scratch(), "switchback-test-"));
  return { folder, remove: () => rmSync(folder, { recursive: true, force: true }) };
}

function hasRoom(folder: string): boolean {
  try {
    accessSync(folder, constants.W_OK);
    const { bavail, bsize } = statfsSync(folder);
    return bavail * bsize >= ROOM_BYTES;
  } catch {
    return false;
  }
}
