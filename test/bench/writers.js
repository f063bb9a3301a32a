// What a sidecar costs writers that want the file all the time, in both journal modes. The same processes write to a
// bare file, to one with the triggers and no sidecar, and beside a sidecar, in turn.
import { copyFileSync } from "node:fs";
import { join } from "node:path";
import Database from "better-sqlite3";
import { makeApp, median, start, switchback, withSidecar } from "./measure.js";

/** Reads, then one short transaction, as a request of a web application does; then it waits for the next request. */
const APPLICATION = `
import os, random, sqlite3, sys, threading, time
file, seconds, processes, threads, think = sys.argv[1], float(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]), float(sys.argv[5])
def work(seed, waits, end):
    db, dice = sqlite3.connect(file, isolation_level=None, timeout=60), random.Random(seed)
    db.execute("PRAGMA synchronous = NORMAL")
    while time.time() < end:
        began = time.time()
        for _ in range(3):
            db.execute("SELECT * FROM t WHERE id = ?", (dice.randrange(1, 2000),)).fetchall()
        db.execute("BEGIN IMMEDIATE")
        db.execute("INSERT INTO t(at, pad) VALUES (?, ?)", (began, "p" * 100))
        db.execute("UPDATE t SET at = ? WHERE id = ?", (began, dice.randrange(1, 2000)))
        db.execute("COMMIT")
        waits.append(time.time() - began)
        if think: time.sleep(think)
pipes, end = [], time.time() + seconds
for p in range(processes):
    out, into = os.pipe()
    if os.fork() == 0:
        waits = [[] for _ in range(threads)]
        running = [threading.Thread(target=work, args=(p * 100 + n, waits[n], end)) for n in range(threads)]
        for t in running: t.start()
        for t in running: t.join()
        flat = sum(waits, [])
        os.write(into, b"%d %f" % (len(flat), max(flat)))
        os._exit(0)
    os.close(into)
    pipes.append(out)
found = [os.read(out, 100).split() for out in pipes]
print(sum(int(n) for n, _ in found) / seconds, max(float(worst) for _, worst in found) * 1000)
`;

/** @typedef {{ name: string, journal: "wal" | "delete", processes: number, threads: number, thinkSeconds: number }} Load */

/** @type {readonly Load[]} */
const LOADS = [
  { name: "35 writers without a pause", journal: "wal", processes: 5, threads: 7, thinkSeconds: 0 },
  { name: "3 writers, rollback journal", journal: "delete", processes: 3, threads: 1, thinkSeconds: 0.005 },
];

/** @param {import("./measure.js").Server} server @param {{ seconds: number, runs: number }} sizes */
export async function benchWriters(server, { seconds, runs }) {
  const loads = [];
  for (const [n, load] of LOADS.entries()) loads.push(await underLoad(server, `writers-${n}`, load, seconds, runs));
  return { seconds, runs, loads };
}

/**
 * Every run begins with the same file, so that no condition inherits another's log or backlog.
 * @param {import("./measure.js").Server} server @param {string} name @param {Load} load
 * @param {number} seconds @param {number} runs
 */
async function underLoad(server, name, load, seconds, runs) {
  const bare = join(server.folder, `${name}-bare.db`);
  makeFile(bare, load);
  /** @type {Record<string, { perSecond: number, worstMs: number }[]>} */
  const seen = { alone: [], triggers: [], sidecar: [] };
  for (let run = 0; run < runs; run++) {
    const alone = join(server.folder, `${name}-${run}.db`);
    copyFileSync(bare, alone);
    seen.alone?.push(await write(alone, load, seconds));
    const app = await makeApp(server, `${name}-${run}-triggers`);
    copyFileSync(bare, app.file);
    await switchback(["backfill", "--config", app.config, "--log-level", "error"], server.folder).ended;
    seen.triggers?.push(await write(app.file, load, seconds));
    const followed = await makeApp(server, `${name}-${run}-sidecar`);
    copyFileSync(bare, followed.file);
    const { result } = await withSidecar(followed, () => write(followed.file, load, seconds));
    seen.sidecar?.push(result);
  }
  const perSecond = (/** @type {string} */ kind) => median((seen[kind] ?? []).map((one) => one.perSecond));
  const worstMs = (/** @type {string} */ kind) => Math.max(...(seen[kind] ?? []).map((one) => one.worstMs));
  return {
    load: load.name,
    alonePerSecond: perSecond("alone"),
    triggersPerSecond: perSecond("triggers"),
    sidecarPerSecond: perSecond("sidecar"),
    triggersSlowdown: perSecond("alone") / perSecond("triggers"),
    sidecarSlowdown: perSecond("triggers") / perSecond("sidecar"),
    worstMs: { alone: worstMs("alone"), triggers: worstMs("triggers"), sidecar: worstMs("sidecar") },
    all: seen,
  };
}

/** @param {string} file @param {Load} load */
function makeFile(file, { journal }) {
  const database = new Database(file);
  database.pragma(`journal_mode = ${journal}`);
  database.exec("CREATE TABLE t(id INTEGER PRIMARY KEY, at REAL, pad TEXT)");
  const insert = database.prepare("INSERT INTO t VALUES (?, 1.0, ?)");
  database.transaction(() => {
    for (let id = 1; id <= 2_000; id++) insert.run(id, "p".repeat(100));
  })();
  database.close();
}

/** @param {string} file @param {Load} load @param {number} seconds */
async function write(file, { processes, threads, thinkSeconds }, seconds) {
  const args = [file, seconds, processes, threads, thinkSeconds].map(String);
  const { output } = await start("python3", ["-c", APPLICATION, ...args]).ended;
  const [perSecond = Number.NaN, worstMs = Number.NaN] = output.trim().split(" ").map(Number);
  return { perSecond, worstMs };
}
