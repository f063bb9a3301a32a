// PostgreSQL put back to an older moment while SQLite went on: over a flip it is refused, within one period it catches
// up exactly or is refused. Never do the stores become unequal without a word, and never is the newer one given up.
import pg from "pg";
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from "vitest";
import { copyDatabase, copyServer, restoreDatabase, restoreServer } from "../support/backups.js";
import { Sidecar } from "../support/cli.js";
import { differences } from "../support/rows.js";
import { type OwnServer, ownServer, type TestDatabase } from "../support/servers.js";
import { type TestFile, testFile } from "../support/sqlite.js";

const SCHEMA = "CREATE TABLE entry(id INTEGER PRIMARY KEY, v TEXT); INSERT INTO entry(v) VALUES ('one')";

let server: OwnServer;
let database: TestDatabase;
let file: TestFile;
let sidecar: Sidecar;

beforeAll(async () => {
  server = await ownServer(18);
});
afterAll(async () => {
  await server?.remove();
});
beforeEach(async () => {
  database = await server.database();
  file = testFile(SCHEMA);
  sidecar = await Sidecar.streaming({ sqlite: file.path, url: database.url });
});
afterEach(async () => {
  await sidecar?.remove();
  await database?.drop();
  file?.remove();
});

/** One statement in SQLite; what refused it, or "taken". */
function writeSqlite(text = "INSERT INTO entry(v) VALUES ('sqlite')"): string {
  const db = file.writer();
  try {
    db.exec(text);
    return "taken";
  } catch (error) {
    return (error as Error).message;
  } finally {
    db.close();
  }
}

/** The same in PostgreSQL, in a session of its own: a database that is put back throws others out. */
async function writePostgres(text = "INSERT INTO entry(v) VALUES ('postgres')"): Promise<string> {
  const client = new pg.Client({ connectionString: database.url });
  await client.connect();
  try {
    await client.query(text);
    return "taken";
  } catch (error) {
    return (error as Error).message;
  } finally {
    await client.end();
  }
}

async function flip(command: "cutover" | "revert"): Promise<void> {
  if (command === "cutover") expect((await sidecar.cli(["verify"])).code).toBe(0);
  const { code, stdout, stderr } = await sidecar.cli([command]);
  expect(code, stdout + stderr).toBe(0);
  await sidecar.waitPhase(command === "cutover" ? "reverse_streaming" : "streaming");
}

/** Waits until every change of PostgreSQL's has left its log: then the file has it. */
async function carriedHome(): Promise<void> {
  const client = new pg.Client({ connectionString: database.url });
  await client.connect();
  const waiting = async () => (await client.query("SELECT FROM switchback.change")).rowCount;
  try {
    await expect.poll(waiting, { timeout: 20_000 }).toBe(0);
  } finally {
    await client.end();
  }
}

/** A copy of PostgreSQL as it is now; the sidecar continues afterwards. */
async function copyOfNow(name = ""): Promise<string> {
  const { phase } = (await sidecar.status()) ?? { phase: "" };
  await sidecar.term();
  const copy = await copyDatabase(server, database, name);
  sidecar.start();
  await sidecar.waitPhase(phase);
  return copy;
}

async function putBack(copy: string): Promise<void> {
  await sidecar.kill9();
  await restoreDatabase(server, database, copy);
}

async function refused(code: string | RegExp): Promise<void> {
  const result = await sidecar.cli(["run"], { timeoutMs: 20_000 });
  expect(result.code, result.stderr).toBe(4);
  expect(result.stderr).toMatch(code);
}

async function goesOnExactly(): Promise<void> {
  sidecar.start();
  await sidecar.waitPhase("streaming");
  await sidecar.waitDrained();
  expect(await differences(file.path, database.url)).toEqual([]);
}

// ---- over a flip

test("it is refused over any number of flips, and the newer store stays as it is", async () => {
  const atHome = await copyOfNow("0");
  await flip("cutover");
  expect(await writePostgres()).toBe("taken");
  const whileAway = await copyOfNow("1");
  await flip("revert");
  expect(writeSqlite()).toBe("taken");
  const newest = await copyOfNow("2");
  await sidecar.waitDrained();
  // It says that it is open under epoch 1, and takes writes until a sidecar has looked.
  await putBack(whileAway);
  expect(await writePostgres()).toBe("taken");
  await refused("SPLIT");
  expect(writeSqlite()).toBe("taken");
  expect(await writePostgres()).toContain("switchback: writes go to SQLite (epoch 2)");
  await putBack(atHome);
  await refused("SPLIT");
  expect(writeSqlite()).toBe("taken");
  expect(await writePostgres()).toContain("switchback: writes go to SQLite (epoch 0)");
  // The one that belongs here continues where it was.
  await putBack(newest);
  await goesOnExactly();
  await flip("cutover");
  await putBack(whileAway);
  await refused("SPLIT");
  expect(writeSqlite()).toContain("switchback: writes have moved to PostgreSQL (epoch 3)");
  expect(await writePostgres()).toContain("switchback: writes go to SQLite (epoch 3)");
});

// ---- while SQLite has the writes

