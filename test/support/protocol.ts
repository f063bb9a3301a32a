// A model of the stores around src/protocol/flip.ts and src/protocol/recovery.ts: what each door records, how far each store's data
// has come, and every durable step that the gates take, one by one. The real flip() is run over it, and a script
// decides at each step what goes wrong. Who owns a door and what a step checks mirrors the gates and resume.ts.

import { type Gate, type IdCeilings, InDoubt } from "#switchback/protocol/contract.js";
import { type Drainable, flip } from "#switchback/protocol/flip.js";
import { type AwayRecord, type FileRecord, type Recovery, recover } from "#switchback/protocol/recovery.js";

/** Who may use a door: the sidecar that runs, one that is frozen and may wake up, or nobody who lives. */
type Owner = "live" | "frozen" | "dead";

export interface Home extends FileRecord {
  closed: boolean;
  epoch: number;
  owner: Owner;
  /** How many of this source's writes it holds. */
  data: number;
}

export interface Away extends AwayRecord {
  writes: AwayRecord["writes"];
  epoch: number;
  /** Closed by a recovery that refused, whatever its record says. */
  barred: boolean;
  owner: Owner;
  data: number[];
  /** How far it knows each home to have come: what was read from it, or carried to it. */
  known: number[];
}

type Step =
  | {
      readonly at: "home";
      readonly i: number;
      readonly act: "close" | "reopen" | "open" | "left";
      readonly epoch: number;
    }
  | { readonly at: "away"; readonly act: "reopen" | "close" | "left"; readonly epoch: number }
  | { readonly at: "away"; readonly act: "open"; readonly epoch: number; readonly data: readonly number[] };

export interface World {
  homes: Home[];
  away: Away;
  /** How many writes of each source were acknowledged. */
  acked: number[];
  /** A sidecar runs and has recovered. */
  running: boolean;
  /** What a sidecar that froze, or a session of one that died, may still do, in this order. */
  frozen: Step[];
  backup: { readonly home: Home; readonly i: number } | { readonly away: Away } | null;
  tampered: boolean;
  /** Recovery has refused; only the operator goes on from here. */
  refused: boolean;
}

export function start(sources: number): World {
  const zeros = () => Array.from({ length: sources }, () => 0);
  return {
    homes: zeros().map(() => ({ closed: false, epoch: 0, owner: "dead", data: 0 })),
    away: { writes: "home", epoch: 0, barred: false, owner: "dead", data: zeros(), known: zeros() },
    acked: zeros(),
    running: false,
    frozen: [],
    backup: null,
    tampered: false,
    refused: false,
  };
}

/** Only the order of the counts matters, so equal orders are one state. */
export function normal(world: World): World {
  const copy = structuredClone(world);
  for (const i of copy.homes.keys()) {
    const places = placesOf(copy, i);
    const order = [...new Set(places.map(([get]) => get()))].sort((a, b) => a - b);
    for (const [get, set] of places) set(order.indexOf(get()));
  }
  return copy;
}

type FileIdentity = readonly [get: () => number, set: (to: number) => void];

function placesOf(world: World, i: number): FileIdentity[] {
  const element = (list: number[]): FileIdentity => [
    () => list[i] ?? 0,
    (to) => {
      list[i] = to;
    },
  ];
  const homeData = (home: Home): FileIdentity => [
    () => home.data,
    (to) => {
      home.data = to;
    },
  ];
  const { backup } = world;
  return [
    ...[world.acked, world.away.data, world.away.known].map(element),
    ...(world.homes[i] ? [homeData(world.homes[i])] : []),
    ...world.frozen.flatMap((step) => ("data" in step ? [element(step.data as number[])] : [])),
    ...(backup && "away" in backup ? [backup.away.data, backup.away.known].map(element) : []),
    ...(backup && "home" in backup && backup.i === i ? [homeData(backup.home)] : []),
  ];
}

export class Violation extends Error {}

/** What must hold whenever nobody from outside has tampered with the stores. */
export function check(world: World): void {
  if (world.tampered) return;
  for (const [i, home] of world.homes.entries()) {
    const away = takesWrites(world.away);
    if (!home.closed && away) throw new Violation(`source ${i} has two open stores`);
    if (!home.closed && home.data !== world.acked[i])
      throw new Violation(`home ${i} is open and lacks writes`);
    if (away && world.away.data[i] !== world.acked[i])
      throw new Violation(`away is open and lacks writes of ${i}`);
  }
}

/** An application's write of source `i` is acknowledged by whichever store takes it; false when none does. */
export function write(world: World, i: number): boolean {
  const home = world.homes[i];
  const count = (world.acked[i] ?? 0) + 1;
  if (home && !home.closed) home.data = count;
  else if (takesWrites(world.away)) world.away.data[i] = count;
  else return false;
  world.acked[i] = count;
  return true;
}

