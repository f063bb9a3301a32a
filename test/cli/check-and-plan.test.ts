// `check` and `plan` as an operator runs them, on files made by Python's sqlite3: what they find, how it reads, and
// what they exit with. `plan` and `check` accept the configuration that `plan` writes.
import { execFileSync } from "node:child_process";
import { copyFileSync, existsSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { parse } from "yaml";
import { command } from "../support/cli.js";
import { temporaryFolder } from "../support/scratch.js";
import { type TestDatabase, testDatabase } from "../support/servers.js";

const { folder, remove } = temporaryFolder();
let database: TestDatabase;
beforeAll(async () => {
  database = await testDatabase();
});
afterAll(async () => {
  await database.drop();
  remove();
});

/** A file that Python's sqlite3 made. */
function made(name: string, sql: string): string {
  const file = join(folder, name);
  const program =
    "import sqlite3, sys; c = sqlite3.connect(sys.argv[1]); c.executescript(sys.stdin.read()); c.commit()";
  execFileSync("python3", ["-c", program, file], { input: sql });
  return file;
}

const SOUND = `
  PRAGMA journal_mode = WAL;
  CREATE TABLE users (id TEXT PRIMARY KEY, email TEXT NOT NULL UNIQUE, created_at DATETIME, profile TEXT, active INTEGER);
  CREATE TABLE orders (id INTEGER PRIMARY KEY, user_id TEXT REFERENCES users(id), total DECIMAL(10,2), note);
  INSERT INTO users VALUES ('123e4567-e89b-12d3-a456-426614174000', 'a@x.org', '2025-01-31 10:00:00', '{"a": 1}', 1),
    ('123e4567-e89b-12d3-a456-426614174001', 'b@x.org', '2025-01-31 11:00:00', '[]', 0);
  INSERT INTO orders VALUES (1, '123e4567-e89b-12d3-a456-426614174000', 9.99, 'text'), (2, NULL, 5, 7);`;

const ODD = `
  CREATE TABLE p (id INTEGER PRIMARY KEY);
  CREATE TABLE t (id INTEGER PRIMARY KEY, n INTEGER, s TEXT, v VARCHAR(3), b BLOB, p INTEGER REFERENCES p(id), flag BOOLEAN);
  INSERT INTO t VALUES (1, 5, 'fine', 'abc', x'00', NULL, 1), (2, 'five', 'fine', 'abc', x'00', 9, 2),
    (3, 1.5, 'nul' || char(0) || 'inside', 'abc', 'text', 8, 0), (4, 6, CAST(x'61ff' AS TEXT), 'abcd', NULL, NULL, 0),
    (5, 7, 'Grüße', '€€€', NULL, NULL, NULL);
  CREATE VIEW w AS SELECT * FROM t;`;

interface Found {
  readonly severity: string;
  readonly code: string;
  readonly table?: string;
  readonly column?: string;
  readonly key?: string;
  readonly message: string;
  readonly remedy: string;
}

async function checked(
  ...args: string[]
): Promise<{ code: number | null; findings: Found[]; of: (code: string) => Found[] }> {
  const { code, stdout, stderr } = await command(["check", "--json", ...args]);
  expect(stdout, stderr).not.toBe("");
  const findings = (JSON.parse(stdout) as { findings: Found[] }).findings;
  return { code, findings, of: (wanted) => findings.filter((finding) => finding.code === wanted) };
}

describe("check", () => {
  test("a sound file and an empty target: nothing to say", async () => {
    const file = made("sound.db", SOUND);
    const { code, findings } = await checked("--sqlite", file, "--postgres", database.url);
    // The one thing to know is about migrations: users has a UNIQUE beyond its key.
    expect(findings.map((finding) => finding.code)).toEqual(["legacy-rename"]);
    expect(code).toBe(0);
    const text = await command(["check", "--sqlite", file, "--postgres", database.url]);
    expect(text.stdout).toContain("sound: 2 tables, 0 blockers, 0 warnings");
    expect(
      await database.query("SELECT 1 FROM pg_tables WHERE schemaname IN ('public', 'switchback')"),
    ).toEqual([]);
  });

  test("without PostgreSQL it says so, and continues", async () => {
    const { code, of } = await checked("--sqlite", made("alone.db", SOUND));
    expect(of("no-target")).toHaveLength(1);
    expect(code).toBe(0);
  });

  test("every value that would put its row into quarantine is counted for its column, and named", async () => {
    const file = made("odd.db", ODD);
    const { code, of } = await checked("--sqlite", file);
    expect(code).toBe(1);
    const refused = of("quarantine").map(({ column, key, message }) => [column, key, message.split(" ")[0]]);
    expect(refused).toEqual([
      ["n", "[2]", "2"],
      ["s", "[3]", "2"],
      ["b", "[3]", "1"],
    ]);
    expect(of("quarantine").every((f) => f.severity === "blocker" && f.remedy !== "")).toBe(true);
    expect(of("declared-type-refuted")).toMatchObject([{ table: "t", column: "flag" }]);
    expect(of("orphans")).toMatchObject([
      { table: "t", key: "[2]", message: expect.stringContaining("2 rows") },
    ]);
    expect(of("journal-mode")).toMatchObject([{ severity: "warning" }]);
    expect(of("view")).toMatchObject([{ table: "w" }]);
  });

  test("lengths count in characters, not bytes", async () => {
    const file = made("lengths.db", ODD);
    const config = join(folder, "lengths.yaml");
    writeFileSync(config, JSON.stringify({ sources: [{ sqlite: file, lengths: "keep" }] }));
    const { of } = await checked("--config", config);
    const long = of("quarantine").filter((finding) => finding.column === "v" || finding.column === "s");
    expect(long.map(({ column, key }) => [column, key])).toEqual([
      ["s", "[3]"],
      ["v", "[4]"],
    ]);
  });

  test("a target that is in the way", async () => {
    const file = made("way.db", "CREATE TABLE crowded (id INTEGER PRIMARY KEY, v TEXT);");
    await database.query("CREATE TABLE crowded (id bigint PRIMARY KEY, v text)");
    await database.query("INSERT INTO crowded VALUES (1, 'x')");
    const { code, findings } = await checked("--sqlite", file, "--postgres", database.url);
    await database.query("DROP TABLE crowded");
    expect(code).toBe(1);
    expect(findings).toContainEqual(expect.objectContaining({ severity: "blocker", table: "crowded" }));
  });

  test("a file under a writer, many rows: the stretches miss nothing", async () => {
    const file = made(
      "long.db",
      `CREATE TABLE t (id INTEGER PRIMARY KEY, v INTEGER);
       WITH RECURSIVE s(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < 60000) INSERT INTO t SELECT n * 3, n FROM s;
       UPDATE t SET v = 'x' WHERE id IN (3, 60000, 60003, 120000, 180000);
       INSERT INTO t VALUES (-9223372036854775808, 'x'), (9223372036854775807, 'x');`,
    );
    const { of } = await checked("--sqlite", file);
    expect(of("quarantine")).toMatchObject([
      { key: "[-9223372036854775808]", message: expect.stringContaining("7 rows") },
    ]);
  });

  test("the file stays as it was, to the byte", async () => {
    const file = made("untouched.db", ODD);
    const copy = join(folder, "untouched-copy.db");
    copyFileSync(file, copy);
    await checked("--sqlite", file);
    await command(["plan", "--sqlite", file]);
    expect(readFileSync(file).equals(readFileSync(copy))).toBe(true);
    expect(existsSync(`${file}-journal`)).toBe(false);
  });

  test.each([
    ["absent.db", null, 2, /no SQLite file/],
    ["empty-folder", "folder", 2, /plain file/],
    [
      "text.db",
      "this is not a database, but it is long enough to look like one ".repeat(40),
      2,
      /not a database/,
    ],
  ])("%s", async (name, content, code, says) => {
    const file = join(folder, name);
    if (content === "folder") execFileSync("mkdir", [file]);
    else if (content !== null) writeFileSync(file, content);
    const result = await command(["check", "--sqlite", file]);
    expect(result.stderr).toMatch(says);
    expect(result.code).toBe(code);
  });

  test("a file cut short is corrupt", async () => {
    const file = made("cut.db", `${ODD} CREATE TABLE wide (v); INSERT INTO wide SELECT zeroblob(100000);`);
    const bytes = readFileSync(file);
    writeFileSync(file, bytes.subarray(0, 4096));
    const result = await command(["check", "--sqlite", file]);
    expect(result.stderr).toMatch(/malformed|corrupt/i);
    expect(result.code).toBe(3);
  });
});

describe("plan", () => {
  test("prints the mapping with its evidence, the suggestions and the DDL", async () => {
    const { code, stdout } = await command(["plan", "--sqlite", made("plan.db", SOUND)]);
    expect(code).toBe(0);
    expect(stdout).toMatch(/users → users {3}2 rows, key \(id\)/);
    expect(stdout).toMatch(
      /created_at +DATETIME +timestamptz +declared DATETIME, and every value is text like YYYY-MM-DD HH:MM:SS/,
    );
    expect(stdout).toMatch(/note +- +any +declared without a type/);
    expect(stdout).toMatch(/\? id: uuid would do, all 2 values are UUIDs/);
    expect(stdout).toContain('CREATE TABLE "public"."users"');
  });

  test("--sql runs as it is", async () => {
    const { stdout } = await command(["plan", "--sql", "--suggest", "--sqlite", made("sql.db", SOUND)]);
    const scratch = await testDatabase(15);
    await scratch.query(stdout);
    const rows = await scratch.query(
      "SELECT column_name || ' ' || data_type AS c FROM information_schema.columns WHERE table_name = 'users' ORDER BY ordinal_position",
    );
    await scratch.drop();
    expect(rows.map((row) => row.c)).toEqual([
      "id uuid",
      "email text",
      "created_at timestamp with time zone",
      "profile jsonb",
      "active boolean",
    ]);
  });

  test.each([[[]], [["--suggest"]]])(
    "--write %j leaves a configuration that says the same again",
    async (extra) => {
      const file = made(`write${extra.length}.db`, SOUND);
      const config = join(folder, `switchback${extra.length}.yaml`);
      const first = await command(["plan", "--json", "--write", config, ...extra, "--sqlite", file]);
      expect(first.code, first.stderr).toBe(0);
      // It may hold the password of the database.
      expect(statSync(config).mode & 0o777).toBe(0o600);
      if (extra.length > 0) expect(first.stdout).toContain('"why":"suggested: all 2 values are UUIDs"');
      const again = await command(["plan", "--json", "--config", config]);
      expect(again.code, again.stderr).toBe(0);
      const types = (stdout: string) =>
        (
          JSON.parse(stdout) as { sources: { ddl: string; tables: { columns: { type: string }[] }[] }[] }
        ).sources.map((source) => [
          source.ddl,
          source.tables.map((table) => table.columns.map((column) => column.type)),
        ]);
      expect(types(again.stdout)).toEqual(types(first.stdout));
      const written = parse(readFileSync(config, "utf8")) as {
        sources: { tables: Record<string, unknown> }[];
      };
      expect(Object.keys(written.sources[0]?.tables ?? {})).toEqual(["orders", "users"]);
      expect(readFileSync(config, "utf8")).toContain("sqlite: ./write");
      if (extra.length > 0) expect(readFileSync(config, "utf8")).toContain("type: uuid");
    },
  );

  test("a route file that can never be written is found beforehand", async () => {
    const file = made("route.db", SOUND);
    const route = join(file, "below", "a-file.json");
    const { code, stdout } = await command(["check", "--json", "--sqlite", file], {
      env: { SWITCHBACK_ROUTE: route },
    });
    expect([code, JSON.parse(stdout).findings]).toEqual([
      0,
      expect.arrayContaining([expect.objectContaining({ code: "route-folder", severity: "warning" })]),
    ]);
    const fine = join(folder, "not", "yet", "there", "route.json");
    expect(
      (await command(["check", "--json", "--sqlite", file], { env: { SWITCHBACK_ROUTE: fine } })).stdout,
    ).not.toContain("route-folder");
  });

  test("--write keeps the rest of a configuration, and never runs over another file", async () => {
    const file = made("keep.db", SOUND);
    const config = join(folder, "keep.yaml");
    writeFileSync(config, "# mine\nsources: [{ sqlite: ./keep.db, name: kept }]\nflag: ./the-flag # here\n");
    expect((await command(["plan", "--config", config, "--write", config])).code).toBe(0);
    const text = readFileSync(config, "utf8");
    expect(text).toContain("# mine");
    expect(text).toContain("flag: ./the-flag # here");
    expect(text).toContain("name: kept");
    const before = statSync(file).size;
    const refused = await command(["plan", "--sqlite", file, "--write", file]);
    expect(refused.code).toBe(2);
    expect(statSync(file).size).toBe(before);
    const nowhere = await command([
      "plan",
      "--sqlite",
      file,
      "--write",
      join(folder, "no-such-folder", "a.yaml"),
    ]);
    expect([nowhere.code, nowhere.stderr]).toEqual([
      2,
      expect.stringMatching(/a\.yaml cannot be written: ENOENT/),
    ]);
  });

  test("unknown tables and columns", async () => {
    const config = join(folder, "unknown.yaml");
    const tables = { userz: {}, orders: { columns: { totl: { type: "numeric" } } } };
    writeFileSync(config, JSON.stringify({ sources: [{ sqlite: made("unknown.db", SOUND), tables }] }));
    const { code, stderr } = await command(["plan", "--config", config]);
    expect(code).toBe(2);
    expect(stderr).toMatch(/userz.*orders, users/);
    expect(stderr).toMatch(/totl.*total/);
    writeFileSync(config, JSON.stringify({ sources: [{ sqlite: made("bare.db", ""), tables: { t: {} } }] }));
    expect((await command(["plan", "--config", config])).stderr).toContain("no table t; the file has none");
  });
});
