// After what was done: the sidecar comes to rest by itself, or with the remedy that it prints, under a code that what
// was done explains. Then both stores are compared by code that shares nothing with the product.
import { setTimeout as sleep } from "node:timers/promises";
import type { Status } from "../cli.js";
import { routeFile } from "../flips.js";
import { differences } from "../rows.js";
import type { Standing, World } from "./world.js";

const PHASE = { sqlite: "streaming", postgres: "reverse_streaming" } as const;
const PATIENCE_MS = 40_000;
/** A problem that goes by itself has so long before its remedy is tried. */
const BY_ITSELF_MS = 3_000;
const REMEDIES = 6;
/** What locks, lost sessions and servers that start again explain at any time. */
const ALWAYS = /^(POSTGRES_(UNREACHABLE|TRANSIENT)|SQLITE_BUSY|CAPTURE_LOST|FLIP_RETREATED|FLIP_IN_DOUBT)$/;

interface Problem {
  readonly code: string;
  readonly message: string;
  readonly hint?: string;
}

export type Note = (line: Readonly<Record<string, unknown>>) => void;

export class Wrong extends Error {
  override readonly name = "Wrong";
}

/** Codes that may stay: rows that are refused on purpose, objects that stand on the copy on purpose. */
function resting(world: World): Set<string> {
  const codes = world.standing.flatMap((standing) => (standing.stallsReplication ? [] : standing.codes));
  if (world.refused.size > 0) codes.push("QUARANTINED", "NOT_EQUAL");
  return new Set(codes);
}

function stalls(world: World, code: string): boolean {
  return world.standing.some(({ codes, stallsReplication }) => stallsReplication && codes.includes(code));
}

function explained(world: World, code: string): boolean {
  if (world.standing.some(({ codes }) => codes.includes(code))) return true;
  return (
    ALWAYS.test(code) || world.suspects.has(code) || world.whileAway.has(code) || resting(world).has(code)
  );
}

/** Waits until the sidecar runs, is in its phase and names nothing but what stands on purpose. */
export async function settle(world: World, note: Note): Promise<void> {
  let remedies = 0;
  let since = Date.now();
  let last = "";
  for (const until = Date.now() + PATIENCE_MS; Date.now() < until; await sleep(40)) {
    const found = await look(world);
    if (found === "settled") return;
    const key = JSON.stringify(found.map(({ code }) => code));
    if (key !== last) [last, since] = [key, Date.now()];
    const stranger = found.find(({ code }) => !explained(world, code));
    if (stranger) throw new Wrong(`not explained by what was done: ${JSON.stringify(stranger)}`);
    const ended = world.halted || !world.sidecar.running;
    const [first] = found.filter(({ code }) => ended || stalls(world, code) || !resting(world).has(code));
    if (!first || (!ended && Date.now() - since < BY_ITSELF_MS)) continue;
    if (++remedies > REMEDIES) throw new Wrong(`no remedy helped: ${JSON.stringify(first)}`);
    note({ remedy: first.code, said: first.message });
    await remedy(world, first);
    since = Date.now();
  }
  throw new Wrong(
    `did not settle: ${JSON.stringify(await world.sidecar.status())}\n${world.log().slice(-2500)}`,
  );
}

async function look(world: World): Promise<"settled" | Problem[]> {
  if (!world.sidecar.running) {
    world.halted = false;
    return [ending(world)];
  }
  const status = await world.sidecar.status();
  if (status === null) return [];
  const problems = status.problems as readonly Problem[];
  world.halted = status.phase === "halted";
  const rest = resting(world);
  const calm = problems.every(({ code }) => rest.has(code));
  return calm && isThere(world, status) ? "settled" : [...problems];
}

function isThere(world: World, { phase, route }: Status): boolean {
  const said = routeFile(world.sidecar)?.writes;
  return phase === PHASE[world.writes] && route.writes === world.writes && said === world.writes;
}

/** What a sidecar that ended by itself said last. */
function ending(world: World): Problem {
  const said = [...world.log().matchAll(/switchback: ([A-Z_]{4,}) (.*)/g)].at(-1);
  return { code: said?.[1] ?? "KILLED", message: said?.[2] ?? "" };
}