// ---- durable steps

/** Takes a step as the store does, in one transaction with what it checks. @throws when the store refuses */
export function take(world: World, step: Step, by: Owner): void {
  const epochs = [world.away.epoch, ...world.homes.map(({ epoch }) => epoch)];
  if (step.at === "home") takeHome(world, step, by);
  else takeAway(world.away, step, by);
  const now = [world.away.epoch, ...world.homes.map(({ epoch }) => epoch)];
  if (now.some((epoch, n) => epoch < (epochs[n] ?? 0))) throw new Violation("an epoch went back");
  check(world);
}

function takeHome(world: World, step: Extract<Step, { at: "home" }>, by: Owner): void {
  const home = world.homes[step.i];
  if (!home) throw new Error("no such home");
  const { act, epoch } = step;
  if (act === "close") {
    if (home.closed || home.epoch !== epoch - 1) throw new Error("the door is another's");
    home.closed = true;
    home.owner = by;
    return;
  }
  if (act === "reopen" && !home.closed) return;
  if (!home.closed || home.owner !== by) throw new Error("the door is another's");
  if (act === "reopen" && home.epoch !== epoch) throw new Error("the door is another's");
  home.epoch = epoch;
  if (act !== "left") home.closed = false;
}

function takesWrites(away: Away): boolean {
  return away.writes === "away" && !away.barred;
}

function takeAway(away: Away, step: Extract<Step, { at: "away" }>, by: Owner): void {
  if (away.owner !== by) throw new Error("the record is another's");
  const { act, epoch } = step;
  const from = (writes: Away["writes"], before: number) => {
    if (away.writes !== writes || away.epoch !== before) throw new Error(`not ${writes} under ${before}`);
  };
  switch (act) {
    case "close":
      from("away", epoch - 1);
      away.writes = "leaving";
      return;
    case "reopen":
      if (away.writes === "leaving") from("leaving", epoch);
      if (away.writes === "leaving") away.writes = "away";
      return;
    case "left":
      from("leaving", epoch - 1);
      away.writes = "home";
      away.epoch = epoch;
      return;
    case "open":
      from("home", epoch - 1);
      away.writes = "away";
      away.epoch = epoch;
      away.data = [...step.data];
      away.known = [...step.data];
  }
}

// ---- scripts: what goes wrong, step by step

export const FAULTS = [
  "abort before",
  "abort after",
  "fail",
  "crash before",
  "crash after",
  "freeze",
  "write",
] as const;
const DECISIONS = ["in doubt, not committed", "in doubt, committed"] as const;
export type Choice = "go on" | (typeof FAULTS)[number] | (typeof DECISIONS)[number];

/** Every script in turn: plays one, sees where other choices were possible, and goes on from there. */
export async function everyScript(
  faults: readonly Choice[],
  faultsMax: number,
  play: (script: Script) => Promise<void>,
): Promise<number> {
  const waiting: Choice[][] = [[]];
  let played = 0;
  for (let choices = waiting.pop(); choices; choices = waiting.pop()) {
    const script = new Script(choices, faults, faultsMax);
    await play(script);
    played += 1;
    waiting.push(...script.others);
  }
  return played;
}

export class Script {
  readonly others: Choice[][] = [];
  /** A part of this sidecar may still wake up. */
  froze = false;
  private readonly made: Choice[] = [];
  readonly stop = new AbortController();
  /** Resolves when the sidecar is gone in the middle. */
  readonly gone: Promise<"gone">;
  private vanish: (value: "gone") => void = () => {};

  constructor(
    private readonly given: readonly Choice[],
    private readonly faults: readonly Choice[],
    private readonly faultsMax: number,
  ) {
    this.gone = new Promise((resolve) => {
      this.vanish = resolve;
    });
  }

  /** The story so far, for messages. */
  toString(): string {
    return this.made.join(", ");
  }

  private choose(more: readonly Choice[]): Choice {
    const given = this.given[this.made.length];
    const faults = this.made.filter((choice) => choice !== "go on").length;
    if (given === undefined && faults < this.faultsMax) {
      for (const other of [...this.faults, ...more]) this.others.push([...this.made, other]);
    }
    const choice = given ?? "go on";
    this.made.push(choice);
    return choice;
  }

