// SQLite as a target. What PostgreSQL did not change stays as it is, byte for byte. What it changed arrives exactly,
// whatever order the rows come in; what SQLite cannot hold is quarantined and nothing else fails.
import Database from "better-sqlite3";
import { afterEach, describe, expect, test } from "vitest";
import { SwitchbackError } from "#switchback/errors.js";
import type { EncodedRow } from "#switchback/protocol/contract.js";
import { SqliteTarget } from "#switchback/sqlite/target/target.js";
import { python, pythonNow, testFile } from "../support/sqlite.js";
import { type Columns, SqliteCopy, values } from "../support/sqlite-copy.js";

const open: SqliteCopy[] = [];
afterEach(() => {
  for (const copy of open.splice(0)) copy.close();
});

function openCopy(schema: string, columns: Columns = {}, journal: "wal" | "delete" = "wal"): SqliteCopy {
  const made = SqliteCopy.open(schema, columns, journal);
  open.push(made);
  return made;
}

const batches = (...list: EncodedRow[][]) => ({
  kind: "batches" as const,
  async *batches() {
    for (const batch of list) {
      await new Promise((resolve) => setTimeout(resolve, 5));
      yield batch;
    }
  },
});

test("a trigger that passes over a row stops the window, whatever it was to write", async () => {
  const h = openCopy(
    "CREATE TABLE t(id INTEGER PRIMARY KEY, v TEXT); INSERT INTO t VALUES (1, 'a'), (2, 'b')",
  );
  const writer = h.file.writer();
  const changes = {
    INSERT: { rows: [["3", "c"]] },
    UPDATE: { rows: [["1", "x"]] },
    DELETE: { gone: [["2"], ["9"]] },
  };
  for (const [event, change] of Object.entries(changes)) {
    writer.exec(`CREATE TRIGGER odd BEFORE ${event} ON t BEGIN SELECT RAISE(IGNORE); END`);
    await expect(h.apply({ t: change }), event).rejects.toMatchObject({
      code: "COUNT_MISMATCH",
      where: { table: "t" },
    });
    writer.exec("DROP TRIGGER odd");
    expect(h.all("SELECT * FROM t"), event).toEqual([
      [1, "a"],
      [2, "b"],
    ]);
  }
  for (const change of Object.values(changes)) await h.apply({ t: change });
  expect(h.all("SELECT * FROM t")).toEqual([
    [1, "x"],
    [3, "c"],
  ]);
});

