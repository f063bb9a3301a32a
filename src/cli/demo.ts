// `switchback demo`: the whole migration, to PostgreSQL and back, on a sample application that never stops writing,
// with the real command line in child processes. It prints its observations, counts what it claims, and fails when a
// condition does not hold. It leaves nothing behind. The conditions are in src/demo/proof.ts.
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { nameOf } from "../cutover/controller.js";
import { count } from "../demo/ledger.js";
import { command, type Move, SidecarProcess, TillProcess } from "../demo/processes.js";
import { conclude, failuresOf, NotHeld, type Proof, type Turn, whole } from "../demo/proof.js";
import { readReceipts, tryWriting, watchBalance, watchLag } from "../demo/reader.js";
import { makeShop } from "../demo/shop.js";
import { openPostgresStore, openSqliteStore, type ShopStore } from "../demo/stores.js";
import { freePort } from "../embedded/cluster.js";
import { type Embedded, startEmbedded } from "../embedded/embedded.js";
import type { Context, ExitCode } from "./command.js";

const TILLS = 2;
const LAG_MS = 3_000;
const BALANCE_MS = 3_000;
const BACK_ON_SQLITE_MS = 1_500;
const STREAMING_MS = 60_000;
const DRAIN_MS = 20_000;
const MOVED_MS = 10_000;

interface Stage {
  readonly folder: string;
  readonly config: string;
  readonly sidecar: SidecarProcess;
  readonly tills: readonly TillProcess[];
  readonly sqlite: ShopStore;
  readonly postgres: ShopStore;
  readonly signal: AbortSignal;
  readonly say: (text: string) => void;
}

/** Everything that the demo opens, closed in the reverse order. */
type Closing = (() => Promise<unknown>)[];

export async function demo(context: Context): Promise<ExitCode> {
  const folder = mkdtempSync(join(tmpdir(), "switchback-demo-"));
  // The embedded server may run as another user, who must pass through the folder.
  chmodSync(folder, 0o711);
  const closing: Closing = [async () => rmSync(folder, { recursive: true, force: true })];
  const say = (text: string) => {
    if (!context.json) context.out(text);
  };
  try {
    const proof = await perform(folder, context.signal, say, closing);
    const failures = failuresOf(proof);
    if (context.json) context.out(JSON.stringify({ held: failures.length === 0, failures, ...proof }));
    else say(conclude(proof, failures));
    return failures.length === 0 ? 0 : 1;
  } catch (error) {
    if (!(error instanceof NotHeld)) throw error;
    if (context.json) context.out(JSON.stringify({ held: false, failures: [error.message] }));
    else say(conclude(null, [error.message]));
    return 1;
  } finally {
    for (const close of closing.reverse())
      await close().catch((error: unknown) => context.log.warn({ err: error }, "demo: clean-up"));
  }
}

async function perform(
  folder: string,
  signal: AbortSignal,
  say: (text: string) => void,
  closing: Closing,
): Promise<Proof> {
  const stage = await open(folder, signal, say, closing);
  const history = await copied(stage);
  const out = await follow(stage);
  const equalLive = await verify(stage);
  say(`   switchback verify, while the tills write to SQLite: ${equalLive ? "equal" : "NOT EQUAL"}.\n`);
  const cutover = await turn(stage, 0);
  const back = await warmCopy(stage);
  const equalAfterCutover = await verify(stage);
  say(
    `   switchback verify, while the tills write to PostgreSQL: ${equalAfterCutover ? "equal" : "NOT EQUAL"}.\n`,
  );
  const revert = await turn(stage, 1);
  say("");
  await sleep(BACK_ON_SQLITE_MS);
  const reports = await Promise.all(stage.tills.map((till) => till.stop()));
  await drained(stage);
  const equalAtRest = await verify(stage);
  say(`6. The shop closes. switchback verify: ${equalAtRest ? "equal" : "NOT EQUAL"}.`);
  const receipts = {
    sqlite: count(reports, await readReceipts(stage.sqlite)),
    postgres: count(reports, await readReceipts(stage.postgres)),
  };
  const stoppedCleanly = (await stage.sidecar.stop()) === 0;
  const equal = { live: equalLive, afterCutover: equalAfterCutover, atRest: equalAtRest };
  return { history, out, cutover, back, revert, equal, reports, receipts, stoppedCleanly };
}

