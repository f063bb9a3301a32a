// An application's SQLite file under a fence, and the target that brings PostgreSQL's rows home to it. Values are
// read back by Python's sqlite3, class by class and byte for byte.
import Database from "better-sqlite3";
import type { SqliteValue } from "#switchback/codec/codec.js";
import type { ColumnConfig, SourceConfig } from "#switchback/config/config.js";
import { decideMappings } from "#switchback/mapping/decide.js";
import type { TableMapping } from "#switchback/mapping/mapping.js";
import { encodeRow } from "#switchback/mapping/row-format.js";
import type { Applied, EncodedRow, Rows, TableWindow, Window } from "#switchback/protocol/contract.js";
import { installSqliteCapture, schemaVersion } from "#switchback/sqlite/capture/install.js";
import { openSqlite } from "#switchback/sqlite/connection.js";
import { readSchema } from "#switchback/sqlite/schema.js";
import { SqliteTarget } from "#switchback/sqlite/target/target.js";
import { pythonNow, type TestFile, testFile } from "./sqlite.js";

const LOG_TRIGGER = `CREATE TRIGGER _switchback_log_fence BEFORE INSERT ON _switchback_log BEGIN
  SELECT RAISE(IGNORE) FROM _switchback_applying;
  SELECT RAISE(ABORT, 'switchback: writes have moved to PostgreSQL (epoch 1)') FROM _switchback_fenced;
END`;

export type Columns = Readonly<Record<string, Readonly<Record<string, ColumnConfig>>>>;

export interface Change {
  readonly rows?: readonly EncodedRow[];
  readonly gone?: readonly EncodedRow[];
  readonly part?: Partial<TableWindow>;
}

export class SqliteCopy {
  position = 0;

  private constructor(
    readonly file: TestFile,
    readonly mappings: readonly TableMapping[],
    readonly target: SqliteTarget,
  ) {
    this.position = target.claim();
  }

  static open(schema: string, columns: Columns = {}, journal: "wal" | "delete" = "wal"): SqliteCopy {
    return SqliteCopy.over(testFile(schema, journal), columns);
  }

  static over(file: TestFile, columns: Columns = {}): SqliteCopy {
    const db = openSqlite(file.path, { readonly: false });
    const tables = Object.fromEntries(Object.entries(columns).map(([table, c]) => [table, { columns: c }]));
    const source: SourceConfig = {
      name: "app",
      sqlite: file.path,
      schema: "public",
      target: "create",
      lengths: "drop",
      include: ["*"],
      exclude: [],
      tables,
    };
    const read = readSchema(db);
    const { mappings } = decideMappings(db, read, source);
    installSqliteCapture(db, read.tables, schemaVersion(db));
    db.exec(`${LOG_TRIGGER}; INSERT INTO _switchback_fenced VALUES (1)`);
    db.close();
    return new SqliteCopy(file, mappings, new SqliteTarget("app", file.path, "me", mappings));
  }

  mapping(table: string): TableMapping {
    const mapping = this.mappings.find((m) => m.table.name === table);
    if (!mapping) throw new Error(`no mapping for ${table}`);
    return mapping;
  }

  /** Rows of SQLite values, in the order of the mapping's columns, as PostgreSQL would hold them. */
  encoded(table: string, rows: readonly (readonly SqliteValue[])[]): EncodedRow[] {
    return rows.map((values) => {
      const { row, reason } = encodeRow(this.mapping(table).columns, values);
      if (!row) throw new Error(reason);
      return row;
    });
  }

  window(changes: Readonly<Record<string, Change>>): Window {
    const values = (list: readonly EncodedRow[] = []): Rows => ({ kind: "values", values: list });
    const tables = Object.entries(changes).map(([table, { rows, gone, part }]) => ({
      table,
      changes: 1,
      rows: values(rows),
      gone: values(gone),
      refused: [],
      touched: [],
      ...part,
    }));
    return {
      from: this.position,
      to: this.position + 1,
      changes: 1,
      mark: "",
      tables,
      close: async () => {},
    };
  }

  async apply(changes: Readonly<Record<string, Change>>): Promise<Applied> {
    const window = this.window(changes);
    const applied = await this.target.apply(window);
    this.position = window.to;
    return applied;
  }

  /** What our connection finds, for small looks. */
  all(text: string): unknown[] {
    const db = new Database(this.file.path, { readonly: true });
    const rows = db.prepare(text).raw().all();
    db.close();
    return rows;
  }

  dump(text: string): string[] {
    return dump(this.file.path, text);
  }

  close(): void {
    this.target.close();
    this.file.remove();
  }
}

const DUMP = `
import sqlite3, sys, struct, json
db = sqlite3.connect("file:%s?mode=ro" % sys.argv[1], uri=True)
db.text_factory = bytes
def spelled(v, c):
    if c == b"text": return "t" + v.hex()
    if c == b"blob": return "b" + v.hex()
    if c == b"real": return "r" + struct.pack(">d", v).hex()
    return "i%d" % v if c == b"integer" else "null"
for row in db.execute(sys.argv[2]):
    half = len(row) // 2
    print(" ".join(spelled(row[i], row[half + i]) for i in range(half)))
`;

/** Every row that the query gives, as Python sees it; the query lists the values, then their typeof(). */
export function dump(path: string, text: string): string[] {
  return pythonNow(DUMP.trim(), [path, text])
    .split("\n")
    .filter((line) => line !== "");
}

/** The query for `dump`: these expressions of a table in the order of the first. */
export function values(table: string, expressions: readonly string[], order = expressions[0]): string {
  const classes = expressions.map((x) => `typeof(${x})`);
  return `SELECT ${[...expressions, ...classes].join(", ")} FROM ${table} ORDER BY ${order}`;
}

/** As `dump` spells a value. */
export function spelled(value: SqliteValue): string {
  if (value === null) return "null";
  if (typeof value === "bigint") return `i${value}`;
  if (typeof value === "string") return `t${Buffer.from(value).toString("hex")}`;
  if (typeof value === "number") {
    const bytes = Buffer.alloc(8);
    bytes.writeDoubleBE(value);
    return `r${bytes.toString("hex")}`;
  }
  return `b${Buffer.from(value instanceof Uint8Array ? value : value.bytes).toString("hex")}`;
}