describe("what changes and what stays", () => {
  const SCHEMA = `
    CREATE TABLE t(id INTEGER PRIMARY KEY, at DATETIME, doc JSON, price DECIMAL(10,2), free, name TEXT);
    INSERT INTO t VALUES (1, '2025-01-31 10:00:00', '{"a": 1}', 5, 1.0, 'x'),
                         (2, '2025-01-31T10:00:00Z', '{"a":1,   "b":2}', 5.5, x'00ff', 'y'),
                         (3, '2025-01-31 12:00:00', '[ ]', 7, '1', NULL);`;
  const COLUMNS = { t: { at: { type: "timestamptz" }, doc: { type: "jsonb" } } };
  const ALL = values("t", ["id", "at", "doc", "price", "free", "name"]);

  test("a column that means the same keeps its spelling beside one that changed", async () => {
    const h = openCopy(SCHEMA, COLUMNS);
    const before = h.dump(ALL);
    const row = (id: string, at: string, doc: string, price: string, free: string, name: string | null) => [
      id,
      at,
      doc,
      price,
      free,
      name,
    ];
    await h.apply({
      t: {
        rows: [
          row("1", "2025-01-31 10:00:00+00", '{"a": 1}', "5", "1.0", "x"),
          row("2", "2025-01-31 10:00:00+00", '{"a": 1, "b": 2}', "5.50", '{"$blob": "AP8="}', "new"),
          row("3", "2025-01-31 12:00:00.5+00", "[]", "7.00", '"1"', null),
        ],
      },
    });
    const after = h.dump(ALL);
    expect(after[0]).toBe(before[0]);
    expect(after[1]).toBe(before[1]?.replace("t79", `t${Buffer.from("new").toString("hex")}`));
    expect(h.all("SELECT at, doc, typeof(price), free FROM t WHERE id = 3")).toEqual([
      ["2025-01-31 12:00:00.500", "[ ]", "integer", "1"],
    ]);
  });

  test("every storage class arrives, and the log stays empty", async () => {
    const h = openCopy(
      "CREATE TABLE t(id INTEGER PRIMARY KEY, v, r REAL, n NUMERIC, i INTEGER, s TEXT, b BLOB);",
    );
    const log = h.all("SELECT count(*) FROM _switchback_log");
    const rows = h.encoded("t", [
      [1n, 1, 1, 1n, 9223372036854775807n, "", new Uint8Array(0)],
      [2n, 1n, 0.1 + 0.2, 1.5, -9223372036854775808n, "ä'\n", Buffer.from([0, 255])],
      [3n, -0, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, null, null, null],
      [4n, "1", 5e-324, 9007199254740993n, 0n, "12", Buffer.from("31", "hex")],
      [5n, Buffer.from("31", "hex"), -1e300, null, 1n, "1e3", null],
      [6n, Number.NEGATIVE_INFINITY, 2, 1n, 1n, "x", null],
    ]);
    await h.apply({ t: { rows } });
    const text = values("t", ["id", "v", "r", "n", "i", "s", "b"]);
    const first = h.dump(text);
    expect(h.all("SELECT group_concat(typeof(v)), max(typeof(r)), group_concat(typeof(n)) FROM t")).toEqual([
      ["real,integer,real,text,blob,real", "real", "integer,real,real,integer,null,integer"],
    ]);
    expect(first[2]).toContain("r8000000000000000");
    expect(h.all("SELECT count(*) FROM _switchback_log")).toEqual(log);
    // Only the zero's sign changes.
    await h.apply({
      t: {
        rows: h.encoded("t", [[3n, 0, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, null, null, null]]),
      },
    });
    expect(h.dump(text)[2]).toBe(first[2]?.replace("r8000000000000000", "r0000000000000000"));
  });

  test("a row in which nothing differs is not written", async () => {
    const h = openCopy(SCHEMA, COLUMNS);
    const writer = h.file.writer();
    const others = "SELECT count(*) FROM sqlite_schema";
    writer.exec(
      "CREATE TABLE seen(what); CREATE TRIGGER see AFTER UPDATE ON t BEGIN INSERT INTO seen VALUES (OLD.id); END",
    );
    expect(h.all(others)).not.toEqual([[0]]);
    const same = [["1", "2025-01-31 10:00:00+00", '{"a": 1}', "5.00", "1.0", "x"]];
    await h.apply({ t: { rows: same } });
    expect(h.all("SELECT * FROM seen")).toEqual([]);
    await h.apply({ t: { rows: [[...(same[0] ?? []).slice(0, 5), "z"]] } });
    expect(h.all("SELECT * FROM seen")).toEqual([[1]]);
  });
});

