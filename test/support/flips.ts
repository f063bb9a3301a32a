// Flips as an operator asks for them, and what every place that names the route says afterwards.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import Database from "better-sqlite3";
import { expect } from "vitest";
import type { Sidecar } from "./cli.js";
import type { Store } from "./committed.js";
import type { TestDatabase } from "./servers.js";

export type { Store } from "./committed.js";

/** What `cutover --json` and `revert --json` print. */
export interface FlipDocument {
  readonly flipped: boolean;
  readonly epoch: number;
  readonly pauseMs?: number;
  readonly reason?: string;
}

export interface FlipAnswer {
  readonly code: number | null;
  readonly document: FlipDocument;
  readonly stderr: string;
}

const COMMAND = { postgres: "cutover", sqlite: "revert" } as const;
const PHASE = { postgres: "reverse_streaming", sqlite: "streaming" } as const;

export const flagOf = (sidecar: Sidecar) => join(sidecar.folder, "flag");

/** Asks by command; the answer may be no. */
export async function ask(sidecar: Sidecar, to: Store, timeout = "10s"): Promise<FlipAnswer> {
  const { code, stdout, stderr } = await sidecar.cli([COMMAND[to], "--json", "--timeout", timeout]);
  return { code, document: JSON.parse(stdout || "null") as FlipDocument, stderr };
}

const BRIEFLY_MS = 1_500;
/** The command's own start and end come on top. */
const AT_MOST_MS = BRIEFLY_MS + 2_500;

/** Asks with a short timeout, which the answer keeps to. */
export async function askBriefly(sidecar: Sidecar, to: Store): Promise<FlipAnswer> {
  const startedMs = performance.now();
  const answer = await ask(sidecar, to, `${BRIEFLY_MS}ms`);
  expect(performance.now() - startedMs).toBeLessThan(AT_MOST_MS);
  return answer;
}

/** A refusal that a little patience ends: a link begins, or has something to catch up with. */
function isPassing(reason: string | undefined): boolean {
  return reason !== undefined && /^the phase is starting| behind, and cutover\.max_lag is /.test(reason);
}

/** Flips by command, and waits until the links run in the new direction; after a flip they first have to begin. */
export async function move(sidecar: Sidecar, to: Store, timeout = "10s"): Promise<FlipDocument> {
  let answer = await ask(sidecar, to, timeout);
  for (let tries = 0; tries < 50 && isPassing(answer.document?.reason); tries++) {
    await sleep(100);
    answer = await ask(sidecar, to, timeout);
  }
  const { code, document, stderr } = answer;
  expect(code, `${JSON.stringify(document)} ${stderr} ${sidecar.log().slice(-2000)}`).toBe(0);
  expect(document.flipped).toBe(true);
  await sidecar.waitPhase(PHASE[to]);
  return document;
}

/** Proves the stores equal, as a cutover asks for. */
export async function verify(sidecar: Sidecar): Promise<void> {
  const { code, stdout, stderr } = await sidecar.cli(["verify", "--json"]);
  expect(code, `${stdout} ${stderr}`).toBe(0);
}

/** Waits until the store that has the writes holds nothing that the other one lacks. */
export async function drained(sidecar: Sidecar, to: Store): Promise<void> {
  await sidecar.waitDrained(to);
}

export interface RouteSaid {
  readonly writes: string;
  readonly epoch: number;
}

/** The route file's words; null while there is none. */
export function routeFile(sidecar: Sidecar): RouteSaid | null {
  try {
    const { writes, epoch } = JSON.parse(readFileSync(join(sidecar.folder, "route.json"), "utf8"));
    return { writes, epoch };
  } catch {
    return null;
  }
}

/** The same from all four places: the route file, GET /route and both stores. */
export async function routes(
  sidecar: Sidecar,
  file: string,
  database: Pick<TestDatabase, "query">,
): Promise<Record<string, RouteSaid | null>> {
  const { writes, epoch } = JSON.parse((await sidecar.get("/route")).text) as RouteSaid;
  const sqlite = new Database(file, { readonly: true });
  const [said] = sqlite.prepare("SELECT writes, epoch FROM _switchback_route").all() as RouteSaid[];
  sqlite.close();
  const [there] = await database.query("SELECT writes, epoch::int FROM switchback.route");
  return {
    file: routeFile(sidecar),
    http: { writes, epoch },
    sqlite: said ?? null,
    postgres: there as unknown as RouteSaid,
  };
}

export async function expectRoute(
  sidecar: Sidecar,
  file: string,
  database: Pick<TestDatabase, "query">,
  writes: Store,
  epoch: number,
): Promise<void> {
  const said = { writes, epoch };
  expect(await routes(sidecar, file, database)).toEqual({
    file: said,
    http: said,
    sqlite: said,
    postgres: said,
  });
}
