// The environment of the application's file that decides whether a sidecar can run beside it: the journal
// mode, the file system, this user's rights, dangling references. It is read-only.
import { constants, statfsSync } from "node:fs";
import { dirname } from "node:path";
import type Database from "better-sqlite3";
import { exactValues, StoredText } from "../../codec/stored-text.js";
import type { Finding } from "../../findings.js";
import { keyText } from "../../mapping/row-format.js";
import { quote, rowidName, type Table } from "../../schema/model.js";
import { may } from "../connection.js";
import { SECOND_NAME_REMEDY, secondName } from "./second-names.js";

type Answer = Omit<Finding, "source">;

/** Everything about the file except its tables. */
export function surroundings(db: Database.Database, file: string): Answer[] {
  return [...rights(file), ...names(file), ...fileSystem(file), ...journal(db), ...encoding(db)];
}

function names(file: string): Answer[] {
  const second = secondName(file);
  return second === null ? [] : [{ severity: "blocker", ...second, remedy: SECOND_NAME_REMEDY }];
}

function rights(file: string): Answer[] {
  return [file, dirname(file)]
    .filter((path) => !may(path, constants.W_OK))
    .map((path) => ({
      severity: "blocker",
      code: "sqlite-rights",
      message: `this user may not write ${path}`,
      remedy:
        "Give the sidecar's user write permission on the file and on its folder: capture installs triggers.",
    }));
}

/** Linux's numbers for file systems on which locks or shared memory do not reach other hosts. */
const NETWORK: ReadonlyMap<number, string> = new Map([
  [0x6969, "NFS"],
  [0x517b, "SMB"],
  [0xff534d42, "CIFS"],
  [0xfe534d42, "SMB2"],
  [0x01021997, "9P"],
  [0x5346414f, "AFS"],
  [0x00c36400, "Ceph"],
  [0x0bd00bd0, "Lustre"],
]);
const FUSE = 0x65735546;

function fileSystem(file: string): Answer[] {
  const type = statfsSync(file).type >>> 0;
  const network = NETWORK.get(type);
  if (network !== undefined) {
    return [
      {
        severity: "blocker",
        code: "network-file-system",
        message: `the file is on ${network}, where SQLite's locks and shared memory are not reliable`,
        remedy: "Run the sidecar on the application's host, with the file on a local disk.",
      },
    ];
  }
  if (type !== FUSE) return [];
  return [
    {
      severity: "warning",
      code: "network-file-system",
      message: "the file is on a FUSE file system, which may be on a network",
      remedy: "Make sure that it is local: the sidecar must share locks and memory with the application.",
    },
  ];
}

function journal(db: Database.Database): Answer[] {
  const mode = String(db.pragma("journal_mode", { simple: true }));
  if (mode === "wal") return [];
  return [
    {
      severity: "warning",
      code: "journal-mode",
      message: `the journal mode is ${mode}, in which every read of switchback blocks the application's commits for a moment`,
      remedy: "Run `PRAGMA journal_mode = WAL` once, if the application can live with it.",
    },
  ];
}

function encoding(db: Database.Database): Answer[] {
  const name = String(db.pragma("encoding", { simple: true }));
  if (name === "UTF-8") return [];
  return [
    {
      severity: "note",
      code: "encoding",
      message: `the file's text is ${name}: it is read value by value, and copying takes longer than from UTF-8`,
      remedy: "Nothing needs to be done.",
    },
  ];
}

/** Dangling references of one table, one result per foreign key. */
export function orphans(db: Database.Database, table: Table): Answer[] {
  if (table.foreignKeys.length === 0) return [];
  try {
    return counted(
      db,
      table,
      db
        .prepare(`PRAGMA foreign_key_check(${quote(table.name)})`)
        .raw()
        .iterate(),
    );
  } catch (error) {
    // The parent is missing, or its columns are not unique: SQLite refuses the check.
    return [
      {
        severity: "warning",
        code: "foreign-key-mismatch",
        table: table.name,
        message: `its foreign keys cannot be checked: ${error instanceof Error ? error.message : String(error)}`,
        remedy: "PostgreSQL gets no such foreign key; correct the schema if the application relies on it.",
      },
    ];
  }
}

function counted(db: Database.Database, table: Table, rows: Iterable<unknown>): Answer[] {
  const found = new Map<string, { rows: number; rowid: bigint | null; parent: string }>();
  for (const row of rows) {
    const [, rowid, parent, id] = row as [string, bigint | null, string, bigint];
    const known = found.get(String(id)) ?? { rows: 0, rowid, parent };
    found.set(String(id), { ...known, rows: known.rows + 1 });
  }
  return [...found.values()].map(({ rows: count, rowid, parent }): Answer => {
    const key = rowid === null ? undefined : keyAt(db, table, rowid);
    return {
      severity: "warning",
      code: "orphans",
      table: table.name,
      ...(key === undefined ? {} : { key }),
      message: `${count} ${count === 1 ? "row refers" : "rows refer"} to rows of ${parent} that do not exist`,
      remedy:
        "All rows are copied, and the foreign key is added NOT VALID; delete the orphans or restore their parents.",
    };
  });
}

function keyAt(db: Database.Database, table: Table, rowid: bigint): string | undefined {
  if (table.key.kind === "rowid") return keyText([rowid]);
  const { columns } = table.key;
  const name = rowidName(table);
  if (name === null) return undefined;
  const list = exactValues(columns.map(quote));
  const row = db.prepare(`SELECT ${list} FROM ${quote(table.name)} WHERE ${name} = ?`);
  const found = row.safeIntegers(true).raw().get(rowid) as unknown[];
  return keyText(StoredText.of(db).values(found, columns.length));
}