describe("unique values that move", () => {
  const SCHEMA = `
    CREATE TABLE u(k TEXT PRIMARY KEY, a TEXT UNIQUE ON CONFLICT REPLACE, b TEXT COLLATE NOCASE, c INTEGER, d TEXT);
    CREATE UNIQUE INDEX u_b ON u(b);
    CREATE UNIQUE INDEX u_c ON u(c) WHERE d = 'on';
    CREATE UNIQUE INDEX u_d ON u(lower(d) || c);
    INSERT INTO u(rowid, k, a, b, c, d) VALUES
      (10, 'p', 'a1', 'B1', 1, 'on'), (20, 'q', 'a2', 'B2', 2, 'on'), (30, 'r', 'a3', 'B3', 3, 'on'),
      (40, 's', 'a4', 'B4', 3, 'off');`;
  const ROWS = "SELECT rowid, k, a, b, c, d FROM u ORDER BY k";

  test("swaps, rotations and shifts in every kind of unique index keep the rowids", async () => {
    const h = openCopy(SCHEMA);
    await h.apply({
      u: {
        rows: [
          ["p", "a2", "b2", "2", "on"],
          ["q", "a3", "b3", "3", "on"],
          ["r", "a1", "B1", "1", "on"],
          ["s", "a4", "B4", "2", "off"],
        ],
      },
    });
    expect(h.all(ROWS)).toEqual([
      [10, "p", "a2", "b2", 2, "on"],
      [20, "q", "a3", "b3", 3, "on"],
      [30, "r", "a1", "B1", 1, "on"],
      [40, "s", "a4", "B4", 2, "off"],
    ]);
    // A new row takes the place of one that moves later, and of one that is gone; a chain moves up.
    await h.apply({
      u: {
        gone: [["s"]],
        rows: [
          ["n", "a2", "B4", "9", "x"],
          ["p", "a3", "b3", "3", "on"],
          ["q", "a1", "b2", "2", "on"],
          ["r", "a9", "B1", "1", "off"],
        ],
      },
    });
    expect(h.all(ROWS)).toEqual([
      [31, "n", "a2", "B4", 9, "x"],
      [10, "p", "a3", "b3", 3, "on"],
      [20, "q", "a1", "b2", 2, "on"],
      [30, "r", "a9", "B1", 1, "off"],
    ]);
    expect(h.all("SELECT count(*) FROM _switchback_quarantine")).toEqual([[0]]);
  });

  test("a new row that waits does not take the rowid of one that comes back", async () => {
    const h = openCopy(`
      CREATE TABLE t(k TEXT PRIMARY KEY, v INTEGER UNIQUE);
      INSERT INTO t(rowid, k, v) VALUES (19, 'a', 1), (20, 'b', 2);`);
    const { refused } = await h.apply({
      t: {
        rows: [
          ["n", "2"],
          ["b", "1"],
          ["a", "3"],
        ],
      },
    });
    expect(refused).toEqual([]);
    expect(h.all("SELECT rowid, k, v FROM t ORDER BY k")).toEqual([
      [19, "a", 3],
      [20, "b", 1],
      [21, "n", 2],
    ]);
  });

  test("a long rotation waits in a temporary table", async () => {
    const h = openCopy("CREATE TABLE t(id INTEGER PRIMARY KEY, v INTEGER UNIQUE)");
    const count = 30_000;
    const row = (id: number, v: number) => [String(id), String(v)];
    const ids = Array.from({ length: count }, (_, i) => i);
    await h.apply({ t: { rows: ids.map((i) => row(i, i)) } });
    const started = performance.now();
    await h.apply({ t: { rows: ids.map((i) => row(i, (i + 1) % count)) } });
    console.log(`a rotation of ${count} rows took ${Math.round(performance.now() - started)} ms`);
    expect(h.all(`SELECT count(*), sum(v = (id + 1) % ${count}) FROM t`)).toEqual([[count, count]]);
  });

  test("the older version of a row in quarantine gives way; a value held by a sound row does not move", async () => {
    const h = openCopy(
      "CREATE TABLE t(id INTEGER PRIMARY KEY, v TEXT COLLATE NOCASE UNIQUE, n INTEGER CHECK (n < 10)); INSERT INTO t VALUES (1, 'a', 1), (2, 'b', 2), (3, 'c', 3)",
    );
    const first = await h.apply({
      t: {
        rows: [
          ["1", "z", "99"],
          ["2", "a", "2"],
          ["4", "C", "4"],
        ],
      },
    });
    expect(first.refused.map(({ key, column }) => [key, column])).toEqual([
      ["[1]", null],
      ["[4]", "v"],
    ]);
    expect(h.all("SELECT * FROM t")).toEqual([
      [2, "a", 2],
      [3, "c", 3],
    ]);
    const second = await h.apply({
      t: {
        rows: [
          ["1", "z", "9"],
          ["3", "d", "3"],
          ["4", "C", "4"],
        ],
      },
    });
    expect([second.refused, [...second.released]]).toEqual([[], [["t", 2]]]);
    expect(h.all("SELECT * FROM t ORDER BY id")).toEqual([
      [1, "z", 9],
      [2, "a", 2],
      [3, "d", 3],
      [4, "C", 4],
    ]);
  });

  test("a chain of refusals keeps the older versions where it can", async () => {
    const h = openCopy(
      "CREATE TABLE t(id INTEGER PRIMARY KEY, v TEXT COLLATE NOCASE UNIQUE); INSERT INTO t VALUES (1, 'a'), (2, 'b'), (3, 'c')",
    );
    // 3 wants what only differs in case from 9, which is new; 2 wants 3's; 1 wants 2's.
    const { refused } = await h.apply({
      t: {
        rows: [
          ["9", "x"],
          ["1", "b"],
          ["2", "c"],
          ["3", "X"],
        ],
      },
    });
    expect(refused.map(({ key }) => key)).toEqual(["[3]"]);
    expect(h.all("SELECT * FROM t ORDER BY id")).toEqual([
      [1, "b"],
      [2, "c"],
      [9, "x"],
    ]);
  });
});

