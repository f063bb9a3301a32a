// The power continues SQLite's machine alone, at chosen moments, while PostgreSQL on another one forgets nothing. What
// the sidecar built on must be on SQLite's disk, and what only the application lost must be noticed.
import { writeFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { afterEach, expect, test } from "vitest";
import { Sidecar } from "../support/cli.js";
import { flagOf, move, routeFile, verify } from "../support/flips.js";
import { Power } from "../support/power.js";
import { differences } from "../support/rows.js";
import { type TestDatabase, testDatabase } from "../support/servers.js";
import { type Outside, python, type TestFile, testFile } from "../support/sqlite.js";

const SCHEMA = `
  CREATE TABLE entry(id INTEGER PRIMARY KEY AUTOINCREMENT, v TEXT NOT NULL);
  INSERT INTO entry(v) VALUES ('first'), ('second');`;
/** Longer than PostgreSQL takes to have an asynchronous commit on its disk. */
const FLUSHED_MS = 1_000;

/** Runs the statements that it reads, a line each, and never closes the file. */
const PROGRAM = `
import sqlite3, sys
db = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=10)
for line in sys.stdin:
    try:
        print(db.execute(line).fetchone())
    except sqlite3.Error as error:
        print(error)
`;

/** Holds the file's write lock from the moment when the fence stands. */
const HOLDER = `
import sqlite3, sys
db = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=10)
print("ready")
while db.execute("SELECT count(*) FROM _switchback_fenced").fetchone()[0] == 0: pass
db.execute("BEGIN IMMEDIATE")
print("held")
sys.stdin.read()
`;

class Machine {
  readonly power: Power;
  private readonly programs: Outside[] = [];
  private application: Outside | null = null;

  private constructor(
    readonly file: TestFile,
    readonly database: TestDatabase,
    readonly sidecar: Sidecar,
    power: Power,
  ) {
    this.power = power;
  }

  static async on(journal: "wal" | "delete"): Promise<Machine> {
    const file = testFile(SCHEMA, journal);
    const power = new Power(file.path);
    const database = await testDatabase(18);
    const { environment } = power;
    const sidecar = await Sidecar.prepare({ sqlite: file.path, url: database.url, environment });
    return new Machine(file, database, sidecar, power);
  }

  /** A statement of an application that asked for no more than `synchronous`. */
  async run(statement: string, synchronous = "NORMAL"): Promise<string> {
    if (!this.application) {
      this.application = this.program(PROGRAM);
      await this.run(`PRAGMA synchronous = ${synchronous}`);
    }
    this.application.process.stdin?.write(`${statement}\n`);
    return this.application.line();
  }

  program(script: string): Outside {
    const made = python(script, [this.file.path], "python3", this.power.environment);
    this.programs.push(made);
    return made;
  }

  async streaming(): Promise<void> {
    this.sidecar.start();
    await this.sidecar.waitPhase("streaming");
  }

  async cut(): Promise<void> {
    await this.sidecar.kill9();
    for (const program of this.programs.splice(0)) {
      program.kill();
      await program.finish().catch(() => {});
    }
    this.application = null;
    this.power.cut();
  }

  /** What `run` says until it refuses, or has applied everything. */
  async refusal(): Promise<string> {
    this.sidecar.start();
    await this.sidecar.waitDrained().catch(() => {});
    const said = this.sidecar.log();
    await this.sidecar.kill9();
    return said;
  }

  async remove(): Promise<void> {
    await this.sidecar.remove();
    for (const program of this.programs) program.kill();
    await this.database.drop();
    this.power.remove();
    this.file.remove();
  }
}

let machine: Machine;
afterEach(() => machine.remove());

test("what the sidecar installed is on the disk before anything is copied", async () => {
  machine = await Machine.on("wal");
  await machine.streaming();
  await sleep(FLUSHED_MS);
  await machine.cut();
  await machine.streaming();
  await machine.run("INSERT INTO entry(v) VALUES ('third')");
  await machine.sidecar.waitDrained();
  expect(await differences(machine.file.path, machine.database.url)).toEqual([]);
});

test("what PostgreSQL forgets is on SQLite's disk, with a rollback journal too", async () => {
  machine = await Machine.on("delete");
  await machine.streaming();
  await verify(machine.sidecar);
  await move(machine.sidecar, "postgres");
  await machine.database.query("INSERT INTO entry(v) VALUES ('third')");
  await machine.sidecar.waitFor("a drained copy", ({ sources }) =>
    sources.every(({ applied, lag }) => applied === 1 && lag.changes === 0),
  );
  await sleep(FLUSHED_MS);
  await machine.cut();
  machine.sidecar.start();
  await machine.sidecar.waitPhase("reverse_streaming");
  await sleep(300);
  expect(await differences(machine.file.path, machine.database.url)).toEqual([]);
});

test("a cutover brings what the application wrote before it to the disk", async () => {
  machine = await Machine.on("wal");
  await machine.streaming();
  await verify(machine.sidecar);
  for (let n = 0; n < 20; n++) await machine.run("INSERT INTO entry(v) VALUES ('acknowledged')");
  await move(machine.sidecar, "postgres");
  await machine.cut();
  machine.sidecar.start();
  await machine.sidecar.waitPhase("reverse_streaming");
  expect(await differences(machine.file.path, machine.database.url)).toEqual([]);
  expect(await machine.run("SELECT count(*) FROM entry")).toBe("(22,)");
});

test("the fence is on the disk before PostgreSQL opens, with a rollback journal too", async () => {
  machine = await Machine.on("delete");
  await machine.streaming();
  await verify(machine.sidecar);
  // Whatever is written to the file later would bring the fence to the disk as well.
  const holder = machine.program(HOLDER);
  await holder.line();
  writeFileSync(flagOf(machine.sidecar), "postgres\n");
  await holder.line();
  for (const until = Date.now() + 10_000; routeFile(machine.sidecar)?.writes !== "postgres"; await sleep(1)) {
    if (Date.now() > until) throw new Error("no flip");
  }
  await machine.cut();
  await machine.database.query("INSERT INTO entry(v) VALUES ('third')");
  expect(await machine.run("INSERT INTO entry(v) VALUES ('elsewhere')")).toMatch(/writes have moved/);
  machine.sidecar.start();
  await machine.sidecar.waitPhase("reverse_streaming");
});

for (const [what, statement] of [
  ["and nothing was written since", null],
  ["and rows of the same numbers were written since", "INSERT INTO entry(v) VALUES ('another')"],
] as const) {
  test(`commits that the application lost are noticed, ${what}`, async () => {
    machine = await Machine.on("wal");
    await machine.streaming();
    await machine.run("PRAGMA wal_checkpoint");
    const lost = statement ?? "INSERT INTO entry(v) VALUES ('lost')";
    for (let n = 0; n < 20; n++) await machine.run(lost.replace("another", "lost"));
    await machine.sidecar.waitDrained();
    await machine.cut();
    if (statement) for (let n = 0; n < 20; n++) await machine.run(statement);
    expect(await machine.refusal()).toContain("SQLITE_REWOUND");
    if (statement) return;
    // What the hint says.
    expect((await machine.sidecar.cli(["teardown"])).code).toBe(0);
    expect(await machine.database.query("SELECT count(*)::int AS n FROM entry")).toEqual([{ n: 22 }]);
    await machine.database.query("DROP TABLE entry");
    await machine.streaming();
    expect(await differences(machine.file.path, machine.database.url)).toEqual([]);
  });
}
