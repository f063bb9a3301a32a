// One application under a flip, in a process of its own. It runs single-row transactions at a steady rate, in the
// store that took the last one until it refuses, then where the route says. When told to end (its standard input), it
// prints when each of its writes was acknowledged, in milliseconds of the wall clock, in order. usage:
// BENCH_DATABASE_URL=… node flip-writer.js FILE ROUTE TABLE WRITER PER_SECOND
import { readFileSync } from "node:fs";
import Database from "better-sqlite3";
import { connect, sleep } from "./measure.js";

const [file = "", routeFile = "", table = "", writer = "", perSecond = ""] = process.argv.slice(2);
const PAD = "p".repeat(100);
const gapMs = 1_000 / Number(perSecond);

const database = new Database(file, { timeout: 5_000 });
database.pragma("recursive_triggers = OFF");
database.pragma("synchronous = NORMAL");
const insert = database.prepare(`INSERT INTO ${table}(writer, n, pad) VALUES (?, ?, ?)`);
const client = await connect(process.env.BENCH_DATABASE_URL ?? "");
const statement = { name: "insert", text: `INSERT INTO ${table}(writer, n, pad) VALUES ($1, $2, $3)` };

let stopping = false;
process.stdin.on("end", () => (stopping = true)).resume();

let store = "sqlite";
/** @type {number[]} */
const acknowledged = [];
let turnMs = performance.now();
while (!stopping) {
  await write(acknowledged.length);
  acknowledged.push(performance.timeOrigin + performance.now());
  // Late is late: after a pause it does not try to make up for more than a moment.
  turnMs = Math.max(turnMs + gapMs, performance.now() - 50);
  await sleep(Math.max(0, turnMs - performance.now()));
}
database.close();
await client.end();
process.stdout.write(JSON.stringify(acknowledged));

/** Returns once a store has committed it. @param {number} n */
async function write(n) {
  for (;;) {
    try {
      if (store === "sqlite") insert.run(writer, n, PAD);
      else await client.query({ ...statement, values: [writer, n, PAD] });
      return;
    } catch (error) {
      if (!/^switchback: writes/.test(/** @type {Error} */ (error).message)) throw error;
      await follow();
    }
  }
}

/** Waits until the route names a store. */
async function follow() {
  for (;;) {
    await sleep(1);
    const { writes } = JSON.parse(readFileSync(routeFile, "utf8"));
    if (writes === "paused") continue;
    store = writes;
    return;
  }
}