describe("keys", () => {
  test("NOCASE keys are told apart byte for byte, also where only the index ignores case", async () => {
    const h = openCopy(`
      CREATE TABLE a(k TEXT COLLATE NOCASE PRIMARY KEY, v);
      CREATE TABLE b(k TEXT, v, PRIMARY KEY (k COLLATE NOCASE));
      INSERT INTO a VALUES ('Bob', 1); INSERT INTO b VALUES ('Bob', 1);`);
    await h.apply({ a: { gone: [["bob"]], rows: [] }, b: { gone: [["BOB"]] } });
    expect(h.all("SELECT * FROM a UNION ALL SELECT * FROM b")).toEqual([
      ["Bob", 1],
      ["Bob", 1],
    ]);
    const change = { gone: [["Bob"]], rows: [["bob", "2"]] };
    await h.apply({ a: change, b: change });
    expect(h.all("SELECT * FROM a UNION ALL SELECT * FROM b")).toEqual([
      ["bob", 2],
      ["bob", 2],
    ]);
  });

  test("keys without affinity: 1, '1' and x'31' are three", async () => {
    const h = openCopy(
      "CREATE TABLE t(k PRIMARY KEY NOT NULL, v TEXT); INSERT INTO t VALUES (1, 'i'), ('1', 't'), (x'31', 'b')",
    );
    await h.apply({
      t: {
        gone: [['"1"']],
        rows: [
          ["1", "I"],
          ['{"$blob": "MQ=="}', "B"],
        ],
      },
    });
    expect(h.all("SELECT typeof(k), v FROM t ORDER BY k")).toEqual([
      ["integer", "I"],
      ["blob", "B"],
    ]);
    // As a key 1.0 is the very row, in another class.
    await h.apply({ t: { rows: [["1.0", "I"]] } });
    expect(h.all("SELECT typeof(k), v FROM t ORDER BY k")).toEqual([
      ["real", "I"],
      ["blob", "B"],
    ]);
  });

  test("composite keys, WITHOUT ROWID, rowids, and a key that changed", async () => {
    const h = openCopy(`
      CREATE TABLE c(a TEXT, b INTEGER, v TEXT, PRIMARY KEY (b, a));
      CREATE TABLE w(a TEXT COLLATE NOCASE, b REAL, v TEXT UNIQUE, PRIMARY KEY (b DESC, a)) WITHOUT ROWID;
      CREATE TABLE "r o"(rowid TEXT, v TEXT UNIQUE);
      INSERT INTO c VALUES ('x', 1, 'one'), ('y', 1, 'two');
      INSERT INTO w VALUES ('x', 1.5, 'one'), ('X', 2, 'two');
      INSERT INTO "r o"(_rowid_, rowid, v) VALUES (7, 'a', 'one'), (9, 'b', 'two');`);
    await h.apply({
      c: {
        gone: [["1", "x"]],
        rows: [
          ["x", "2", "one"],
          ["y", "1", null],
        ],
      },
      w: {
        rows: [
          ["x", "1.5", "two"],
          ["X", "2", "one"],
        ],
      },
      "r o": {
        gone: [["11"]],
        rows: [
          ["a", "two", "7"],
          ["b", "one", "9"],
          ["n", "three", "40"],
        ],
      },
    });
    expect(h.all("SELECT * FROM c ORDER BY a")).toEqual([
      ["x", 2, "one"],
      ["y", 1, null],
    ]);
    expect(h.all("SELECT * FROM w ORDER BY b")).toEqual([
      ["x", 1.5, "two"],
      ["X", 2, "one"],
    ]);
    expect(h.all('SELECT _rowid_, rowid, v FROM "r o" ORDER BY 1')).toEqual([
      [7, "a", "two"],
      [9, "b", "one"],
      [40, "n", "three"],
    ]);
    await h.apply({
      "r o": { gone: [["7"]] },
      w: {
        gone: [
          ["2", "X"],
          ["1.5", "X"],
        ],
      },
    });
    expect(h.all('SELECT (SELECT count(*) FROM "r o"), (SELECT group_concat(a) FROM w)')).toEqual([[2, "x"]]);
  });

  test("rows keep their hidden rowid, and children of a deleted row stay", async () => {
    const h = openCopy(`
      CREATE TABLE p(k TEXT PRIMARY KEY, v TEXT);
      CREATE TABLE child(id INTEGER PRIMARY KEY, p TEXT REFERENCES p ON DELETE CASCADE ON UPDATE CASCADE);
      INSERT INTO p(rowid, k, v) VALUES (5, 'a', 'x'), (6, 'b', 'y'); INSERT INTO child VALUES (1, 'a'), (2, 'b');`);
    await h.apply({ p: { gone: [["a"]], rows: [["b", "z"]] } });
    expect(h.all("SELECT rowid, * FROM p")).toEqual([[6, "b", "z"]]);
    expect(h.all("SELECT * FROM child")).toEqual([
      [1, "a"],
      [2, "b"],
    ]);
  });
});