test("an older copy catches up, whatever happened to the rows meanwhile", async () => {
  writeSqlite("INSERT INTO entry(v) VALUES ('two'), ('three')");
  await sidecar.waitDrained();
  const copy = await copyOfNow();
  writeSqlite(
    "UPDATE entry SET v = v || '!'; DELETE FROM entry WHERE id = 2; UPDATE entry SET id = 9 WHERE id = 3",
  );
  await sidecar.waitDrained();
  await putBack(copy);
  await goesOnExactly();
});

test("an older server under a sidecar that continues running catches up too", async () => {
  writeSqlite();
  await sidecar.waitDrained();
  await copyServer(server);
  writeSqlite("UPDATE entry SET v = v || '!'");
  await sidecar.waitDrained();
  await restoreServer(server);
  await expect.poll(() => differences(file.path, database.url), { timeout: 20_000 }).toEqual([]);
  expect(writeSqlite()).toBe("taken");
  await sidecar.waitDrained();
  expect(await differences(file.path, database.url)).toEqual([]);
});

for (const [what, before] of [
  ["the copy's first position", ""],
  ["a later position", "UPDATE entry SET v = 'early'"],
] as const) {
  test(`an older copy whose changes since ${what} are pruned from the log is refused`, async () => {
    if (before !== "") writeSqlite(before);
    await sidecar.waitDrained();
    const copy = await copyOfNow();
    for (let n = 0; n < 40; n++) writeSqlite();
    await sidecar.waitDrained();
    await putBack(copy);
    writeSqlite("DELETE FROM _switchback_log WHERE seq < (SELECT max(seq) FROM _switchback_log)");
    writeSqlite();
    await refused(/LOG_TAMPERED|SQLITE_REWOUND/);
  });
}

test("an older copy from before capture was lost and repaired is copied again", async () => {
  writeSqlite();
  await sidecar.waitDrained();
  const copy = await copyOfNow();
  await sidecar.term();
  const triggers = file
    .writer()
    .prepare("SELECT name FROM sqlite_schema WHERE type = 'trigger' AND tbl_name = 'entry'")
    .pluck()
    .all() as string[];
  writeSqlite(triggers.map((name) => `DROP TRIGGER "${name}"`).join(";"));
  writeSqlite("UPDATE entry SET v = 'unseen' WHERE id = 1");
  sidecar.start();
  await sidecar.waitPhase("streaming");
  writeSqlite();
  await sidecar.waitDrained();
  expect(await differences(file.path, database.url)).toEqual([]);
  await putBack(copy);
  await goesOnExactly();
});

// ---- while PostgreSQL has the writes

test("SQLite, the copy, knows more: it is not taken back, however much PostgreSQL took since", async () => {
  await flip("cutover");
  expect(await writePostgres()).toBe("taken");
  await carriedHome();
  const copy = await copyOfNow();
  for (let n = 0; n < 2; n++) {
    expect(await writePostgres("UPDATE entry SET v = v || '?' WHERE id = 1")).toBe("taken");
    await carriedHome();
  }
  await putBack(copy);
  await refused("SPLIT");
  for (let n = 0; n < 5; n++) expect(await writePostgres()).toBe("taken");
  await refused("SPLIT");
  expect(writeSqlite()).toContain("switchback: writes have moved to PostgreSQL (epoch 1)");
  // Whichever process continues with PostgreSQL as it is gives up the revert.
  const given = await sidecar.cli(["teardown", "--keep", "postgres"]);
  expect(given.code, given.stdout + given.stderr).toBe(0);
});

test("the same under a sidecar that continues running: it halts", async () => {
  await flip("cutover");
  await copyServer(server);
  for (let n = 0; n < 2; n++) {
    expect(await writePostgres("UPDATE entry SET v = v || '?' WHERE id = 1")).toBe("taken");
    await carriedHome();
  }
  await restoreServer(server);
  for (let n = 0; n < 4; n++) expect(await writePostgres()).toBe("taken");
  const { problems } = await sidecar.waitPhase("halted");
  expect(problems).toMatchObject([{ code: "SPLIT" }]);
  expect(writeSqlite()).toContain("switchback: writes have moved to PostgreSQL (epoch 1)");
});

test("a new database for a file that had moved before: refused, and adopted on purpose its copy begins again", async () => {
  await flip("cutover");
  expect(await writePostgres()).toBe("taken");
  await flip("revert");
  await sidecar.term();
  const fresh = await server.database();
  const next = await Sidecar.prepare({ sqlite: file.path, url: fresh.url });
  try {
    const refused = await next.cli(["backfill"]);
    expect(`${refused.code} ${refused.stderr}`).toMatch(/^4 [\s\S]*SOURCE_FOREIGN/);
    const adopted = await next.cli(["backfill", "--adopt-file"]);
    expect(adopted.code, adopted.stderr).toBe(0);
    next.start();
    await next.waitPhase("streaming");
    expect((await next.cli(["verify"])).code).toBe(0);
    expect((await next.cli(["cutover"])).code).toBe(0);
    await next.waitPhase("reverse_streaming");
    await fresh.query("INSERT INTO entry(v) VALUES ('postgres')");
    expect((await next.cli(["revert"])).code).toBe(0);
    expect(writeSqlite("INSERT INTO entry(v) SELECT count(*) FROM entry")).toBe("taken");
    await next.waitDrained();
    expect(await differences(file.path, fresh.url)).toEqual([]);
  } finally {
    await next.remove();
    await fresh.drop();
  }
});