  /** One durable step, as the script has it. */
  async step(world: World, step: Step, decision = false): Promise<void> {
    await null;
    const choice = this.choose(decision ? DECISIONS : []);
    switch (choice) {
      case "abort before":
        this.stop.abort(new Error("withdrawn"));
        break;
      case "fail":
        throw new Error("the store failed");
      case "write":
        for (const i of world.homes.keys()) write(world, i);
        break;
      case "crash before":
        return this.vanishing();
      case "freeze":
        // It wakes up later, in this very step, and goes on from there.
        this.freeze(world, [step, ...following(world, step)]);
        return this.vanishing();
      case "in doubt, not committed":
        this.freeze(world, [step]);
        throw new InDoubt("no answer");
    }
    // A decision can be given up until its commit is sent.
    if (decision) this.stop.signal.throwIfAborted();
    take(world, step, "live");
    if (choice === "crash after") return this.vanishing();
    if (choice === "in doubt, committed") throw new InDoubt("no answer");
    if (choice === "abort after") this.stop.abort(new Error("withdrawn"));
  }

  private freeze(world: World, steps: Step[]): void {
    forget(world);
    world.frozen = steps;
    this.froze = true;
  }

  private vanishing(): Promise<never> {
    this.vanish("gone");
    return new Promise(() => {});
  }
}

/** What a flip would do after this step, whatever became of it: go on, or take back. */
function following(world: World, { at, act, epoch }: Step): Step[] {
  const homes = (act: "reopen" | "open" | "left", under: number): Step[] =>
    world.homes.map((_, i) => ({ at: "home", i, act, epoch: under }));
  if (at === "home") return act === "close" ? homes("reopen", epoch - 1) : homes(act, epoch);
  if (act === "open") return [...homes("left", epoch), ...homes("reopen", epoch - 1)];
  if (act === "reopen") return [];
  const reopen: Step = { at: "away", act: "reopen", epoch: epoch - 1 };
  return act === "close" ? [reopen] : [...homes("open", epoch), reopen];
}

/** What is frozen never wakes up. */
export function forget(world: World): void {
  world.frozen = [];
  for (const door of [world.away, ...world.homes]) if (door.owner === "frozen") door.owner = "dead";
}

/** What is frozen wakes up and takes its next step; the store may refuse it. */
export function thaw(world: World): void {
  const [step, ...rest] = world.frozen;
  if (!step) return;
  const decides = step.at === "away" && (step.act === "open" || step.act === "left");
  world.frozen = rest;
  try {
    take(world, step, "frozen");
    if (decides) world.frozen = rest.filter(({ act }) => act !== "reopen");
  } catch (error) {
    if (error instanceof Violation) throw error;
    if (decides) world.frozen = rest.filter(({ act }) => act === "reopen");
  }
  if (world.frozen.length === 0) forget(world);
}

// ---- the gates and links that flip() drives

class HomeGate implements Gate {
  readonly decides = false;
  constructor(
    private readonly world: World,
    private readonly script: Script,
  ) {}
  async prepare(): Promise<void> {}
  async reserve(): Promise<void> {}
  abandon(): void {}
  async marks(): Promise<IdCeilings> {
    return new Map();
  }
  async close(epoch: number, signal: AbortSignal): Promise<number> {
    for (const i of this.world.homes.keys()) {
      signal.throwIfAborted();
      await this.script.step(this.world, { at: "home", i, act: "close", epoch });
    }
    return 0;
  }
  reopen = (epoch: number) => this.each("reopen", epoch);
  open = (epoch: number) => this.each("open", epoch);
  left = (epoch: number) => this.each("left", epoch);

  private async each(act: "reopen" | "open" | "left", epoch: number): Promise<void> {
    for (const i of this.world.homes.keys())
      await this.script.step(this.world, { at: "home", i, act, epoch });
  }
}

class AwayGate implements Gate {
  readonly decides = true;
  /** What the flip's one transaction will commit. */
  held: number[] | null = null;
  private begun: Promise<unknown> = Promise.resolve();
  constructor(
    private readonly world: World,
    private readonly script: Script,
  ) {}
  async prepare(): Promise<void> {}
  async reserve(): Promise<void> {
    if (this.world.away.owner !== "live") throw new Error("the record is another's");
    this.held = [...this.world.away.data];
  }
  abandon(): void {
    this.held = null;
  }
  async marks(): Promise<IdCeilings> {
    return new Map();
  }
  async open(epoch: number): Promise<void> {
    if (!this.held) throw new Error("open before reserve");
    await this.script.step(this.world, { at: "away", act: "open", epoch, data: this.held }, true);
  }
  close(epoch: number): Promise<number> {
    const closed = this.script.step(this.world, { at: "away", act: "close", epoch }).then(() => 0);
    this.begun = closed.catch(() => {});
    return closed;
  }
  async reopen(epoch: number): Promise<void> {
    await this.begun;
    await this.script.step(this.world, { at: "away", act: "reopen", epoch });
  }
  left(epoch: number): Promise<void> {
    return this.script.step(this.world, { at: "away", act: "left", epoch }, true);
  }
}

