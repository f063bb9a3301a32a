// Flips and reverts in a hostile run: by command, by flag and over HTTP, with something killed in the middle.
import { setTimeout as sleep } from "node:timers/promises";
import { type FlipDocument, routeFile, type Store } from "../flips.js";
import type { Kind } from "./kind.js";
import { COMMAND, move, proven } from "./move.js";
import { type Note, quiet, settle, Wrong } from "./settle.js";
import { strike } from "./strike.js";
import type { World } from "./world.js";

const other = (store: Store): Store => (store === "sqlite" ? "postgres" : "sqlite");

/** What must keep the writes where they are. */
function blocked(world: World): boolean {
  const refused = [...world.refused.values()].includes(world.writes);
  return refused || (world.writes === "sqlite" && world.standing.some(({ blocks }) => blocks));
}

const flipKind: Kind = {
  name: "flip",
  weight: 5,
  alone: true,
  plan: (world, pick) => ({
    operation: { op: "flip", to: other(world.writes), how: pick(3) === 0 ? "flag" : "command" },
  }),
  async perform(world, { to, how }, note) {
    if (world.writes === to) return false;
    if (blocked(world)) return refusedFlip(world, to as Store);
    if (how === "command") await move(world, to as Store, note);
    else await byFlag(world, to as Store, note);
    return true;
  },
};

async function refusedFlip(world: World, to: Store): Promise<boolean> {
  world.suspects.add("FLIP_REFUSED");
  const { code, stdout, stderr } = await world.command([COMMAND[to], "--json", "--timeout", "2s"]);
  const document = JSON.parse(stdout || "null") as FlipDocument | null;
  if (code !== 1 || document?.flipped !== false || !document.reason)
    throw new Wrong(`a blocked flip answered ${code} ${stdout} ${stderr}`);
  if (routeFile(world.sidecar)?.writes === to) throw new Wrong(`a blocked flip took place: ${stdout}`);
  return true;
}

/** The flag stays as it is set; whatever happens meanwhile, the writes arrive. */
async function byFlag(world: World, to: Store, note: Note): Promise<void> {
  await settle(world, note);
  if (to === "postgres") await proven(world, note);
  world.flag(to);
  await arrived(world, to, note);
}

async function arrived(world: World, to: Store, note: Note): Promise<void> {
  for (const until = Date.now() + 60_000; Date.now() < until; await sleep(30)) {
    if (routeFile(world.sidecar)?.writes === to) {
      world.writes = to;
      world.whileAway.clear();
      return settle(world, note);
    }
    if (!world.sidecar.running) world.start();
    const status = await world.sidecar.status();
    const problems = JSON.stringify(status?.problems ?? []);
    if (status?.phase === "halted") throw new Wrong(`halted in a flip: ${problems}`);
    // What was killed may have made the comparison old; what was done to SQLite asks for a repair.
    if (problems.includes("switchback verify --repair")) await world.command(["verify", "--repair"]);
    else if (to === "postgres" && /verif/i.test(problems)) await world.command(["verify"]);
  }
  throw new Wrong(`no flip to ${to}: ${JSON.stringify(await world.sidecar.status())}`);
}

const interruptedKind: Kind = {
  name: "interrupted-flip",
  weight: 4,
  alone: true,
  plan: (world, pick) => ({
    operation: {
      op: "interrupted-flip",
      to: other(world.writes),
      what: ["sidecar", "sidecar-term", "sessions", "all-sessions", "server", "writers"][pick(6)],
      afterMs: pick(250),
    },
  }),
  async perform(world, { to, what, afterMs }, note) {
    if (world.writes === to || blocked(world)) return false;
    for (const code of ["FLIP_REFUSED", "FLIP_RETREATED", "ROWS_DIFFER"]) world.suspects.add(code);
    await settle(world, note);
    if (to === "postgres") await proven(world, note);
    world.flag(to as Store);
    await sleep(afterMs as number);
    await strike(world, what as string);
    await arrived(world, to as Store, note);
    await quiet(world, note);
    return true;
  },
};

export const flipKinds: readonly Kind[] = [flipKind, interruptedKind];
