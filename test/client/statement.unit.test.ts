// Placeholders and the words that decide: a table of statements, and what each store gets.
import { expect, test } from "vitest";
import { translated, translateStatement } from "#switchback/client/statement.js";

const CASES: [string, string, string, number[]][] = [
  // written, SQLite's, PostgreSQL's, slots
  ["SELECT ?", "SELECT ?1", "SELECT $1", [0]],
  ["SELECT ?, ?", "SELECT ?1, ?2", "SELECT $1, $2", [0, 1]],
  ["SELECT $1, $1, $2", "SELECT ?1, ?1, ?2", "SELECT $1, $1, $2", [0, 1]],
  ["SELECT $2, $1", "SELECT ?1, ?2", "SELECT $1, $2", [1, 0]],
  ["SELECT $3", "SELECT ?1", "SELECT $1", [2]],
  ["SELECT ?2, ?", "SELECT ?1, ?2", "SELECT $1, $2", [1, 2]],
  ["SELECT '?', 'it''s $1', ?", "SELECT '?', 'it''s $1', ?1", "SELECT '?', 'it''s $1', $1", [0]],
  [`SELECT "a?", ?`, `SELECT "a?", ?1`, `SELECT "a?", $1`, [0]],
  ["SELECT ? -- why?\n, ?", "SELECT ?1 -- why?\n, ?2", "SELECT $1 -- why?\n, $2", [0, 1]],
  ["SELECT /* $1 ? */ ?", "SELECT /* $1 ? */ ?1", "SELECT /* $1 ? */ $1", [0]],
  ["SELECT $$a ? $1$$, ?", "SELECT $$a ? $1$$, ?1", "SELECT $$a ? $1$$, $1", [0]],
  ["SELECT $x$ ? $$ $x$, ?", "SELECT $x$ ? $$ $x$, ?1", "SELECT $x$ ? $$ $x$, $1", [0]],
  // With $n the question mark is an operator.
  ["SELECT a ? 'k' AND b = $1", "SELECT a ? 'k' AND b = ?1", "SELECT a ? 'k' AND b = $1", [0]],
  ["SELECT a$1 FROM t WHERE x=?;", "SELECT a$1 FROM t WHERE x=?1", "SELECT a$1 FROM t WHERE x=$1", [0]],
  ["SELECT ?::int ; ", "SELECT ?1::int", "SELECT $1::int", [0]],
];

test.each(CASES)("%s", (written, sqlite, postgres, slots) => {
  expect(translateStatement(written, "sqlite")).toMatchObject({ sql: sqlite, slots });
  expect(translateStatement(written, "postgres")).toMatchObject({ sql: postgres, slots });
});

test("what each store quotes in its own way", () => {
  expect(translateStatement("SELECT [a?], `b?`, ?", "sqlite").sql).toBe("SELECT [a?], `b?`, ?1");
  expect(translateStatement("SELECT a[?], ?", "postgres").sql).toBe("SELECT a[$1], $2");
  expect(translateStatement("SELECT E'it\\'s ?', ?", "postgres").sql).toBe("SELECT E'it\\'s ?', $1");
  expect(translateStatement("SELECT /* a /* ? */ ? */ ?", "postgres").sql).toBe(
    "SELECT /* a /* ? */ ? */ $1",
  );
});

const READS: [string, boolean][] = [
  ["SELECT 1", true],
  ["(SELECT 1) UNION SELECT 2", true],
  ["WITH a AS (SELECT 1) SELECT * FROM a", true],
  ["SELECT replace(a, 'x', 'y') FROM t", true],
  ["SELECT 'DELETE', \"update\" FROM t", true],
  ["WITH a AS (DELETE FROM t RETURNING *) SELECT * FROM a", false],
  ["SELECT * FROM t FOR UPDATE", false],
  ["SELECT * INTO u FROM t", false],
  ["INSERT INTO t VALUES (1)", false],
  ["CREATE TABLE t (a)", false],
];

test.each(READS)("reads: %s", (sql, reads) => {
  expect(translateStatement(sql, "postgres").reads).toBe(reads);
});

test("the table of an INSERT, RETURNING and DO UPDATE", () => {
  const of = (sql: string) => {
    const { insertsInto, returning, upsert } = translateStatement(sql, "postgres");
    return [insertsInto, returning, upsert];
  };
  expect(of("insert into t values (1)")).toEqual(["t", false, false]);
  expect(of(`WITH a AS (SELECT 1) INSERT INTO public."T t" SELECT * FROM a RETURNING id`)).toEqual([
    `public."T t"`,
    true,
    false,
  ]);
  expect(of("INSERT INTO t VALUES (1) ON CONFLICT (a) DO UPDATE SET a = 1")).toEqual(["t", false, true]);
  expect(of("INSERT INTO t VALUES (1) ON CONFLICT DO NOTHING")).toEqual(["t", false, false]);
  expect(of("UPDATE t SET a = 1")).toEqual([null, false, false]);
  // Not every statement with these words adds rows, nor may RETURNING stand in all of them.
  expect(of("EXPLAIN INSERT INTO t VALUES (1)")).toEqual([null, false, false]);
  expect(of("MERGE INTO t USING u ON t.a = u.a WHEN NOT MATCHED THEN INSERT VALUES (1)")).toEqual([
    null,
    false,
    false,
  ]);
  expect(() => translateStatement(" -- nothing\n ;", "sqlite")).toThrow("empty");
  expect(() => translateStatement(undefined as never, "sqlite")).toThrow("a statement is text");
  expect(() => translateStatement("SELECT $0", "sqlite")).toThrow("no placeholder");
});

test.each([
  ["ROLLBACK", "ROLLBACK"],
  ["\n  ROLLBACK WORK ;", "ROLLBACK"],
  ["\n  ROLLBACK TO s", "ROLLBACK TO"],
  ["/* back */ rollback transaction to savepoint s", "ROLLBACK TO"],
])("the verb of %j", (sql, verb) => {
  expect(translateStatement(sql, "sqlite").verb).toBe(verb);
});

test("a statement of many megabytes", () => {
  const long = "it''s ".repeat(4_000_000);
  for (const store of ["sqlite", "postgres"] as const) {
    expect(translateStatement(`SELECT '${long}', $$${long}$$ -- ${long}\n, ?`, store).parameters).toBe(1);
    expect(translateStatement(`SELECT /*${long}*/ ?`, store).parameters).toBe(1);
  }
});

test("of long statements only the last one is kept", () => {
  const long = (letter: string) => `SELECT '${letter.repeat(1_000_000)}' || ?`;
  const [short, first] = [translated("SELECT ?", "postgres"), translated(long("a"), "postgres")];
  expect(translated(long("a"), "postgres")).toBe(first);
  translated(long("b"), "postgres");
  expect(translated(long("a"), "postgres")).not.toBe(first);
  expect(translated("SELECT ?", "postgres")).toBe(short);
});
