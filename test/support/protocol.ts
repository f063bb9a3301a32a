// A model of the stores around src/protocol/flip.ts and src/protocol/recovery.ts. It has what each store records, how
// far each store's data has come, and every durable step that the gates take, one by one. The real flip() is run over
// it, and a script decides at each step what goes wrong. Who owns a store and what a step checks mirrors the gates
// and recover-stores.ts.

import { type Gate, type IdCeilings, InDoubt } from "#switchback/protocol/contract.js";
import { type Drainable, flip } from "#switchback/protocol/flip.js";
import {
  type DatabaseRecord,
  type FileRecord,
  type Recovery,
  recover,
} from "#switchback/protocol/recovery.js";

/** Who may use a store: the sidecar that runs, one that is frozen and may wake up, or no one who lives. */
type Owner = "live" | "frozen" | "dead";

export interface FileState extends FileRecord {
  closed: boolean;
  epoch: number;
  owner: Owner;
  /** How many of this source's writes it holds. */
  data: number;
}

export interface DatabaseState extends DatabaseRecord {
  writes: DatabaseRecord["writes"];
  epoch: number;
  /** Closed by a recovery that refused, whatever its record says. */
  barred: boolean;
  owner: Owner;
  data: number[];
  /** How far it knows each file to have come: what was read from it, or carried to it. */
  known: number[];
}

type Step =
  | {
      readonly at: "file";
      readonly i: number;
      readonly act: "close" | "reopen" | "open" | "left";
      readonly epoch: number;
    }
  | { readonly at: "database"; readonly act: "reopen" | "close" | "left"; readonly epoch: number }
  | {
      readonly at: "database";
      readonly act: "open";
      readonly epoch: number;
      readonly data: readonly number[];
    };

export interface World {
  files: FileState[];
  database: DatabaseState;
  /** How many writes of each source were acknowledged. */
  acked: number[];
  /** A sidecar runs and has recovered. */
  running: boolean;
  /** What a sidecar that froze, or a session of one that died, may still do, in this order. */
  frozen: Step[];
  backup: { readonly file: FileState; readonly i: number } | { readonly database: DatabaseState } | null;
  tampered: boolean;
  /** Recovery has refused; only the operator continues from here. */
  refused: boolean;
}

export function start(sources: number): World {
  const zeros = () => Array.from({ length: sources }, () => 0);
  return {
    files: zeros().map(() => ({ closed: false, epoch: 0, owner: "dead", data: 0 })),
    database: { writes: "file", epoch: 0, barred: false, owner: "dead", data: zeros(), known: zeros() },
    acked: zeros(),
    running: false,
    frozen: [],
    backup: null,
    tampered: false,
    refused: false,
  };
}

/** Hundreds of thousands of worlds are copied; a general copy would take half of the time. */
export function copyOf(world: World): World {
  const database = (one: DatabaseState) => ({ ...one, data: [...one.data], known: [...one.known] });
  const { backup } = world;
  return {
    ...world,
    files: world.files.map((file) => ({ ...file })),
    database: database(world.database),
    acked: [...world.acked],
    frozen: world.frozen.map((step) => ("data" in step ? { ...step, data: [...step.data] } : { ...step })),
    backup:
      backup &&
      ("file" in backup ? { ...backup, file: { ...backup.file } } : { database: database(backup.database) }),
  };
}

