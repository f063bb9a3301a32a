// Random sequences of migrations, between two runs of the sidecar and while one follows. The target always ends with
// the rows of the file and the shape that a fresh start would make. The seed is printed; SWITCHBACK_SEED repeats one.
import type Database from "better-sqlite3";
import { afterEach, expect, test } from "vitest";
import { effort } from "../support/effort.js";
import { differences } from "../support/rows.js";
import { type TestDatabase, testDatabase } from "../support/servers.js";
import { backfill, configFor, freshShape, shapeLines, sidecarFor } from "../support/shapes.js";
import { type TestFile, testFile } from "../support/sqlite.js";

const SCHEMA = `
  CREATE TABLE parent(id INTEGER PRIMARY KEY, v TEXT);
  INSERT INTO parent VALUES (1, 'p1'), (2, 'p2'), (3, 'p3');`;

const COLUMNS = [
  "TEXT",
  "TEXT DEFAULT 'k'",
  "TEXT NOT NULL DEFAULT 'it''s'",
  "INTEGER DEFAULT 5 CHECK (COLUMN > 0)",
  "INTEGER NOT NULL DEFAULT 7",
  "INTEGER REFERENCES parent(id)",
  "INTEGER REFERENCES parent(id) ON DELETE CASCADE",
  "REAL DEFAULT 1.5",
  "BOOLEAN DEFAULT 0",
  "VARCHAR(20) COLLATE NOCASE DEFAULT 'x'",
  "TEXT GENERATED ALWAYS AS (upper(v)) VIRTUAL",
  "TEXT GENERATED ALWAYS AS (lower(v)) VIRTUAL",
  "INTEGER GENERATED ALWAYS AS (n * 2) VIRTUAL",
];
const CONSTRAINTS = [
  "UNIQUE (v)",
  "UNIQUE (n, v)",
  "CHECK (length(v) < 50)",
  "CONSTRAINT small CHECK (n < 1000)",
  "CHECK (v <> 'never')",
  "FOREIGN KEY (n) REFERENCES parent(id)",
  "FOREIGN KEY (n) REFERENCES parent(id) ON UPDATE CASCADE",
];
const INDEXES = [
  "INDEX NAME ON TABLE(v)",
  "INDEX NAME ON TABLE(n DESC, v COLLATE NOCASE)",
  "INDEX NAME ON TABLE(lower(v))",
  "INDEX NAME ON TABLE(n) WHERE v IS NOT NULL",
  "UNIQUE INDEX NAME ON TABLE(id, v)",
  "UNIQUE INDEX NAME ON TABLE(v) WHERE n > 100000",
  "UNIQUE INDEX NAME ON TABLE(v || '-' || id)",
];

/** What a rebuild writes again: SQLite's own text would do, were it not to be changed. */
interface Table {
  readonly name: string;
  readonly key: string;
  columns: { name: string; text: string }[];
  constraints: string[];
}

function random(seed: number): (n: number) => number {
  let state = seed;
  return (n) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * n);
  };
}

class Application {
  readonly tables: Table[] = ["one", "two"].map((name, i) => ({
    name,
    key: i === 0 ? "id INTEGER PRIMARY KEY" : "id INTEGER",
    columns: [
      { name: "v", text: "TEXT" },
      { name: "n", text: "INTEGER DEFAULT 1" },
    ],
    constraints: [],
  }));
  private names = 0;
  readonly done: string[] = [];

  constructor(
    private readonly db: Database.Database,
    private readonly pick: (n: number) => number,
  ) {
    for (const table of this.tables) db.exec(this.create(table, table.name));
    this.write();
    this.write();
  }

  private of<T>(list: readonly T[]): T {
    return list[this.pick(list.length)] as T;
  }

  private create({ key, columns, constraints }: Table, name: string): string {
    const lines = [
      key,
      ...columns.map((c) => `${c.name} ${c.text.replaceAll("COLUMN", c.name)}`),
      ...constraints,
    ];
    return `CREATE TABLE ${name}(${lines.join(", ")})`;
  }

  /** One migration; what SQLite refuses did not happen. */
  migrate(): void {
    const table = this.of(this.tables);
    const before = structuredClone({ columns: table.columns, constraints: table.constraints });
    const name = `c${this.names++}`;
    const extra = table.columns.filter((c) => c.name !== "v" && c.name !== "n");
    const step = this.pick(9);
    const statements: string[] = [];
    if (step < 2) {
      const column = { name, text: this.of(COLUMNS) };
      table.columns.push(column);
      statements.push(
        `ALTER TABLE ${table.name} ADD COLUMN ${name} ${column.text.replaceAll("COLUMN", name)}`,
      );
    } else if (step === 2 && extra.length > 0) {
      const gone = this.of(extra);
      table.columns = table.columns.filter((c) => c !== gone);
      statements.push(`ALTER TABLE ${table.name} DROP COLUMN ${gone.name}`);
    } else if (step === 3 && extra.length > 0) {
      const renamed = this.of(extra);
      statements.push(`ALTER TABLE ${table.name} RENAME COLUMN ${renamed.name} TO ${name}`);
      const text = renamed.text.replaceAll(renamed.name, name);
      table.columns = table.columns.map((c) => (c === renamed ? { name, text } : c));
    } else if (step === 4) {
      statements.push(
        `CREATE ${this.of(INDEXES)
          .replace("TABLE", table.name)
          .replace("NAME", `i_${this.pick(4)}`)}`,
      );
    } else if (step === 5) {
      statements.push(`DROP INDEX i_${this.pick(4)}`);
    } else if (step === 6 && extra.at(-1) === table.columns.at(-1) && extra.length > 0) {
      const last = extra.at(-1) ?? { name: "", text: "" };
      const text = last.text.replaceAll("COLUMN", last.name);
      statements.push(`ALTER TABLE ${table.name} DROP COLUMN ${last.name}`);
      statements.push(`ALTER TABLE ${table.name} ADD COLUMN ${last.name} ${text}`);
    } else {
      statements.push(...this.rebuild(table));
    }
    try {
      this.db.exec(`BEGIN; ${statements.join("; ")}; COMMIT`);
      this.done.push(...statements);
    } catch {
      if (this.db.inTransaction) this.db.exec("ROLLBACK");
      Object.assign(table, before);
    }
  }

  private rebuild(table: Table): string[] {
    // v and n keep their type, because their values must fit.
    const extra = table.columns.filter((c) => c.name !== "v" && c.name !== "n");
    if (this.pick(2) === 0 && extra.length > 0) {
      const { name } = this.of(extra);
      const text = this.of(COLUMNS);
      table.columns = table.columns.map((c) => (c.name === name ? { name, text } : c));
    } else if (this.pick(2) === 0) {
      const constraint = this.of(CONSTRAINTS);
      table.constraints = table.constraints.includes(constraint)
        ? table.constraints.filter((c) => c !== constraint)
        : [...table.constraints, constraint];
    } else {
      table.columns = [...table.columns.slice(1), ...table.columns.slice(0, 1)];
    }
    const copied = ["id", "v", "n"].join(", ");
    return [
      this.create(table, "rebuilt"),
      `INSERT OR IGNORE INTO rebuilt(${copied}) SELECT ${copied} FROM ${table.name}`,
      `DROP TABLE ${table.name}`,
      `ALTER TABLE rebuilt RENAME TO ${table.name}`,
    ];
  }

  write(): void {
    for (const { name, columns } of this.tables) {
      const plain = columns.filter((c) => /^(TEXT|INTEGER)( DEFAULT|$)/.test(c.text));
      const set = `${this.of(plain).name} = ${this.pick(4) + 1}`;
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
