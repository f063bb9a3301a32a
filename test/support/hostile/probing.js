// A process that asks both stores again and again whether they take a write, and never leaves one. SQLite is asked
// first, in a transaction that stays open meanwhile: no fence can come while it does. PostgreSQL's yes to the same
// question then means that both stores take writes.
//
// usage: node probing.js FILE URL. Reads `pause`, `resume` and `end`, prints one JSON line for each answer to them
// and for each moment at which both stores took a write.
import { setTimeout as sleep } from "node:timers/promises";
import Database from "better-sqlite3";
import pg from "pg";

const [, , file, url] = process.argv;
const PEACE_MS = 60;
const TRIALS = {
  op: "INSERT INTO op (name, store) VALUES ('trial', 'none')",
  counter: "UPDATE counter SET value = value + 1",
  one: "INSERT INTO one (id, v) VALUES (-77, 'trial')",
  two: "INSERT INTO two (id, v) VALUES (-77, 'trial')",
  kind: "INSERT INTO kind (id, i) VALUES (-77, 7)",
};
const counted = { sqlite: 0, postgres: 0, none: 0 };
let wanted = "resume";
let said = "resume";
let ending = false;
let postgres = null;

const print = (line) => process.stdout.write(`${JSON.stringify(line)}\n`);

let rest = "";
process.stdin.setEncoding("utf8").on("data", (text) => {
  const lines = (rest + text).split("\n");
  rest = lines.pop() ?? "";
  for (const line of lines) {
    if (line === "end") ending = true;
    else wanted = line;
  }
});
process.stdin.on("end", () => {
  ending = true;
});

async function connected() {
  if (postgres !== null) return postgres;
  const client = new pg.Client({ connectionString: url, connectionTimeoutMillis: 1_000 });
  client.on("error", () => {
    if (postgres === client) postgres = null;
  });
  await client.connect();
  await client.query("SET lock_timeout = '300ms'; SET statement_timeout = '600ms'");
  postgres = client;
  return client;
}

async function postgresTakes(trial) {
  let client = null;
  try {
    client = await connected();
    await client.query("BEGIN");
    const { rowCount } = await client.query(trial);
    return rowCount > 0;
  } catch {
    return false;
  } finally {
    await client?.query("ROLLBACK").catch(() => {
      if (postgres === client) postgres = null;
    });
  }
}

/** Holds SQLite's write lock, if its fence lets it, while PostgreSQL is asked. */
async function ask(table, trial) {
  let db = null;
  let sqlite = false;
  try {
    db = new Database(file, { fileMustExist: true, timeout: 300 });
    db.exec("BEGIN IMMEDIATE");
    sqlite = db.prepare(trial).run().changes > 0;
  } catch {
    sqlite = false;
  }
  try {
    const both = (await postgresTakes(trial)) ? ["postgres"] : [];
    const open = [...(sqlite ? ["sqlite"] : []), ...both];
    if (open.length === 2) print({ violation: `both stores take writes to ${table}`, at: new Date() });
    counted[open[0] ?? "none"] += 1;
  } finally {
    try {
      if (db?.inTransaction) db.exec("ROLLBACK");
    } finally {
      db?.close();
    }
  }
}

const tables = Object.entries(TRIALS);
for (let n = 0; !ending; n++) {
  if (wanted !== said) {
    said = wanted;
    print({ said, counted });
  }
  if (said === "pause") {
    await postgres?.end().catch(() => {});
    postgres = null;
    await sleep(5);
    continue;
  }
  await ask(...tables[n % tables.length]);
  await sleep(PEACE_MS);
}
print({ said: "end", counted });
await postgres?.end().catch(() => {});
process.stdin.destroy();
