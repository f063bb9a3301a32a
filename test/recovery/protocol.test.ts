// The flip and the recovery against every state that a crash, a failure, a withdrawal, an unknown outcome or a late
// sidecar can leave. Breadth first, until there are no new states.
import { expect, test } from "vitest";
import { effort } from "../support/effort.js";
import {
  check,
  copyOf,
  end,
  everyScript,
  FAULTS,
  forget,
  normal,
  playFlip,
  playRecovery,
  type Script,
  start,
  thaw,
  Violation,
  type World,
  write,
} from "../support/protocol.js";

interface Limits {
  readonly sources: number;
  readonly epochMax: number;
  /** How much may go wrong within one flip or one recovery. */
  readonly faultsMax: number;
  /** A sidecar, or a session of it, that stops in the middle and continues when others have taken over. */
  readonly freezing: boolean;
  /** An older state of one store is put back. */
  readonly tampering: boolean;
}

interface Explored {
  readonly states: number;
  readonly plays: number;
  /** Recoveries that refused. */
  readonly refused: number;
}

async function explore({ sources, epochMax, faultsMax, freezing, tampering }: Limits): Promise<Explored> {
  const faults = FAULTS.filter((fault) => freezing || fault !== "freeze");
  const seen = new Map<string, string>();
  const waiting: World[] = [];
  let [plays, refused] = [0, 0];
  const reach = (world: World, from: string, how: string) => {
    check(world);
    const state = normal(world);
    const key = JSON.stringify(state);
    if (seen.has(key)) return;
    seen.set(key, from === "" ? how : `${from}\n${how}`);
    if (state.refused) refused += 1;
    else waiting.push(state);
  };
  reach(start(sources), "", "start");
  for (let world = waiting.shift(); world; world = waiting.shift()) {
    const story = seen.get(JSON.stringify(world)) ?? "";
    const after = (how: string, change: (copy: World) => unknown) => {
      const copy = copyOf(world);
      try {
        change(copy);
        reach(copy, story, how);
      } catch (error) {
        throw told(error, story, how);
      }
    };
    const played = async (how: string, play: (copy: World, script: Script) => Promise<void>) => {
      plays += await everyScript(faults, faultsMax, async (script) => {
        const copy = copyOf(world);
        try {
          await play(copy, script);
          reach(copy, story, `${how}: ${script}`);
        } catch (error) {
          throw told(error, story, `${how}: ${script}`);
        }
      });
    };
    for (let i = 0; i < sources && !world.tampered; i++) after(`write ${i}`, (copy) => write(copy, i));
    if (world.frozen.length > 0) {
      after("what is frozen never wakes up", forget);
      after("what is frozen takes a step", thaw);
    }
    if (!world.running) await played("recovery", playRecovery);
    else if (world.database.epoch < epochMax) await played("flip", playFlip);
    if (world.running) after("kill", (copy) => end(copy, false));
    if (tampering && world.frozen.length === 0) tamper(world, sources, after);
  }
  return { states: seen.size, plays, refused };
}

/** A violation with the way that led to it. */
function told(error: unknown, story: string, how: string): unknown {
  return error instanceof Violation ? new Violation(`${error.message}\n${story}\n${how}`) : error;
}

/** A copy of one store is taken at any moment, and put back at any later one while no sidecar runs. */
function tamper(
  world: World,
  sources: number,
  after: (how: string, change: (copy: World) => void) => void,
): void {
  if (!world.backup && !world.tampered) {
    after("back up database", (copy) => {
      copy.backup = { database: structuredClone(copy.database) };
    });
    for (let i = 0; i < sources; i++) {
      after(`back up file ${i}`, (copy) => {
        const file = copy.files[i];
        if (file) copy.backup = { file: structuredClone(file), i };
      });
    }
  }
  if (world.backup) after("kill, and put the backup back", putBack);
}

function putBack(world: World): void {
  const { backup } = world;
  if (!backup) return;
  end(world, false);
  world.tampered = true;
  world.backup = null;
  if ("database" in backup) world.database = backup.database;
  else world.files[backup.i] = backup.file;
  // What only the replaced store held is the operator's loss; what any store still holds must not be lost unnoticed.
  world.acked = world.files.map(({ data }, i) => Math.max(data, world.database.data[i] ?? 0));
}

const CASES: readonly Limits[] = [
  { sources: 1, epochMax: effort(3, 4), faultsMax: 2, freezing: true, tampering: false },
  { sources: 2, epochMax: 2, faultsMax: effort(1, 2), freezing: true, tampering: false },
  { sources: 3, epochMax: 2, faultsMax: 1, freezing: false, tampering: false },
  { sources: 1, epochMax: 4, faultsMax: 1, freezing: false, tampering: true },
  { sources: 2, epochMax: effort(1, 2), faultsMax: 1, freezing: false, tampering: true },
];

for (const limits of CASES) {
  const also = [limits.freezing && "sidecars that wake up late", limits.tampering && "a backup put back"];
  const what = [
    `${limits.sources} sources, up to epoch ${limits.epochMax}, ${limits.faultsMax} faults at a time`,
    ...also.filter(Boolean),
  ].join(", ");
  test(what, async () => {
    const { states, plays, refused } = await explore(limits);
    process.stdout.write(`${what}: ${states} states, ${plays} flips and recoveries, ${refused} refused\n`);
    expect(states).toBeGreaterThan(100);
    expect(refused > 0).toBe(limits.tampering);
  });
}
