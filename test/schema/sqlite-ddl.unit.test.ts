// What is read out of DDL text, for every way of quoting and commenting that SQLite allows.
import { describe, expect, test } from "vitest";
import { readCreateIndex, readCreateTable } from "#switchback/schema/sqlite-ddl.js";
import { splitAtCommas, textOf, tokens } from "#switchback/schema/sqlite-tokens.js";

describe("tokens", () => {
  test.each([
    ["'it''s'", "string", "it's"],
    ['"a ""b"""', "name", 'a "b"'],
    ["[a b]", "name", "a b"],
    ["`a``b`", "name", "a`b"],
    ["x'00Ff'", "blob", "00Ff"],
    ["X''", "blob", ""],
    ["1_000", "number", "1_000"],
    ["0xFf", "number", "0xFf"],
    [".5e-3", "number", ".5e-3"],
    ["12.", "number", "12."],
    ["naïve$1", "word", "naïve$1"],
    ["->>", "operator", "->>"],
    ["||", "operator", "||"],
    ["'unterminated", "string", "unterminated"],
  ])("%s is one %s", (sql, kind, value) => {
    expect(tokens(sql).map((token) => [token.kind, token.value])).toEqual([[kind, value]]);
  });

  test("comments and white space are no tokens, wherever they stand", () => {
    expect(tokens("a--b\n+/* c\n */d -- end").map((token) => token.text)).toEqual(["a", "+", "d"]);
    expect(tokens("1 /* unterminated").map((token) => token.text)).toEqual(["1"]);
  });

  test("what looks like a comment or a comma inside quotes is text", () => {
    const list = tokens("'--', \"/*\", [,], f(a, b)");
    expect(splitAtCommas(list).map(textOf)).toEqual(["'--'", '"/*"', "[,]", "f(a, b)"]);
  });

  test("text comes back without comments, so that it may stand in one line", () => {
    expect(textOf(tokens("a  >\n -- why\n 0 AND/**/b='x -- y'"))).toBe("a > 0 AND b='x -- y'");
  });
});

describe("CREATE TABLE", () => {
  test("columns, collations and generating expressions", () => {
    const { columns } = readCreateTable(`CREATE TABLE "t (" -- (
      ( a INTEGER PRIMARY KEY, "b,c" DECIMAL(10, 2) DEFAULT (max(1, 2)) COLLATE nocase, [d e], 'f' TEXT,
        g AS (a + (1)), h INT GENERATED ALWAYS AS (length(')')) STORED NOT NULL COLLATE "my own",
        i TEXT DEFAULT collate_me COLLATE RTRIM DEFAULT -1, j "odd type" (3))`);
    expect(columns).toEqual([
      { name: "a", collation: null, generatedAs: null },
      { name: "b,c", collation: "nocase", generatedAs: null },
      { name: "d e", collation: null, generatedAs: null },
      { name: "f", collation: null, generatedAs: null },
      { name: "g", collation: null, generatedAs: "a + (1)" },
      { name: "h", collation: "my own", generatedAs: "length(')')" },
      { name: "i", collation: "RTRIM", generatedAs: null },
      { name: "j", collation: null, generatedAs: null },
    ]);
  });

  test("CHECKs of columns and tables, with and without names, and no commas between table constraints", () => {
    const { checks } = readCreateTable(`CREATE TABLE t(a CONSTRAINT positive CHECK (a > 0) CHECK(a < 9),
      b CONSTRAINT pk PRIMARY KEY CHECK (b IN ('x)', "y")), "check" TEXT,
      CONSTRAINT [both of] CHECK (a <> b) UNIQUE (a) CHECK ((a)), CONSTRAINT u UNIQUE (b) CHECK (1))`);
    expect(checks).toEqual([
      { name: "positive", expression: "a > 0" },
      { name: null, expression: "a < 9" },
      { name: null, expression: "b IN ('x)', \"y\")" },
      { name: "both of", expression: "a <> b" },
      { name: null, expression: "(a)" },
      { name: null, expression: "1" },
    ]);
  });

  test("which foreign keys are deferred, in the order of the text", () => {
    const table =
      readCreateTable(`CREATE TABLE t(a REFERENCES p, b REFERENCES p(x) DEFERRABLE INITIALLY DEFERRED,
      c REFERENCES p ON DELETE SET NULL NOT DEFERRABLE INITIALLY DEFERRED, d REFERENCES p DEFERRABLE,
      FOREIGN KEY (a, b) REFERENCES p(x, y) MATCH FULL DEFERRABLE INITIALLY DEFERRED)`);
    expect(table.deferred).toEqual([false, true, false, false, true]);
  });

  test("AUTOINCREMENT, but not in a name or a default", () => {
    expect(readCreateTable("CREATE TABLE t(a INTEGER PRIMARY KEY AUTOINCREMENT)").autoincrement).toBe(true);
    const text = `CREATE TABLE t(a INTEGER PRIMARY KEY, "autoincrement", b DEFAULT 'AUTOINCREMENT')`;
    expect(readCreateTable(text).autoincrement).toBe(false);
  });
});

describe("CREATE INDEX", () => {
  test.each([
    ["CREATE INDEX i ON t(a, b DESC)", ["a", "b"], null],
    ['CREATE UNIQUE INDEX "on" ON "t(" ("a b" COLLATE NOCASE ASC) WHERE a > 0 ;', ['"a b"'], "a > 0"],
    [
      "CREATE INDEX i ON t(lower(a) COLLATE NOCASE DESC, coalesce(b, ','), (c))",
      ["lower(a)", "coalesce(b, ',')", "(c)"],
      null,
    ],
    [
      "CREATE INDEX IF NOT EXISTS main.i ON t(a -- one\n , b) WHERE b -- two\n IS NULL",
      ["a", "b"],
      "b IS NULL",
    ],
  ])("%s", (sql, terms, where) => {
    expect(readCreateIndex(sql)).toEqual({ terms, where });
  });
});
