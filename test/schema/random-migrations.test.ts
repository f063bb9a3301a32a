// Random sequences of migrations, between two runs of the sidecar and while one follows. The target always ends with
// the rows of the file and the shape that a fresh start would make. The seed is printed; SWITCHBACK_SEED repeats one.
import type Database from "better-sqlite3";
import { afterEach, expect, test } from "vitest";
import { effort } from "../support/effort.js";
import { migrate, RandomSchema, random } from "../support/random-schema.js";
import { differences } from "../support/rows.js";
import { type TestDatabase, testDatabase } from "../support/servers.js";
import { backfill, configFor, freshShape, shapeLines, sidecarFor } from "../support/shapes.js";
import { type TestFile, testFile } from "../support/sqlite.js";

const SCHEMA = `
  CREATE TABLE parent(id INTEGER PRIMARY KEY, v TEXT);
  INSERT INTO parent VALUES (1, 'p1'), (2, 'p2'), (3, 'p3');`;

class Application {
  private readonly schema: RandomSchema;
  readonly done: string[] = [];

  constructor(
    private readonly db: Database.Database,
    private readonly pick: (n: number) => number,
  ) {
    this.schema = new RandomSchema(pick);
    for (const statement of this.schema.first()) db.exec(statement);
    this.write();
    this.write();
  }

  private of<T>(list: readonly T[]): T {
    return list[this.pick(list.length)] as T;
  }

  /** One migration; what SQLite refuses did not happen. */
  migrate(): void {
    const { statements, undo } = this.schema.migration();
    if (migrate(this.db, statements)) this.done.push(...statements);
    else undo();
  }

  write(): void {
    for (const { name } of this.schema.tables) {
      const { plain } = this.schema.columnsOf(name);
      const set = `${this.of(plain)} = ${this.pick(4) + 1}`;
      const statement = `INSERT OR IGNORE INTO ${name}(id, v, n) VALUES (abs(random()) % 1000, 'w' || ${this.pick(50)}, ${this.pick(3) + 1});
        UPDATE OR IGNORE ${name} SET ${set} WHERE id % 2 = ${this.pick(2)}`;
      this.db.exec(statement);
      this.done.push(statement);
    }
  }
}

let file: TestFile;
let database: TestDatabase;
const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

async function application(): Promise<{ app: Application; label: string; pick: (n: number) => number }> {
  const seed = Number(process.env.SWITCHBACK_SEED ?? Date.now() % 1_000_000);
  console.log(`SWITCHBACK_SEED=${seed}`);
  const pick = random(seed);
  file = testFile(SCHEMA);
  cleanups.push(() => file.remove());
  database = await testDatabase(15);
  cleanups.push(() => database.drop());
  return { app: new Application(file.writer(), pick), label: `SWITCHBACK_SEED=${seed}`, pick };
}

async function expectFresh(app: Application, label: string): Promise<void> {
  const said = `${label}\n${app.done.join("\n")}`;
  expect(await differences(file.path, database.url), said).toEqual([]);
  expect(await shapeLines(database.url), said).toEqual(await freshShape(file.path, 15));
}

const ROUNDS = effort(3, 10);

test("between runs", async () => {
  const { app, label, pick } = await application();
  await backfill(file.path, database.url);
  for (let round = 0; round < ROUNDS; round++) {
    for (let step = pick(6); step >= 0; step--) pick(3) === 0 ? app.write() : app.migrate();
    await backfill(file.path, database.url);
    await expectFresh(app, label);
  }
}, 600_000);

test("while a sidecar follows", async () => {
  const { app, label, pick } = await application();
  const sidecar = sidecarFor({ ...configFor(file.path, database.url), http: null });
  const stop = new AbortController();
  const running = sidecar.run(stop.signal);
  cleanups.push(async () => {
    stop.abort();
    await running;
    await sidecar.close();
  });
  const streaming = async () => {
    await sidecar.look();
    const { phase, sources, problems } = sidecar.status();
    const [source] = sources;
    return { phase, behind: (source?.position ?? 1) - (source?.applied ?? 0), problems };
  };
  const there = { phase: "streaming", behind: 0, problems: [] };
  for (let round = 0; round < ROUNDS; round++) {
    for (let step = pick(6); step >= 0; step--) {
      pick(3) === 0 ? app.write() : app.migrate();
      if (pick(2) === 0) await new Promise((resolve) => setTimeout(resolve, pick(60)));
    }
    // Noticing a change takes milliseconds, in which it still says that it streams.
    await new Promise((resolve) => setTimeout(resolve, 300));
    await expect.poll(streaming, { timeout: 30_000, interval: 100 }).toEqual(there);
    await expectFresh(app, label);
  }
}, 600_000);