/** Only the order of the counts matters, so equal orders are one state. */
export function normal(world: World): World {
  const copy = copyOf(world);
  for (const i of copy.files.keys()) {
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
  const fileData = (file: FileState): FileIdentity => [
    () => file.data,
    (to) => {
      file.data = to;
    },
  ];
  const { backup } = world;
  return [
    ...[world.acked, world.database.data, world.database.known].map(element),
    ...(world.files[i] ? [fileData(world.files[i])] : []),
    ...world.frozen.flatMap((step) => ("data" in step ? [element(step.data as number[])] : [])),
    ...(backup && "database" in backup ? [backup.database.data, backup.database.known].map(element) : []),
    ...(backup && "file" in backup && backup.i === i ? [fileData(backup.file)] : []),
  ];
}

export class Violation extends Error {}

/** What must hold whenever no one from outside has tampered with the stores. */
export function check(world: World): void {
  if (world.tampered) return;
  for (const [i, file] of world.files.entries()) {
    const database = takesWrites(world.database);
    if (!file.closed && database) throw new Violation(`source ${i} has two open stores`);
    if (!file.closed && file.data !== world.acked[i])
      throw new Violation(`file ${i} is open and lacks writes`);
    if (database && world.database.data[i] !== world.acked[i])
      throw new Violation(`database is open and lacks writes of ${i}`);
  }
}

/** An application's write of source `i` is acknowledged by whichever store takes it; false when none does. */
export function write(world: World, i: number): boolean {
  const file = world.files[i];
  const count = (world.acked[i] ?? 0) + 1;
  if (file && !file.closed) file.data = count;
  else if (takesWrites(world.database)) world.database.data[i] = count;
  else return false;
  world.acked[i] = count;
  return true;
}

// ---- durable steps

/** Takes a step as the store does, in one transaction with what it checks. @throws when the store refuses */
export function take(world: World, step: Step, by: Owner): void {
  const epochs = [world.database.epoch, ...world.files.map(({ epoch }) => epoch)];
  if (step.at === "file") takeFile(world, step, by);
  else takeDatabase(world.database, step, by);
  const now = [world.database.epoch, ...world.files.map(({ epoch }) => epoch)];
  if (now.some((epoch, n) => epoch < (epochs[n] ?? 0))) throw new Violation("an epoch went back");
  check(world);
}

function takeFile(world: World, step: Extract<Step, { at: "file" }>, by: Owner): void {
  const file = world.files[step.i];
  if (!file) throw new Error("no such file");
  const { act, epoch } = step;
  if (act === "close") {
    if (file.closed || file.epoch !== epoch - 1) throw new Error("the store is another's");
    file.closed = true;
    file.owner = by;
    return;
  }
  if (act === "reopen" && !file.closed) return;
  if (!file.closed || file.owner !== by) throw new Error("the store is another's");
  if (act === "reopen" && file.epoch !== epoch) throw new Error("the store is another's");
  file.epoch = epoch;
  if (act !== "left") file.closed = false;
}

function takesWrites(database: DatabaseState): boolean {
  return database.writes === "database" && !database.barred;
}

function takeDatabase(database: DatabaseState, step: Extract<Step, { at: "database" }>, by: Owner): void {
  if (database.owner !== by) throw new Error("the record is another's");
  const { act, epoch } = step;
  const from = (writes: DatabaseState["writes"], before: number) => {
    if (database.writes !== writes || database.epoch !== before)
      throw new Error(`not ${writes} under ${before}`);
  };
  switch (act) {
    case "close":
      from("database", epoch - 1);
      database.writes = "paused";
      return;
    case "reopen":
      if (database.writes === "paused") from("paused", epoch);
      if (database.writes === "paused") database.writes = "database";
      return;
    case "left":
      from("paused", epoch - 1);
      database.writes = "file";
      database.epoch = epoch;
      return;
    case "open":
      from("file", epoch - 1);
      database.writes = "database";
      database.epoch = epoch;
      database.data = [...step.data];
      database.known = [...step.data];
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
export type Choice = "continue" | (typeof FAULTS)[number] | (typeof DECISIONS)[number];

/** Every script in turn: plays one, sees where other choices were possible, and continues from there. */
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
    const faults = this.made.filter((choice) => choice !== "continue").length;
    if (given === undefined && faults < this.faultsMax) {
      for (const other of [...this.faults, ...more]) this.others.push([...this.made, other]);
    }
    const choice = given ?? "continue";
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
        for (const i of world.files.keys()) write(world, i);
        break;
      case "crash before":
        return this.vanishing();
      case "freeze":
        // It wakes up later, in this very step, and continues from there.
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

/** What a flip would do after this step, whatever became of it: continue, or take back. */
function following(world: World, { at, act, epoch }: Step): Step[] {
  const files = (act: "reopen" | "open" | "left", under: number): Step[] =>
    world.files.map((_, i) => ({ at: "file", i, act, epoch: under }));
  if (at === "file") return act === "close" ? files("reopen", epoch - 1) : files(act, epoch);
  if (act === "open") return [...files("left", epoch), ...files("reopen", epoch - 1)];
  if (act === "reopen") return [];
  const reopen: Step = { at: "database", act: "reopen", epoch: epoch - 1 };
  return act === "close" ? [reopen] : [...files("open", epoch), reopen];
}

/** What is frozen never wakes up. */
export function forget(world: World): void {
  world.frozen = [];
  for (const store of [world.database, ...world.files]) if (store.owner === "frozen") store.owner = "dead";
}

/** What is frozen wakes up and takes its next step; the store may refuse it. */
export function thaw(world: World): void {
  const [step, ...rest] = world.frozen;
  if (!step) return;
  const decides = step.at === "database" && (step.act === "open" || step.act === "left");
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
    for (const i of this.world.files.keys()) {
      signal.throwIfAborted();
      await this.script.step(this.world, { at: "file", i, act: "close", epoch });
    }
    return 0;
  }
  reopen = (epoch: number) => this.each("reopen", epoch);
  open = (epoch: number) => this.each("open", epoch);
  left = (epoch: number) => this.each("left", epoch);

  private async each(act: "reopen" | "open" | "left", epoch: number): Promise<void> {
    for (const i of this.world.files.keys())
      await this.script.step(this.world, { at: "file", i, act, epoch });
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
    if (this.world.database.owner !== "live") throw new Error("the record is another's");
    this.held = [...this.world.database.data];
  }
  abandon(): void {
    this.held = null;
  }
  async marks(): Promise<IdCeilings> {
    return new Map();
  }
  async open(epoch: number): Promise<void> {
    if (!this.held) throw new Error("open before reserve");
    await this.script.step(this.world, { at: "database", act: "open", epoch, data: this.held }, true);
  }
  close(epoch: number): Promise<number> {
    const closed = this.script.step(this.world, { at: "database", act: "close", epoch }).then(() => 0);
    this.begun = closed.catch(() => {});
    return closed;
  }
  async reopen(epoch: number): Promise<void> {
    await this.begun;
    await this.script.step(this.world, { at: "database", act: "reopen", epoch });
  }
  left(epoch: number): Promise<void> {
    return this.script.step(this.world, { at: "database", act: "left", epoch }, true);
  }
}

/** To the database store within its transaction when there is one, to a file in two commits. */
function linkOf(world: World, gate: AwayGate, i: number, out: boolean): Drainable {
  const move = async (signal: AbortSignal) => {
    await null;
    signal.throwIfAborted();
    const file = world.files[i];
    if (!file) return;
    if (out) {
      const held = gate.held ?? world.database.data;
      held[i] = file.data;
      if (!gate.held) world.database.known[i] = file.data;
      return;
    }
    file.data = Math.max(file.data, world.database.data[i] ?? 0);
    await null;
    world.database.known[i] = file.data;
  };
  return { approach: move, drain: move };
}

/** Runs the real flip() in the direction that is due; the world is as its end, or its crash, left it. */
export async function playFlip(world: World, script: Script): Promise<void> {
  const [file, database] = [new HomeGate(world, script), new AwayGate(world, script)];
  const out = world.database.writes === "file";
  const { epoch } = world.database;
  const decided = () => world.database.epoch === epoch + 1;
  const ending = flip({
    ...(out ? { from: file, to: database } : { from: database, to: file }),
    epoch,
    links: world.files.map((_, i) => linkOf(world, database, i, out)),
    signal: script.stop.signal,
    publish: (state) => {
      if ((state === "flipped") !== decided())
        throw new Violation(`published ${state}, decided ${decided()}`);
      if (state === "paused" && openStores(world) > 0) throw new Violation("paused is said of an open store");
      if (state !== "paused" && openStores(world) !== world.files.length) {
        throw new Violation(`${state} is said while stores are closed`);
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
  if (openStores(world) !== world.files.length) throw new Violation("a flip ended with closed stores");
}

/** Sources that some store takes writes for. */
function openStores(world: World): number {
  const database = takesWrites(world.database);
  return world.files.filter(({ closed }) => database || !closed).length;
}

/** The sidecar is gone: what it owned is no one's, or that of its frozen rest. */
export function end(world: World, froze: boolean): void {
  world.running = false;
  const heir: Owner = froze ? "frozen" : "dead";
  for (const store of [world.database, ...world.files]) if (store.owner === "live") store.owner = heir;
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
  for (const file of world.files) {
    await null;
    if (file.closed) file.owner = "live";
  }
  await null;
  world.database.owner = "live";
  const plan: Recovery = recover(world.database, world.files);
  if (plan.writes === null) {
    for (const i of plan.close) {
      const file = world.files[i];
      if (file) file.closed = true;
    }
    world.database.barred = plan.closeDatabase;
    return refuse(world, "a record does not fit");
  }
  if (plan.writes === "database") world.database.barred = false;
  const behind = (i: number) => (world.files[i]?.data ?? 0) < (world.database.known[i] ?? 0);
  if (plan.files.some((step, i) => step === "open" && behind(i))) return refuse(world, "a file is too old");
  const { database: ours, epoch } = plan;
  if (ours === "reopen") await script.step(world, { at: "database", act: "reopen", epoch });
  for (const [i, act] of plan.files.entries()) {
    if (act !== "none") await script.step(world, { at: "file", i, act, epoch });
  }
  // The links look at both stores before they move anything.
  if (world.files.some((_, i) => behind(i))) return refuse(world, "a file is too old");
  const ahead = world.files.some(({ data }, i) => data > (world.database.data[i] ?? 0));
  if (world.database.writes !== "file" && ahead) return refuse(world, "the database store is too old");
}

function refuse(world: World, why: string): void {
  if (!world.tampered) throw new Violation(`recovery refused what no one tampered with: ${why}`);
  world.refused = true;
}

/** What must hold after every recovery, whatever was done to the stores before. */
function finished(world: World): void {
  const database = takesWrites(world.database);
  if (database && world.files.some(({ closed }) => !closed))
    throw new Violation("two open stores after recovery");
  if (world.refused) return;
  if (openStores(world) !== world.files.length) throw new Violation("no open store after recovery");
  world.tampered = false;
  check(world);
}
