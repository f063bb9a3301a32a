// What ends processes and sessions in a hostile run.
import { setTimeout as sleep } from "node:timers/promises";
import { Wrong } from "./settle.js";
import type { World } from "./world.js";

/** Ends processes and sessions; a sidecar that was ended starts again. */
export async function strike(world: World, what: string): Promise<void> {
  // The sessions of a sidecar that is gone hold its locks for a moment.
  for (const code of ["KILLED", "TARGET_TAKEN", "SOURCE_TAKEN", "POSITION_CONFLICT"])
    world.suspects.add(code);
  const sessions = (which: string) =>
    world.ask(
      `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() AND ${which}`,
    );
  switch (what) {
    case "sidecar":
      await world.stopSidecar("kill9");
      return world.start();
    case "sidecar-term":
      await world.stopSidecar("term");
      return world.start();
    case "writers":
      for (const writer of world.writers) writer.kill();
      return;
    case "sessions":
      await sessions(`usename = '${world.roleName}' AND pid % 2 = 0`);
      return;
    case "all-sessions":
      await sessions("TRUE");
      return;
    case "server":
      await world.server.stop("immediate");
      await world.server.start();
      return;
    case "frozen":
      world.server.pause();
      await sleep(700);
      return world.server.resume();
    default:
      throw new Wrong(`unknown: ${what}`);
  }
}
