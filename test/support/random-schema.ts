// A random application's schema: its next migration as statements, with what it would leave if SQLite takes it. The
// migrations are those that applications and their ORMs do: ALTER TABLE, rebuilds, indexes made and dropped.
import type Database from "better-sqlite3";

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

export function random(seed: number): (n: number) => number {
  let state = seed;
  return (n) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * n);
  };
}

/** A migration; `undo` when SQLite refused it. */
export interface Migration {
  readonly statements: readonly string[];
  undo(): void;
}

/** Two tables, `one` with an integer key and `two` without a key, that change again and again. */
export class RandomSchema {
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

  constructor(private readonly pick: (n: number) => number) {}

  /** The tables as they are first. */
  first(): string[] {
    return this.tables.map((table) => this.create(table, table.name));
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

  migration(): Migration {
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
    return { statements, undo: () => Object.assign(table, before) };
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

  /** The columns of one table, and those of them that take a number or a text. */
  columnsOf(name: string): { all: readonly string[]; plain: readonly string[] } {
    const columns = this.tables.find((table) => table.name === name)?.columns ?? [];
    const plain = columns.filter((c) => /^(TEXT|INTEGER)( DEFAULT|$)/.test(c.text));
    return { all: columns.map((c) => c.name), plain: plain.map((c) => c.name) };
  }
}

/** In one transaction; false when SQLite refused it. */
export function migrate(db: Database.Database, statements: readonly string[]): boolean {
  try {
    db.exec(`BEGIN; ${statements.join("; ")}; COMMIT`);
    return true;
  } catch {
    if (db.inTransaction) db.exec("ROLLBACK");
    return false;
  }
}