test("columns that SQLite computes are not written, and must come out as PostgreSQL holds them", async () => {
  const h = openCopy(`
    CREATE TABLE g(id INTEGER PRIMARY KEY, a INTEGER, v TEXT AS (printf('%03d', a)) VIRTUAL, s TEXT AS (hex(a)) STORED UNIQUE);
    INSERT INTO g(id, a) VALUES (1, 1), (2, 2);`);
  const names = h.mapping("g").columns.map(({ column }) => column);
  expect(names).toContain("s");
  const row = (id: string, a: string, v: string, s: string) =>
    names.map((name) => ({ id, a, v, s })[name ?? ""] ?? null);
  const { refused } = await h.apply({
    g: {
      rows: [
        row("1", "2", "002", "32"),
        row("2", "1", "001", "31"),
        row("3", "7", "007", "99"),
        row("4", "8", "008", "38"),
      ],
    },
  });
  expect(refused.map(({ key, column }) => [key, column])).toEqual([["[3]", "s"]]);
  expect(h.all("SELECT id, a, v, s FROM g")).toEqual([
    [1, 2, "002", "32"],
    [2, 1, "001", "31"],
    [4, 8, "008", "38"],
  ]);
});

describe("quarantine", () => {
  test("each kind of row that SQLite cannot hold is named, the others pass, and it releases by itself", async () => {
    const h = openCopy(
      `
      CREATE TABLE q(id INTEGER PRIMARY KEY, n INTEGER NOT NULL, c INTEGER CONSTRAINT small CHECK (c < 10), m NUMERIC, at DATETIME);
      CREATE TABLE s(id INTEGER PRIMARY KEY, v TEXT) STRICT;
      CREATE TABLE i(k INTEGER PRIMARY KEY, v INTEGER);
      INSERT INTO q VALUES (1, 1, 1, 1, '2025-01-31 10:00:00');`,
      { q: { at: { type: "timestamptz" } }, s: { v: { type: "bytea" } }, i: { k: { type: "text" } } },
    );
    const at = "2025-01-31 10:00:00+00";
    const first = await h.apply({
      q: {
        rows: [
          ["1", "1", "1", "0.1234567890123456789", at],
          ["2", "2", "20", "2", at],
          ["3", null, "3", "3", at],
          ["4", "4", "4", "4", "infinity"],
          ["5", "5", "5", "5", at],
          ["99999999999999999999", "6", "6", "6", at],
        ],
      },
      s: { rows: [["1", "\\x00"]] },
      i: { rows: [["word", "1"]] },
    });
    expect(first.refused.map(({ table, key, column }) => [table, key, column])).toEqual([
      ["q", "[1]", "m"],
      ["q", "[2]", null],
      ["q", "[3]", "n"],
      ["q", "[4]", "at"],
      ["q", '["99999999999999999999"]', "id"],
      ["s", "[1]", "v"],
      ["i", '["word"]', null],
    ]);
    expect(h.all("SELECT id, m FROM q")).toEqual([
      [1, 1],
      [5, 5],
    ]);
    expect(h.all("SELECT table_name, key, column_name, reason FROM _switchback_quarantine")).toEqual(
      first.refused.map(({ table, key, column, reason }) => [table, key, column, reason]),
    );
    expect(first.refused.every(({ reason }) => reason.length > 10)).toBe(true);
    expect([...h.target.quarantined()]).toEqual([
      ["i", 1],
      ["q", 5],
      ["s", 1],
    ]);
    const second = await h.apply({
      q: {
        gone: [["2"], ["99999999999999999999"]],
        rows: [
          ["3", "3", "3", "3", at],
          ["4", "4", "40", "4", at],
        ],
      },
      i: { part: { touched: ['["word"]'] } },
    });
    expect([...second.released]).toEqual([
      ["q", 4],
      ["i", 1],
    ]);
    expect(second.refused.map(({ key }) => key)).toEqual(["[4]"]);
    expect(h.all("SELECT key FROM _switchback_quarantine WHERE table_name = 'q' ORDER BY 1")).toEqual([
      ["[1]"],
      ["[4]"],
    ]);
  });

  test("a row that the source refused is recorded as well, once", async () => {
    const h = openCopy("CREATE TABLE t(id INTEGER PRIMARY KEY, v TEXT)");
    const refused = { table: "t", key: "[1]", column: "v", reason: "too large for one value" };
    await h.apply({ t: { part: { refused: [refused] } } });
    const again = await h.apply({ t: { part: { refused: [refused] } } });
    expect([again.refused, [...again.released]]).toEqual([[refused], [["t", 1]]]);
    expect(h.all("SELECT * FROM _switchback_quarantine")).toEqual([["t", "[1]", "v", refused.reason]]);
  });
});