/** The shop with its history, an empty PostgreSQL, the tills at work, and the sidecar just started. */
async function open(
  folder: string,
  signal: AbortSignal,
  say: (text: string) => void,
  closing: Closing,
): Promise<Stage & { readonly beganMs: number }> {
  const file = join(folder, "shop.db");
  say("A shop has run on SQLite for years. It moves to PostgreSQL without closing, and back again.\n");
  const rows = makeShop(file);
  say(`1. The shop: ${whole(rows)} rows of history in ${file}.`);
  const server = await startEmbedded({ folder: join(folder, "postgres") });
  closing.push(() => server.stop());
  say(`   An empty PostgreSQL of our own, on port ${server.postgres.port}.`);
  const port = await freePort();
  const { config, routeFile } = configure(folder, file, server, port);
  const tills = Array.from({ length: TILLS }, (_, n) => {
    const till = new TillProcess({ file, routeFile, postgresUrl: server.url, till: n + 1 });
    closing.push(() => till.kill());
    return till;
  });
  say(
    `   The shop opens: ${TILLS} tills, each a process, take orders, change and cancel them until the end.`,
  );
  say("   Each write has a number; each till keeps which numbers it was told are committed.\n");
  const sqlite = openSqliteStore(file);
  closing.push(() => sqlite.close());
  const postgres = await openPostgresStore(server.url);
  closing.push(() => postgres.close());
  const beganMs = performance.now();
  const sidecar = new SidecarProcess(folder, config, port);
  closing.push(() => sidecar.stop());
  return { folder, config, sidecar, tills, sqlite, postgres, signal, say, beganMs };
}

function configure(
  folder: string,
  file: string,
  server: Embedded,
  port: number,
): { config: string; routeFile: string } {
  const config = join(folder, "switchback.yaml");
  const routeFile = join(folder, "switchback.route.json");
  const content = {
    sources: [{ name: "shop", sqlite: file }],
    postgres: { url: server.url },
    flag: join(folder, "switchback.flag"),
    route: routeFile,
    http: { listen: `127.0.0.1:${port}` },
  };
  // JSON is YAML. The URL holds a password.
  writeFileSync(config, JSON.stringify(content), { mode: 0o600 });
  return { config, routeFile };
}

async function copied(stage: Stage & { readonly beganMs: number }): Promise<Proof["history"]> {
  const rows = await streaming(stage);
  const seconds = (performance.now() - stage.beganMs) / 1000;
  stage.say(
    `2. switchback run: history copied under the open shop: ${whole(rows)} rows in ${seconds.toFixed(1)} s,`,
  );
  stage.say(`   ${whole(rows / seconds)} rows/s from the start of the process until it streams.\n`);
  return { rows, seconds };
}

async function follow(stage: Stage): Promise<Proof["out"]> {
  const { postgres, signal, say } = stage;
  say("3. The shop continues, and PostgreSQL follows.");
  // Changes from during the copy are applied first: after that, the measured lag is that of replication.
  await drained(stage);
  const lag = await watchLag(postgres, LAG_MS, signal);
  say(
    `   ${whole(lag.orders)} orders in ${LAG_MS / 1000} s, visible in PostgreSQL after p50 ${lag.p50Ms} ms, p99 ${lag.p99Ms} ms.`,
  );
  const balance = await watchBalance(postgres, BALANCE_MS, signal);
  say(
    `   A client of PostgreSQL checked the shop's books ${whole(balance.looks)} times: ${whole(balance.states)} different states, ${balance.wrong} out of balance.`,
  );
  return { lag, balance };
}

/** The tills write to PostgreSQL; SQLite follows. */
async function warmCopy(stage: Stage): Promise<Proof["back"]> {
  const { sqlite, signal, say } = stage;
  // Changes from during the flip are applied first, as before.
  await drained(stage);
  const lag = await watchLag(sqlite, LAG_MS, signal);
  say(`   The tills write to PostgreSQL, and SQLite is kept a warm copy: ${whole(lag.orders)} orders`);
  say(`   in ${LAG_MS / 1000} s, visible in SQLite after p50 ${lag.p50Ms} ms, p99 ${lag.p99Ms} ms.`);
  const balance = await watchBalance(sqlite, BALANCE_MS, signal);
  say(
    `   A reader of SQLite checked the books ${whole(balance.looks)} times: ${whole(balance.states)} different states, ${balance.wrong} out of balance.`,
  );
  return { lag, balance };
}

