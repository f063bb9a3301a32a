// The ranges of the comparison in the background: none has many rows, none is passed over, whatever the keys.
import Database from "better-sqlite3";
import { afterEach, beforeEach, expect, test } from "vitest";
import { StoredText } from "#switchback/codec/stored-text.js";
import { present } from "#switchback/present.js";
import type { Range } from "#switchback/protocol/contract.js";
import { quote, type Table } from "#switchback/schema/model.js";
import { readSchema } from "#switchback/sqlite/schema.js";
import { beyond, boundParameters, fromTable } from "#switchback/sqlite/source/queries.js";
import { boundValues, comparisonCuts } from "#switchback/sqlite/source/ranges.js";
import { temporaryFolder } from "../support/scratch.js";

const MOST = 2_000;

let place: ReturnType<typeof temporaryFolder>;
let db: Database.Database;
beforeEach(() => {
  place = temporaryFolder();
  db = new Database(`${place.folder}/app.db`);
});
afterEach(() => {
  db.close();
  place.remove();
});

function rowsIn(table: Table, { lo, hi }: Range): number {
  const within = (bound: string | null, operator: ">" | "<=") =>
    bound === null
      ? { sql: "1", values: [] }
      : {
          sql: beyond(table, operator),
          values: boundParameters(table, StoredText.of(db), boundValues(bound)),
        };
  const [low, high] = [within(lo, ">"), within(hi, "<=")];
  return Number(
    db
      .prepare(`SELECT count(*) FROM ${fromTable(table)} WHERE ${low.sql} AND ${high.sql}`)
      .pluck()
      .get(...low.values, ...high.values),
  );
}

/** Cuts the table to its end; `between` runs after each range. Returns the rows of each range. */
function cut(name: string, between = () => {}): number[] {
  const table = present(
    readSchema(db).tables.find((one) => one.name === name),
    name,
  );
  const next = comparisonCuts(db, table);
  const counts: number[] = [];
  let lo: string | null = null;
  for (let range = next(null); range; range = next(range)) {
    expect(range.lo).toBe(lo);
    lo = range.hi;
    counts.push(rowsIn(table, range));
    between();
    expect(counts.length).toBeLessThan(100);
  }
  return counts;
}

const TABLES: readonly (readonly [string, string])[] = [
  ["plain ids", "CREATE TABLE t(id INTEGER PRIMARY KEY, v); INSERT INTO t SELECT i, i FROM n"],
  [
    "ids far apart",
    `CREATE TABLE t(id INTEGER PRIMARY KEY, v); INSERT INTO t SELECT i, i FROM n;
     INSERT INTO t VALUES (-9223372036854775808, 0), (9223372036854775807, 0)`,
  ],
  ["a hidden rowid", "CREATE TABLE t(k TEXT PRIMARY KEY, v); INSERT INTO t SELECT 'k' || i, i FROM n"],
  [
    "texts in any case",
    "CREATE TABLE t(k TEXT COLLATE NOCASE, b INTEGER, PRIMARY KEY (k, b)) WITHOUT ROWID; INSERT INTO t SELECT iif(i % 2, 'K', 'k') || (i % 7), i FROM n",
  ],
  [
    "keys of every class",
    `CREATE TABLE t(k PRIMARY KEY, v) WITHOUT ROWID;
     INSERT INTO t SELECT CASE i % 4 WHEN 0 THEN i WHEN 1 THEN i + 0.5 WHEN 2 THEN 'k' || i ELSE CAST(i AS BLOB) END, i FROM n`,
  ],
  [
    "every name of the rowid hidden",
    "CREATE TABLE t(rowid TEXT, oid TEXT, _rowid_ TEXT, k TEXT PRIMARY KEY NOT NULL); INSERT INTO t SELECT i, i, i, 'k' || i FROM n",
  ],
];

test.each(TABLES)("%s: ranges of few rows cover every row once", (_, sql) => {
  db.exec(`CREATE TEMP TABLE n AS WITH RECURSIVE x(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM x WHERE i < 9001)
    SELECT i FROM x; ${sql}`);
  const counts = cut("t");
  expect(Math.max(...counts)).toBeLessThanOrEqual(MOST);
  const rows = db
    .prepare(`SELECT count(*) FROM ${quote("t")}`)
    .pluck()
    .get();
  expect(counts.reduce((sum, count) => sum + count, 0)).toBe(rows);
});

test("an empty table has no range", () => {
  db.exec("CREATE TABLE t(id INTEGER PRIMARY KEY)");
  expect(cut("t")).toEqual([]);
});

test("it ends although rows come in faster than they are compared", () => {
  db.exec(`CREATE TABLE t(id INTEGER PRIMARY KEY); WITH RECURSIVE x(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM x
    WHERE i < 5000) INSERT INTO t SELECT i FROM x`);
  const more = db.prepare("INSERT INTO t SELECT id + 10000 + (SELECT max(id) FROM t) FROM t LIMIT 3000");
  expect(cut("t", () => more.run())).toEqual([2_000, 2_000, 1_000]);
});
