// `switchback demo`: the main job end to end, on a sample application, with the real command line in child processes.
// It proves four things and fails when one does not hold: the history arrives, changes follow, every state that a
// PostgreSQL reader sees balances, and both stores are equal. It leaves nothing behind.
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { freePort } from "../cluster.js";
import { command, SidecarProcess, WriterProcess } from "../demo/processes.js";
import { type Balance, type Lag, watchBalance, watchLag } from "../demo/reader.js";
import { makeShop } from "../demo/shop.js";
import { type Embedded, startEmbedded } from "../embedded.js";
import type { Context, ExitCode } from "./command.js";

const LAG_MS = 4_000;
const BALANCE_MS = 5_000;
const STREAMING_MS = 60_000;
const DRAIN_MS = 20_000;

interface Proof {
  readonly history: { readonly rows: number; readonly seconds: number };
  readonly lag: Lag;
  readonly balance: Balance;
  readonly transactions: number;
  /** `verify` while the shop went on writing, and after it stopped. */
  readonly equal: { readonly live: boolean; readonly atRest: boolean };
  readonly stoppedCleanly: boolean;
}

/** What the demo holds open, ended in the reverse order of starting. */
type Closing = (() => Promise<unknown>)[];

export async function demo(context: Context): Promise<ExitCode> {
  const folder = mkdtempSync(join(tmpdir(), "switchback-demo-"));
  // The embedded server may run as another user, who has to pass through.
  chmodSync(folder, 0o711);
  const closing: Closing = [async () => rmSync(folder, { recursive: true, force: true })];
  const say = (text: string) => {
    if (!context.json) context.out(text);
  };
  try {
    const proof = await perform(folder, context.signal, say, closing);
    const failures = judge(proof);
    if (context.json) context.out(JSON.stringify({ held: failures.length === 0, failures, ...proof }));
    else conclude(proof, failures, say);
    return failures.length === 0 ? 0 : 1;
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
  const file = join(folder, "shop.db");
  say("A shop has run on SQLite for years. It moves to PostgreSQL without closing.\n");
  const rows = makeShop(file);
  say(`1. The shop: ${whole(rows)} rows of history in ${file}.`);

  const server = await startEmbedded({ folder: join(folder, "postgres") });
  closing.push(() => server.stop());
  say(`   An empty PostgreSQL of our own, on port ${server.postgres.port}.`);

  const shop = new WriterProcess(file);
  closing.push(() => shop.kill());
  say(
    "   The shop opens: another process takes orders, changes and cancels them. It does not stop until the end.\n",
  );

  const port = await freePort();
  const config = configure(folder, file, server, port);
  const began = performance.now();
  const sidecar = new SidecarProcess(folder, config, port);
  closing.push(() => sidecar.stop());
  const copied = await streaming(sidecar, signal);
  const seconds = (performance.now() - began) / 1000;
  say(
    `2. switchback run: history copied under the live shop: ${whole(copied)} rows in ${seconds.toFixed(1)} s,`,
  );
  say(`   ${whole(copied / seconds)} rows/s from the start of the process to following along.\n`);

  say("3. The shop goes on.");
  // What was written during the copy is caught up first: from here on the lag is that of following.
  await drained(sidecar, signal);
  const lag = await watchLag(server.url, LAG_MS, signal);
  say(
    `   ${whole(lag.orders)} orders in ${LAG_MS / 1000} s, visible in PostgreSQL after p50 ${lag.p50Ms} ms, p99 ${lag.p99Ms} ms.`,
  );
  const balance = await watchBalance(server.url, BALANCE_MS, signal);
  say(`   A PostgreSQL client checked the shop's books ${whole(balance.looks)} times:`);
  say(`   ${whole(balance.states)} different states, ${balance.wrong} out of balance.`);
  const live = await verify(folder, config);
  say(`   switchback verify, under way: ${live ? "equal" : "NOT EQUAL"}.\n`);

  const transactions = await shop.stop();
  await drained(sidecar, signal);
  const atRest = await verify(folder, config);
  say(
    `4. The shop closes after ${whole(transactions)} transactions. switchback verify: ${atRest ? "equal" : "NOT EQUAL"}.`,
  );
  const stoppedCleanly = (await sidecar.stop()) === 0;
  return {
    history: { rows: copied, seconds },
    lag,
    balance,
    transactions,
    equal: { live, atRest },
    stoppedCleanly,
  };
}

function configure(folder: string, file: string, server: Embedded, port: number): string {
  const config = join(folder, "switchback.yaml");
  const content = {
    sources: [{ name: "shop", sqlite: file }],
    postgres: { url: server.url },
    flag: join(folder, "switchback.flag"),
    route: join(folder, "switchback.route.json"),
    http: { listen: `127.0.0.1:${port}` },
  };
  // JSON is YAML. The URL holds a password.
  writeFileSync(config, JSON.stringify(content), { mode: 0o600 });
  return config;
}

/** Waits until the sidecar streams; returns how many rows it copied. */
async function streaming(sidecar: SidecarProcess, signal: AbortSignal): Promise<number> {
  for (const giveUp = Date.now() + STREAMING_MS; Date.now() < giveUp; await sleep(20)) {
    signal.throwIfAborted();
    const status = await sidecar.status();
    if (status?.phase === "halted") throw new Error(`the sidecar halted:\n${sidecar.log()}`);
    if (status?.phase !== "streaming") continue;
    return status.sources.flatMap((source) => source.tables).reduce((sum, table) => sum + table.copied, 0);
  }
  throw new Error(`the sidecar did not stream within ${STREAMING_MS / 1000} s:\n${sidecar.log()}`);
}

/** Waits until no change is left to apply. */
async function drained(sidecar: SidecarProcess, signal: AbortSignal): Promise<void> {
  for (const giveUp = Date.now() + DRAIN_MS; Date.now() < giveUp; ) {
    signal.throwIfAborted();
    // Longer than the sidecar takes to notice a commit.
    await sleep(200);
    const status = await sidecar.status();
    if (status?.sources.every((source) => source.lag.changes === 0)) return;
  }
  throw new Error(`the sidecar did not catch up within ${DRAIN_MS / 1000} s:\n${sidecar.log()}`);
}

async function verify(folder: string, config: string): Promise<boolean> {
  const { code, stdout, stderr } = await command(folder, ["verify", "--json", "--config", config]);
  if (code !== 0 && code !== 1) throw new Error(`verify ended with code ${code}: ${stderr.trim()}`);
  const answer: unknown = JSON.parse(stdout);
  return (
    code === 0 && typeof answer === "object" && answer !== null && "equal" in answer && answer.equal === true
  );
}

/** What did not hold; empty when everything did. */
function judge({ history, lag, balance, equal, stoppedCleanly, transactions }: Proof): string[] {
  const failures: string[] = [];
  if (history.rows === 0) failures.push("no history was copied");
  if (lag.orders === 0 || transactions === 0) failures.push("no change arrived in PostgreSQL");
  if (balance.states < 2) failures.push("PostgreSQL showed a single state only");
  if (balance.wrong > 0) failures.push(`${balance.wrong} looks found the books out of balance`);
  if (!equal.live || !equal.atRest) failures.push("verify says that the stores are not equal");
  if (!stoppedCleanly) failures.push("the sidecar did not stop cleanly");
  return failures;
}

function conclude(proof: Proof, failures: readonly string[], say: (text: string) => void): void {
  if (failures.length > 0) {
    say(`\nThis did not hold:\n${failures.map((failure) => `  - ${failure}`).join("\n")}`);
    return;
  }
  say("\nProved:");
  say(
    `  - history copied while the shop was open, ${whole(proof.history.rows / proof.history.seconds)} rows/s`,
  );
  say(`  - changes followed within milliseconds: p50 ${proof.lag.p50Ms} ms, p99 ${proof.lag.p99Ms} ms`);
  say(
    `  - ${whole(proof.balance.states)} states seen in PostgreSQL, each one a state that SQLite had committed`,
  );
  say("  - both stores equal, row by row and value by value, while the shop wrote and at rest");
}

const whole = (number: number) => Math.round(number).toLocaleString("en");