describe("transactions", () => {
  test("an owner that lost its place changes nothing", async () => {
    const h = openCopy("CREATE TABLE t(id INTEGER PRIMARY KEY, v TEXT)");
    await h.apply({ t: { rows: [["1", "a"]] } });
    const other = new SqliteTarget("app", h.file.path, "other", h.mappings);
    expect(other.claim()).toBe(1);
    const error = await h.apply({ t: { rows: [["2", "b"]] } }).catch((e: unknown) => e);
    expect(error).toBeInstanceOf(SwitchbackError);
    expect((error as SwitchbackError).code).toBe("POSITION_CONFLICT");
    expect(h.all("SELECT * FROM t")).toEqual([[1, "a"]]);
    await other.apply(h.window({ t: { rows: [["3", "c"]] } }));
    other.close();
    expect(h.all("SELECT position, owner FROM _switchback_position")).toEqual([[2, "other"]]);
    expect(h.all("SELECT count(*) FROM t")).toEqual([[2]]);
  });

  test("batches are one transaction; a failure between two of them leaves everything as it was", async () => {
    const h = openCopy(
      "CREATE TABLE t(id INTEGER PRIMARY KEY, v TEXT UNIQUE); INSERT INTO t VALUES (1, 'a'), (2, 'b')",
    );
    const reader = h.file.writer();
    const seen: unknown[] = [];
    const watched = {
      kind: "batches" as const,
      async *batches() {
        yield [["1", "b"]];
        seen.push(reader.prepare("SELECT group_concat(v) FROM t").pluck().get());
        yield [
          ["2", "a"],
          ["3", "c"],
        ];
        seen.push(reader.prepare("SELECT group_concat(v) FROM t").pluck().get());
      },
    };
    const failing = {
      kind: "batches" as const,
      async *batches() {
        yield* watched.batches();
        throw new Error("the source went away");
      },
    };
    await expect(h.apply({ t: { part: { rows: failing } } })).rejects.toThrow("the source went away");
    expect(h.all("SELECT * FROM t")).toEqual([
      [1, "a"],
      [2, "b"],
    ]);
    expect(h.all("SELECT position FROM _switchback_position")).toEqual([[0]]);
    await h.apply({ t: { part: { rows: watched, gone: batches([["7"]], [["8"]]) } } });
    expect(seen).toEqual(["a,b", "a,b", "a,b", "a,b"]);
    expect(h.all("SELECT * FROM t")).toEqual([
      [1, "b"],
      [2, "a"],
      [3, "c"],
    ]);
    expect(h.all("SELECT count(*) FROM _switchback_applying")).toEqual([[0]]);
  });

  test("rows as CSV, in chunks that break anywhere", async () => {
    const h = openCopy("CREATE TABLE t(id INTEGER PRIMARY KEY, v TEXT)");
    const csv = Buffer.from('"1","say ""ä"",\nagain"\n"2",\n"3",""\n');
    for (const size of [1, 3, 7, 100]) {
      const rows = {
        kind: "csv" as const,
        rows: 3,
        async *chunks() {
          for (let i = 0; i < csv.length; i += size) yield csv.subarray(i, i + size);
        },
      };
      await h.apply({ t: { gone: [["1"], ["2"], ["3"]], part: { rows } } });
      expect(h.all("SELECT * FROM t")).toEqual([
        [1, 'say "ä",\nagain'],
        [2, null],
        [3, ""],
      ]);
    }
  });

  test("the fence refuses the application's writes, whatever their conflict policy", async () => {
    const h = openCopy(
      "CREATE TABLE t(id INTEGER PRIMARY KEY, v TEXT UNIQUE); INSERT INTO t VALUES (1, 'a')",
    );
    await h.apply({ t: { rows: [["2", "b"]] } });
    const script = `
import sqlite3, sys
db = sqlite3.connect(sys.argv[1])
for text in ["INSERT INTO t VALUES (9, 'x')", "INSERT OR IGNORE INTO t VALUES (9, 'x')", "INSERT OR REPLACE INTO t VALUES (9, 'b')",
             "REPLACE INTO t VALUES (1, 'z')", "UPDATE OR IGNORE t SET v = 'q'", "DELETE FROM t"]:
    try:
        db.execute(text); print("passed", text)
    except sqlite3.IntegrityError as e: print(e)
db.rollback()`;
    const said = pythonNow(script, [h.file.path]).trim().split("\n");
    expect(said).toEqual(Array(6).fill("switchback: writes have moved to PostgreSQL (epoch 1)"));
    expect(h.all("SELECT * FROM t")).toEqual([
      [1, "a"],
      [2, "b"],
    ]);
    expect(h.all("SELECT count(*) FROM _switchback_log")).toEqual([[0]]);
  });

  test("a reader of a rollback-journal file holds up the commit and no more", async () => {
    const h = openCopy(
      "CREATE TABLE t(id INTEGER PRIMARY KEY, v TEXT); INSERT INTO t VALUES (1, 'a')",
      {},
      "delete",
    );
    const reader = python(
      `
import sqlite3, sys, time
db = sqlite3.connect(sys.argv[1], isolation_level=None)
db.execute("BEGIN"); before = db.execute("SELECT group_concat(v) FROM t").fetchone()
print("reading"); time.sleep(1)
print(before == db.execute("SELECT group_concat(v) FROM t").fetchone()); db.execute("COMMIT")
time.sleep(0.5); print(db.execute("SELECT group_concat(v) FROM t").fetchone()[0])`,
      [h.file.path],
    );
    expect(await reader.line()).toBe("reading");
    const started = performance.now();
    let turns = 0;
    const ticking = setInterval(() => turns++, 20);
    await h.apply({
      t: {
        rows: [
          ["1", "b"],
          ["2", "c"],
        ],
      },
    });
    clearInterval(ticking);
    expect(performance.now() - started).toBeGreaterThan(500);
    expect(turns).toBeGreaterThan(1);
    expect(await reader.finish()).toEqual(["reading", "True", "b,c"]);
  });

  test("a writer that never ends is reported after a while, and nothing is half done", async () => {
    const h = openCopy("CREATE TABLE t(id INTEGER PRIMARY KEY, v TEXT)");
    const writer = h.file.writer();
    writer.exec("BEGIN IMMEDIATE");
    const error = await h.apply({ t: { rows: [["1", "b"]] } }).catch((e: unknown) => e);
    expect((error as SwitchbackError).code).toBe("SQLITE_BUSY");
    writer.exec("COMMIT");
    await h.apply({ t: { rows: [["1", "b"]] } });
    expect(h.all("SELECT * FROM t")).toEqual([[1, "b"]]);
  });

  test("a file without our tables, made by python, is not taken over", () => {
    const file = testFile("");
    pythonNow("import sqlite3, sys\nsqlite3.connect(sys.argv[1]).execute('CREATE TABLE t(a)')", [file.path]);
    const db = new Database(file.path);
    db.exec("CREATE TABLE _switchback_position (position INTEGER NOT NULL, owner TEXT)");
    db.close();
    const target = new SqliteTarget("app", file.path, "me", []);
    expect(() => target.claim()).toThrow("no record of a position");
    target.close();
    file.remove();
  });
});