async function remedy(world: World, { code, message }: Problem): Promise<void> {
  const special = world.remedies.get(code);
  if (special) {
    await special(message);
    return;
  }
  switch (code) {
    case "SQLITE_REWOUND":
    case "LOG_TAMPERED":
      return startAgainFromSqlite(world);
    case "COPY_UNKNOWN":
    case "CHANGE_UNREADABLE":
    case "ROWS_DIFFER":
    case "NOT_EQUAL":
      await world.command(["verify", "--repair"]);
      return;
    case "QUARANTINED":
    case "FENCE_LOST":
      await world.command(["verify"]);
      return;
    case "TARGET_MISMATCH":
    case "TARGET_DISTURBED":
    case "SHAPE_DIFFERS":
    case "INDEX_FAILED":
    case "COUNT_MISMATCH":
    case "POSTGRES_ROW_SECURITY":
      await dropNamed(world, code);
      if (!world.halted && world.sidecar.running) await world.command(["verify"]);
      break;
    default:
      await dropNamed(world, code);
  }
  if (world.halted) await world.stopSidecar("term");
  world.start();
}

/** Teardown, the copied tables dropped, a new start: as the remedy of a log that cannot be trusted says. */
export async function startAgainFromSqlite(world: World): Promise<void> {
  await world.stopSidecar("term");
  await world.alone(async () => {
    const { code, stdout, stderr } = await world.command(["teardown"]);
    if (code !== 0) throw new Wrong(`teardown ended with ${code}: ${stdout}${stderr}`);
    await world.dropCopies();
  });
  world.standing = [];
  world.start();
  world.continue();
}

/** What stops everything first; if nothing does, whatever has the code. */
async function dropNamed(world: World, code: string): Promise<void> {
  const named = world.standing.filter(({ codes }) => codes.includes(code));
  const stalling = named.filter(({ stallsReplication }) => stallsReplication);
  await dropStanding(world, stalling.length > 0 ? stalling : named);
}

export async function dropStanding(world: World, list: readonly Standing[]): Promise<void> {
  for (const standing of list) {
    const error = await world.postgres(standing.drop);
    if (error) throw new Wrong(`${standing.drop}: ${error}`);
    world.standing = world.standing.filter((other) => other !== standing);
  }
}

/** The writers rest, everything is applied, and both stores hold the same but for what is refused on purpose. */
export async function quiet(world: World, note: Note): Promise<void> {
  await world.rest();
  await settle(world, note);
  await drained(world, note);
  // A remedy lets the writers continue.
  await world.rest();
  await drained(world, note);
  const only = [...world.refused].filter(([, store]) => store === world.writes).map(([id]) => id);
  const kind = only.length === 0 ? {} : { kind: `id IN (${only.join(", ")})` };
  const found = await differences(world.file.path, world.database.url, {
    ...(world.writes === "sqlite" ? { onlySqlite: kind } : { onlyPostgres: kind }),
  });
  if (found.length > 0 && world.standing.every(({ refuses }) => !refuses))
    throw new Wrong(`the stores differ: ${found.join("\n")}`);
  expectClean(world);
  world.suspects.clear();
  world.remedies.clear();
  world.continue();
}

async function drained(world: World, note: Note): Promise<void> {
  try {
    await world.sidecar.waitDrained(world.writes, 20_000);
  } catch {
    await settle(world, note);
    await world.sidecar.waitDrained(world.writes, 20_000);
  }
}

/** No two open stores, no write refused to the application, nothing printed that must not be. */
export function expectClean(world: World): void {
  const others = world.writers.flatMap((writer) => writer.others);
  const bad = [...world.violations, ...others.map((error) => `a write of the application failed: ${error}`)];
  for (const text of [...world.said, world.log()]) {
    const line = text.split("\n").find((l) => /hostile-Pa55word|^\s+at .*:\d+:\d+|"stack":|\bBUG\b/.test(l));
    if (line) bad.push(`said: ${line.slice(0, 600)}`);
  }
  if (bad.length > 0) throw new Wrong(bad.slice(0, 5).join("\n"));
}
