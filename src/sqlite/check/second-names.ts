// Whether a SQLite file has a second name: a hard link, or a mount of the single file. SQLite keeps the -wal
// and -shm files beside the name that was opened. Two processes with two names do not see each other's
// commits and damage the file. Symbolic links are resolved to one name and are harmless.
// -shm file beside the name that was opened, so that two processes with two names do not see each other's commits and
// damage the file. Symbolic links are followed to one name and do no harm.
import { readFileSync, realpathSync, statSync } from "node:fs";
import { dirname } from "node:path";
import { ERRORS, SwitchbackError, type Where } from "../../errors.js";
import { statFile } from "../connection.js";

interface SecondName {
  readonly code: "hard-link" | "file-mount";
  readonly message: string;
}

/** Null for a file with one name, as far as this process can see. */
export function secondName(file: string): SecondName | null {
  const path = realpathSync(file);
  const { nlink } = statSync(path);
  if (nlink > 1)
    return {
      code: "hard-link",
      message: `the file has ${nlink} names (hard links), each with its own -wal file`,
    };
  if (!isMountPoint(path)) return null;
  return {
    code: "file-mount",
    message:
      "the file is mounted without its folder, so that its -wal file is elsewhere for the other processes",
  };
}

export const SECOND_NAME_REMEDY = ERRORS.SQLITE_LINKED.hint;

/**
 * Passes anything that is not a file: opening it reports that. @throws SwitchbackError SQLITE_LINKED,
 * SQLITE_UNREADABLE
 */
export function assertOneName(file: string, where: Where): void {
  const second = statFile(file, where)?.isFile() ? secondName(file) : null;
  if (second) throw new SwitchbackError("SQLITE_LINKED", `${file}: ${second.message}`, where);
}

function isMountPoint(path: string): boolean {
  let table: string;
  try {
    table = readFileSync("/proc/self/mountinfo", "utf8");
  } catch {
    // On other systems than Linux only a mount from another device is visible.
    return statSync(path).dev !== statSync(dirname(path)).dev;
  }
  return mountPoints(table).includes(path);
}

/** The mount points in the text of /proc/self/mountinfo; blanks in them are octal there. */
export function mountPoints(table: string): string[] {
  return table
    .split("\n")
    .map((line) => line.split(" ")[4] ?? "")
    .filter((point) => point !== "")
    .map((point) =>
      point.replaceAll(/\\([0-7]{3})/g, (_, code: string) => String.fromCharCode(Number.parseInt(code, 8))),
    );
}