/**
 * Moves the writes with the real command, waits until every till writes in the other store, and tries to write to the
 * closed store.
 */
async function turn(stage: Stage, n: 0 | 1): Promise<Turn> {
  const { folder, config, tills, sqlite, postgres, signal, say } = stage;
  const [name, to, closed] =
    n === 0 ? (["cutover", "postgres", sqlite] as const) : (["revert", "sqlite", postgres] as const);
  const { stdout, stderr } = await command(folder, [name, "--json", "--config", config]);
  const answer = (stdout ? JSON.parse(stdout) : {}) as Partial<Turn> & { flipped?: boolean; reason?: string };
  if (!answer.flipped) throw new NotHeld(`${name}: ${answer.reason ?? stderr.trim()}`);
  const { epoch = 0, pauseMs = 0 } = answer;
  const moves = await Promise.all(tills.map((till) => moved(till, n, signal)));
  const astray = moves.find((move) => move.to !== to);
  if (astray) throw new NotHeld(`${name}: till ${astray.till} went on in ${nameOf(astray.to)}`);
  const waitMs = Math.max(...moves.map((move) => move.waitMs));
  const refusal = await tryWriting(closed);
  say(`${n === 0 ? 4 : 5}. switchback ${name}: writes go to ${nameOf(to)} now (epoch ${epoch}).`);
  say(
    `   Pause: ${pauseMs.toFixed(1)} ms by the sidecar's clock. As the tills felt it: ${waitMs.toFixed(1)} ms from the last`,
  );
  say("   acknowledged write there to the first one here, the worst of them.");
  say(
    `   A client that ignores the flip and writes to ${nameOf(n === 0 ? "sqlite" : "postgres")} ${refusal ? `is refused: "${refusal}".` : "is NOT REFUSED."}`,
  );
  return { epoch, pauseMs, waitMs, refusal };
}

async function moved(till: TillProcess, n: number, signal: AbortSignal): Promise<Move> {
  for (const giveUp = Date.now() + MOVED_MS; Date.now() < giveUp; await sleep(5)) {
    signal.throwIfAborted();
    const move = till.move(n);
    if (move) return move;
  }
  throw new NotHeld(`a till did not continue in the other store within ${MOVED_MS / 1000} s`);
}

/** Waits until the sidecar streams; returns how many rows it copied. */
async function streaming({ sidecar, signal }: Stage): Promise<number> {
  for (const giveUp = Date.now() + STREAMING_MS; Date.now() < giveUp; await sleep(20)) {
    signal.throwIfAborted();
    const status = await sidecar.status();
    if (status?.phase === "halted") throw new Error(`the sidecar halted:\n${sidecar.log()}`);
    if (status?.phase !== "streaming") continue;
    return status.sources.flatMap((source) => source.tables).reduce((sum, table) => sum + table.copied, 0);
  }
  throw new Error(`the sidecar did not stream within ${STREAMING_MS / 1000} s:\n${sidecar.log()}`);
}

/**
 * Waits until all changes written so far are applied. The tills may continue: their newest change is always in
 * flight.
 */
async function drained({ sidecar, signal }: Stage): Promise<void> {
  // Longer than the sidecar needs to notice a commit.
  await sleep(200);
  let written: readonly (number | null)[] | null = null;
  for (const giveUp = Date.now() + DRAIN_MS; Date.now() < giveUp; await sleep(20)) {
    signal.throwIfAborted();
    const status = await sidecar.status();
    if (!status) continue;
    written ??= status.sources.map(({ position }) => position);
    if (status.sources.every(({ applied }, n) => applied !== null && applied >= (written?.[n] ?? 0))) return;
  }
  throw new Error(`the sidecar did not catch up within ${DRAIN_MS / 1000} s:\n${sidecar.log()}`);
}

async function verify({ folder, config }: Stage): Promise<boolean> {
  const { code, stdout, stderr } = await command(folder, ["verify", "--json", "--config", config]);
  if (code !== 0 && code !== 1) throw new Error(`verify ended with code ${code}: ${stderr.trim()}`);
  const answer: unknown = JSON.parse(stdout);
  return (
    code === 0 && typeof answer === "object" && answer !== null && "equal" in answer && answer.equal === true
  );
}
