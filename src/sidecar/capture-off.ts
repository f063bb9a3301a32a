// What the sidecar and the commands beside it do while a migration runs under `switchback exec`. The copy stays where
// it is, because rows that are evicted meanwhile are not logged. Triggers are not put back before the migration ends.
import type pg from "pg";
import { SwitchbackError } from "../errors.js";
import { isMigrating } from "../postgres/migration-lock.js";
import { problem } from "../problem.js";
import { pause } from "../retry.js";
import { readCaptureOff } from "../sqlite/capture/off.js";
import type { SqliteSource } from "../sqlite/source/source.js";
import type { Problem } from "../status.js";

const LOOK_MS = 100;

/** What stands in the way of a flip while triggers are off. */
export function captureOffProblem(source: string): Problem {
  return problem("CAPTURE_OFF", messageOf(source), { source });
}

function messageOf(source: string): string {
  return `${source}: triggers are off for a migration, and PostgreSQL stays as it was when it began`;
}

/** Resolves once no migration runs, or when aborted; `waiting` is told once that there is one. */
export async function untilCaptureMayReturn(
  file: SqliteSource,
  client: pg.ClientBase,
  signal: AbortSignal,
  waiting: () => void,
): Promise<void> {
  for (let first = true; !signal.aborted; first = false) {
    if (file.look(readCaptureOff) === null || !(await isMigrating(client))) return;
    if (first) waiting();
    await pause(LOOK_MS, signal).catch(() => {});
  }
}

/** @throws SwitchbackError CAPTURE_OFF while triggers are off */
export function assertCaptureOn(file: SqliteSource): void {
  if (file.look(readCaptureOff) === null) return;
  throw new SwitchbackError("CAPTURE_OFF", messageOf(file.name), { source: file.name, file: file.file });
}