/** To the away store within its transaction when there is one, to a home in two commits. */
function linkOf(world: World, gate: AwayGate, i: number, out: boolean): Drainable {
  const move = async (signal: AbortSignal) => {
    await null;
    signal.throwIfAborted();
    const home = world.homes[i];
    if (!home) return;
    if (out) {
      const held = gate.held ?? world.away.data;
      held[i] = home.data;
      if (!gate.held) world.away.known[i] = home.data;
      return;
    }
    home.data = Math.max(home.data, world.away.data[i] ?? 0);
    await null;
    world.away.known[i] = home.data;
  };
  return { approach: move, drain: move };
}

/** Runs the real flip() in the direction that is due; the world is as its end, or its crash, left it. */
export async function playFlip(world: World, script: Script): Promise<void> {
  const [home, away] = [new HomeGate(world, script), new AwayGate(world, script)];
  const out = world.away.writes === "home";
  const { epoch } = world.away;
  const decided = () => world.away.epoch === epoch + 1;
  const ending = flip({
    ...(out ? { from: home, to: away } : { from: away, to: home }),
    epoch,
    links: world.homes.map((_, i) => linkOf(world, away, i, out)),
    signal: script.stop.signal,
    publish: (state) => {
      if ((state === "flipped") !== decided())
        throw new Violation(`published ${state}, decided ${decided()}`);
      if (state === "paused" && openDoors(world) > 0) throw new Violation("paused is said of an open door");
      if (state !== "paused" && openDoors(world) !== world.homes.length) {
        throw new Violation(`${state} is said while doors are closed`);
      }
    },
  });
  let result: Awaited<typeof ending> | "gone" | "threw";
  try {
    result = await Promise.race([ending, script.gone]);
  } catch (error) {
    if (error instanceof Violation) throw error;
    result = "threw";
  }
  if (result === "gone" || result === "threw") return end(world, script.froze);
  if (result.flipped !== decided()) throw new Violation(`it says flipped: ${result.flipped}`);
  if (openDoors(world) !== world.homes.length) throw new Violation("a flip ended with closed doors");
}

/** Sources that some store takes writes for. */
function openDoors(world: World): number {
  const away = takesWrites(world.away);
  return world.homes.filter(({ closed }) => away || !closed).length;
}

/** The sidecar is gone: what it owned is nobody's, or that of its frozen rest. */
export function end(world: World, froze: boolean): void {
  world.running = false;
  const heir: Owner = froze ? "frozen" : "dead";
  for (const door of [world.away, ...world.homes]) if (door.owner === "live") door.owner = heir;
}

/** What src/cutover/recover-stores.ts does, step by step. */
export async function playRecovery(world: World, script: Script): Promise<void> {
  const work = carryOut(world, script).then(
    () => "done" as const,
    (error) => {
      if (error instanceof Violation) throw error;
      return "threw" as const;
    },
  );
  if ((await Promise.race([work, script.gone])) === "done") {
    world.running = !world.refused;
    finished(world);
  } else end(world, script.froze);
}

async function carryOut(world: World, script: Script): Promise<void> {
  for (const home of world.homes) {
    await null;
    if (home.closed) home.owner = "live";
  }
  await null;
  world.away.owner = "live";
  const plan: Recovery = recover(world.away, world.homes);
  if (plan.writes === null) {
    for (const i of plan.close) {
      const home = world.homes[i];
      if (home) home.closed = true;
    }
    world.away.barred = plan.closeAway;
    return refuse(world, "a record does not fit");
  }
  if (plan.writes === "away") world.away.barred = false;
  const behind = (i: number) => (world.homes[i]?.data ?? 0) < (world.away.known[i] ?? 0);
  if (plan.homes.some((step, i) => step === "open" && behind(i))) return refuse(world, "a home is too old");
  const { away: ours, epoch } = plan;
  if (ours === "reopen") await script.step(world, { at: "away", act: "reopen", epoch });
  for (const [i, act] of plan.homes.entries()) {
    if (act !== "none") await script.step(world, { at: "home", i, act, epoch });
  }
  // The links look at both stores before they move anything.
  if (world.homes.some((_, i) => behind(i))) return refuse(world, "a home is too old");
  const ahead = world.homes.some(({ data }, i) => data > (world.away.data[i] ?? 0));
  if (world.away.writes !== "home" && ahead) return refuse(world, "the away store is too old");
}

function refuse(world: World, why: string): void {
  if (!world.tampered) throw new Violation(`recovery refused what nobody tampered with: ${why}`);
  world.refused = true;
}

/** What must hold after every recovery, whatever was done to the stores before. */
function finished(world: World): void {
  const away = takesWrites(world.away);
  if (away && world.homes.some(({ closed }) => !closed))
    throw new Violation("two open stores after recovery");
  if (world.refused) return;
  if (openDoors(world) !== world.homes.length) throw new Violation("no open store after recovery");
  world.tampered = false;
  check(world);
}
