// One hostile run: a number gives a setting and operations, or a trace gives them once more. Every operation stands in
// the trace before it is done, so that a run that fails can be repeated, and shortened by deleting lines.
import { appendFileSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import Database from "better-sqlite3";
import { RandomSchema, random } from "../random-schema.js";
import { differences } from "../rows.js";
import type { OwnServer } from "../servers.js";
import type { Kind, Operation, Pick, Planned } from "./kind.js";
import { move } from "./move.js";
import { KINDS, mendAll } from "./operations.js";
import { dropStanding, expectClean, type Note, quiet, settle, Wrong } from "./settle.js";
import { type Setting, World } from "./world.js";

const BATCHES = 6;
const ENCODINGS = ["UTF-8", "UTF-8", "UTF-16le", "UTF-16be"] as const;

/** Kinds left out, each with the fault that is known. */
const OFF: readonly string[] = (process.env.SWITCHBACK_HOSTILE_OFF ?? "").split(",");

export interface Ran {
  readonly seed: number;
  readonly operations: number;
  readonly acknowledged: number;
  readonly trace: string;
}

/** The batches of a trace: those operations that are done before the sidecar has to come to rest. */
interface Script {
  readonly setting: Setting;
  readonly batches: Operation[][];
}

export function readTrace(path: string): Script {
  const lines = readFileSync(path, "utf8")
    .split("\n")
    .filter((line) => line !== "");
  const [setting, ...rest] = lines.map((line) => JSON.parse(line) as Record<string, unknown>);
  const batches: Operation[][] = [[]];
  for (const line of rest) {
    if (line.op === "quiet") batches.push([]);
    else if (typeof line.op === "string") batches.at(-1)?.push(line as Operation);
  }
  return { setting: setting as unknown as Setting, batches };
}

function settingOf(seed: number, pick: Pick): Setting {
  return {
    seed,
    encoding: ENCODINGS[pick(ENCODINGS.length)] ?? "UTF-8",
    journal: pick(5) === 0 ? "delete" : "wal",
    role: pick(2) === 0 ? "superuser" : "owner",
    end: pick(4) === 0 ? "postgres" : "sqlite",
  };
}

export async function runSeed(seed: number, server: OwnServer): Promise<Ran> {
  // Small seeds that follow one another begin alike.
  const pick = random(Math.imul(seed, 2_654_435_761) >>> 0);
  for (let n = 0; n < 5; n++) pick(2);
  return run(settingOf(seed, pick), server, pick, null);
}

export function replay(path: string, server: OwnServer): Promise<Ran> {
  const { setting, batches } = readTrace(path);
  return run(setting, server, random(setting.seed), batches);
}

async function run(
  setting: Setting,
  server: OwnServer,
  pick: Pick,
  batches: Operation[][] | null,
): Promise<Ran> {
  const folder = process.env.SWITCHBACK_TRACES ?? join(tmpdir(), "switchback-traces");
  mkdirSync(folder, { recursive: true });
  const trace = join(folder, `hostile-${setting.seed}${batches ? "-replayed" : ""}.jsonl`);
  writeFileSync(trace, `${JSON.stringify(setting)}\n`);
  const note: Note = (line) => appendFileSync(trace, `${JSON.stringify(line)}\n`);
  const schema = new RandomSchema(pick);
  const world = await World.open(setting, server, schema.first());
  world.note = note;
  let operations = 0;
  try {
    world.begin();
    await quiet(world, note);
    for (let n = 0; n < (batches?.length ?? BATCHES); n++) {
      operations += batches
        ? await performAll(world, batches[n] ?? [], note)
        : await performPlanned(world, pick, schema, note);
      await quiet(world, note);
      note({ op: "quiet" });
    }
    const acknowledged = await prove(world, note);
    return { seed: setting.seed, operations, acknowledged, trace };
  } catch (error) {
    note({ failed: (error as Error).message });
    const log = join(folder, `hostile-${setting.seed}.log`);
    writeFileSync(log, `${[...world.said, world.log()].join("\n----\n")}\n${(error as Error).stack}`);
    (error as Error).message += `\n(SWITCHBACK_TRACE=${trace} repeats it; what was said is in ${log})`;
    throw error;
  } finally {
    await world.close();
  }
}

async function performAll(world: World, batch: readonly Operation[], note: Note): Promise<number> {
  for (const operation of batch) await perform(world, { operation }, note);
  return batch.length;
}

/** One operation that must be alone, or a few of the others one upon the other. */
async function performPlanned(world: World, pick: Pick, schema: RandomSchema, note: Note): Promise<number> {
  let done = 0;
  for (let left = 1 + pick(4); left > 0; left--) {
    const kind = chosen(pick, done > 0);
    const planned = kind.plan(world, pick, schema);
    if (!planned) continue;
    await perform(world, planned, note);
    done += 1;
    if (kind.alone) break;
  }
  return done;
}

function chosen(pick: Pick, noneAlone: boolean): Kind {
  const list = KINDS.filter((kind) => !OFF.includes(kind.name) && !(noneAlone && kind.alone));
  let at = pick(list.reduce((sum, { weight }) => sum + weight, 0));
  for (const kind of list) {
    at -= kind.weight;
    if (at < 0) return kind;
  }
  throw new Error("no kind of operation");
}

async function perform(world: World, { operation, undo }: Planned, note: Note): Promise<void> {
  note(operation);
  const kind = KINDS.find(({ name }) => name === operation.op);
  if (!kind) throw new Error(`unknown operation ${operation.op}`);
  const done = await kind.perform(world, operation, note);
  if (!done) {
    undo?.();
    note({ refused: operation.op });
  }
  expectClean(world);
}

/** The end: all is corrected, the writes move there and back, and each one that was acknowledged is there once. */
async function prove(world: World, note: Note): Promise<number> {
  await mendAll(world);
  for (const { codes } of world.standing) for (const code of codes) world.suspects.add(code);
  await dropStanding(world, world.standing);
  world.suspects.add("QUARANTINED");
  await settle(world, note);
  await world.command(["verify"]);
  await quiet(world, note);
  await move(world, "postgres", note);
  await quiet(world, note);
  if (world.setting.end === "postgres") return stayInPostgres(world);
  await move(world, "sqlite", note);
  await quiet(world, note);
  await world.rest();
  await settle(world, note);
  const verified = await world.command(["verify", "--json"]);
  if (verified.code !== 0) throw new Wrong(`the last verify ended with ${verified.code}: ${verified.stdout}`);
  const found = await differences(world.file.path, world.database.url);
  if (found.length > 0) throw new Wrong(found.join("\n"));
  return inSqlite(world);
}

/** As the page on the cutover says of staying: the sidecar is stopped for good, and switchback removed. */
async function stayInPostgres(world: World): Promise<number> {
  await world.rest();
  await world.stopSidecar("term");
  const { code, stdout, stderr } = await world.command(["teardown", "--keep", "postgres"]);
  if (code !== 0) throw new Wrong(`teardown --keep postgres ended with ${code}: ${stdout}${stderr}`);
  const left = await world.ask(
    "SELECT nspname FROM pg_namespace WHERE nspname = 'switchback' UNION ALL SELECT tgname FROM pg_trigger WHERE tgname LIKE 'switchback%'",
  );
  if (left.length > 0) throw new Wrong(`teardown left ${JSON.stringify(left)}`);
  const error = await world.postgres(
    "INSERT INTO latest VALUES (-1, 'afterwards'); DELETE FROM latest WHERE place = -1",
  );
  if (error) throw new Wrong(`PostgreSQL refuses writes after the teardown: ${error}`);
  const rows = await world.ask<{ name: string; store: string }>("SELECT name, store FROM op");
  const [sum] = await world.ask<{ n: number }>("SELECT sum(value)::int AS n FROM counter");
  return proveAcknowledged(
    world,
    rows.map(({ name, store }) => [name, store]),
    sum?.n ?? 0,
  );
}

function inSqlite(world: World): number {
  const db = new Database(world.file.path, { readonly: true });
  const rows = db.prepare("SELECT name, store FROM op").raw().all() as [string, string][];
  const counted = db.prepare("SELECT sum(value) FROM counter").pluck().get() as number;
  db.close();
  return proveAcknowledged(world, rows, counted);
}

function proveAcknowledged(world: World, rows: readonly [string, string][], counted: number): number {
  const there = new Map(rows);
  const acknowledged = world.acknowledged();
  const wrong = [
    ...[...acknowledged]
      .filter(([name, store]) => there.get(name) !== store)
      .map((pair) => `lost or elsewhere: ${pair}`),
    ...[...there.keys()].filter((name) => !acknowledged.has(name)).map((name) => `unknown: ${name}`),
    ...(counted === rows.length && rows.length === there.size
      ? []
      : [`counted ${counted} of ${rows.length}`]),
  ];
  if (wrong.length > 0) throw new Wrong(`${wrong.length} writes: ${wrong.slice(0, 6).join("; ")}`);
  return acknowledged.size;
}