describe("two keys of PostgreSQL's that are one to SQLite", () => {
  const SCHEMA =
    "CREATE TABLE t(k PRIMARY KEY, v); CREATE TABLE w(a, b, v, PRIMARY KEY (a, b)) WITHOUT ROWID; INSERT INTO t VALUES (0, 1); INSERT INTO w VALUES (0, 1, 1)";
  const NEGATIVE = '{"$real": "-0.0"}';
  const keys = (h: SqliteCopy) => h.dump(values("t", ["k", "v"]));
  const named = (h: SqliteCopy) => h.all("SELECT key FROM _switchback_quarantine ORDER BY key").flat();
  const MINUS = "r8000000000000000";

  test("a key that changed to the other zero, or to the other class, is exact", async () => {
    const h = openCopy(SCHEMA);
    await h.apply({
      t: { rows: [[NEGATIVE, "1"]], gone: [["0"]] },
      w: { rows: [[NEGATIVE, "1.0", "1"]], gone: [["0", "1"]] },
    });
    expect(keys(h)).toEqual([`${MINUS} i1`]);
    expect(h.dump(values("w", ["a", "b"]))).toEqual([`${MINUS} r3ff0000000000000`]);
    await h.apply({ t: { rows: [["0.0", "1"]], gone: [[NEGATIVE]] } });
    expect(keys(h)).toEqual(["r0000000000000000 i1"]);
    await h.apply({ t: { rows: [["0", "1"]] } });
    expect(keys(h)).toEqual(["i0 i1"]);
    expect(named(h)).toEqual([]);
  });

  test("the second row is quarantined by name, and the first one stays as it is", async () => {
    const h = openCopy(SCHEMA);
    const { refused } = await h.apply({
      t: { rows: [[NEGATIVE, "2"]] },
      w: { rows: [[NEGATIVE, "1", "2"]] },
    });
    expect(refused.map(({ table, key }) => `${table}${key}`)).toEqual(["t[-0.0]", "w[-0.0,1]"]);
    await h.apply({ t: { rows: [["0.0", "3"]] } });
    expect(keys(h)).toEqual(["r0000000000000000 i3"]);
    expect(named(h)).toEqual(["[-0.0,1]", "[-0.0]"]);
    await h.apply({ t: { gone: [[NEGATIVE]] }, w: { gone: [[NEGATIVE, "1"]] } });
    expect(keys(h)).toEqual(["r0000000000000000 i3"]);
    expect(h.all("SELECT a, b, v FROM w")).toEqual([[0, 1, 1]]);
    expect(named(h)).toEqual([]);
  });

  test("the second row takes the place of the first once that is gone", async () => {
    const h = openCopy(SCHEMA);
    await h.apply({ t: { rows: [[NEGATIVE, "2"]] } });
    await h.apply({ t: { rows: [[NEGATIVE, "2"]], gone: [["0"]] } });
    expect(keys(h)).toEqual([`${MINUS} i2`]);
    expect(named(h)).toEqual([]);
  });
});
