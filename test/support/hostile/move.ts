// Moves the writes in a hostile run, as often asked for as an operator would.
import { setTimeout as sleep } from "node:timers/promises";
import { type FlipDocument, routeFile, type Store } from "../flips.js";
import { type Note, settle, Wrong } from "./settle.js";
import type { World } from "./world.js";

export const COMMAND = { postgres: "cutover", sqlite: "revert" } as const;
const TRIES = 8;

/** Moves the writes, as often asked as an operator would. */
export async function move(world: World, to: Store, note: Note): Promise<void> {
  if (world.writes === to) return;
  let reason = "";
  for (let tries = 0; tries < TRIES; tries++) {
    await settle(world, note);
    if (to === "postgres") await proven(world, note);
    const { code, stdout, stderr } = await world.command([COMMAND[to], "--json", "--timeout", "8s"]);
    const document = JSON.parse(stdout || "null") as FlipDocument | null;
    if (code === 0 && document?.flipped) {
      world.writes = to;
      world.whileAway.clear();
      return settle(world, note);
    }
    reason = `${code} ${stdout} ${stderr}`;
    note({ retreated: reason.slice(0, 500) });
    if (routeFile(world.sidecar)?.writes === to) {
      world.writes = to;
      return settle(world, note);
    }
    await sleep(200);
  }
  throw new Wrong(`the writes did not move to ${to}: ${reason}`);
}

/** A comparison that found all equal, as a cutover asks for. */
export async function proven(world: World, note: Note): Promise<void> {
  for (let tries = 0; ; tries++) {
    const { code, stdout, stderr } = await world.command(["verify"]);
    if (code === 0) return;
    if (tries === 5) throw new Wrong(`verify ended with ${code}: ${stdout}${stderr}`);
    await settle(world, note);
    await sleep(200);
  }
}
