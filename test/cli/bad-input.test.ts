// Bad input of every kind gets one clear line and the right exit code: no stack, no password, nothing installed.
import { randomBytes } from "node:crypto";
import { chmodSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { userInfo } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { cli, command, type Result } from "../support/cli.js";
import { temporaryFolder } from "../support/scratch.js";
import { type TestDatabase, testDatabase } from "../support/servers.js";
import { type TestFile, testFile } from "../support/sqlite.js";

const { folder, remove } = temporaryFolder();
let file: TestFile;
let database: TestDatabase;
let schemaBefore: unknown;

beforeAll(async () => {
  file = testFile("CREATE TABLE t(id INTEGER PRIMARY KEY, v TEXT); INSERT INTO t VALUES (1, 'a')");
  database = await testDatabase(18);
  schemaBefore = file.writer().prepare("SELECT * FROM sqlite_schema").all();
});
afterAll(async () => {
  expect(
    file.writer().prepare("SELECT * FROM sqlite_schema").all(),
    "nothing may be installed by a refused command",
  ).toEqual(schemaBefore);
  file.remove();
  await database.drop();
  remove();
});

/** One line that says it, the exit code, and nothing that a reader must not see. */
function refused(result: Result, code: number, says: RegExp): void {
  const text = `${result.stdout}${result.stderr}`;
  expect(result.code, text).toBe(code);
  expect(text).toMatch(says);
  expect(text).not.toMatch(/^\s+at .*\(|node:internal|TypeError|undefined/m);
  expect(text).not.toMatch(/test-password|s3cret/);
}

const backfill = (sqlite: string, url = database.url) =>
  command(["backfill", "--sqlite", sqlite, "--postgres", url]);

/** A copy of the database's bytes, changed. */
function damaged(name: string, change: (bytes: Buffer) => Buffer): string {
  const path = join(folder, name);
  const source = testFile(
    "CREATE TABLE t(id INTEGER PRIMARY KEY, v TEXT); WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3000) INSERT INTO t SELECT i, hex(randomblob(20)) FROM n",
    "delete",
  );
  writeFileSync(path, change(readFileSync(source.path)));
  source.remove();
  return path;
}

describe("the SQLite file", () => {
  test("missing", async () => {
    const path = join(folder, "nowhere.db");
    refused(await backfill(path), 2, /nowhere\.db/);
  });

  test("a folder", async () => {
    mkdirSync(join(folder, "a-folder"));
    refused(await backfill(join(folder, "a-folder")), 2, /a-folder/);
  });

  test("not a database", async () => {
    const path = join(folder, "notes.txt");
    writeFileSync(path, "Dear diary, this is not a database. ".repeat(100));
    refused(await backfill(path), 2, /notes\.txt: file is not a database/i);
  });

  test("encrypted: only noise", async () => {
    const path = join(folder, "encrypted.db");
    writeFileSync(path, randomBytes(8192));
    refused(await backfill(path), 2, /not a (SQLite )?database/i);
  });

  test("corrupt in the middle", async () => {
    const path = damaged("corrupt.db", (bytes) => {
      bytes.fill(0xee, 8192, bytes.length - 4096);
      return bytes;
    });
    refused(await backfill(path), 3, /malformed|corrupt/i);
  });

  test("cut off", async () => {
    const path = damaged("short.db", (bytes) => bytes.subarray(0, Math.floor(bytes.length / 2)));
    refused(await backfill(path), 3, /malformed|corrupt/i);
  });

  test("read-only", async () => {
    const own = testFile("CREATE TABLE t(id INTEGER PRIMARY KEY)", "delete");
    chmodSync(own.path, 0o444);
    chmodSync(own.folder, 0o555);
    // Permissions do not bind root: there the file system has no say, and the command must simply work.
    if (userInfo().uid === 0) expect((await backfill(own.path, await fresh())).code).toBe(0);
    else refused(await backfill(own.path), 3, /read-?only|permission/i);
    chmodSync(own.folder, 0o755);
    own.remove();
  });

  test("in a folder that is a file", async () => {
    writeFileSync(join(folder, "plain"), "");
    refused(await backfill(join(folder, "plain", "app.db")), 2, /no SQLite file at .*app\.db/);
  });

  test("behind a folder that may not be entered", async () => {
    const own = testFile("CREATE TABLE t(id INTEGER PRIMARY KEY)", "delete");
    // Too long a name cannot be looked up by anybody, root included.
    refused(await backfill(join(own.folder, "x".repeat(300))), 3, /cannot be reached: ENAMETOOLONG/);
    chmodSync(own.folder, 0o000);
    if (userInfo().uid !== 0) refused(await backfill(own.path), 3, /cannot be reached: EACCES/);
    chmodSync(own.folder, 0o755);
    own.remove();
  });

  test("locked by a transaction that never ends", async () => {
    const own = testFile("CREATE TABLE t(id INTEGER PRIMARY KEY)");
    own.writer().exec("BEGIN IMMEDIATE");
    refused(
      await command(["backfill", "--sqlite", own.path, "--postgres", database.url], { timeoutMs: 59_000 }),
      3,
      /lock|busy/i,
    );
    own.remove();
  });
});

/** Another database for a command that succeeds; dropped with the server. */
async function fresh(): Promise<string> {
  return (await testDatabase(18)).url;
}

describe("PostgreSQL", () => {
  const at = (change: (url: URL) => void) => {
    const url = new URL(database.url);
    change(url);
    return url.href;
  };

  test("no one listens", async () => {
    const url = at((u) => {
      u.port = "1";
    });
    refused(await backfill(file.path, url), 3, /127\.0\.0\.1:1|ECONNREFUSED|refused/);
  });

  test("no such host", async () => {
    const url = at((u) => {
      u.hostname = "no-such-host.invalid";
    });
    refused(await backfill(file.path, url), 3, /no-such-host\.invalid/);
  });

  test("wrong password", async () => {
    const url = at((u) => {
      u.password = "s3cret-and-wrong";
    });
    refused(await backfill(file.path, url), 3, /password|authentication/i);
  });

  test("no such database", async () => {
    const url = at((u) => {
      u.pathname = "/nowhere";
    });
    refused(await backfill(file.path, url), 3, /nowhere/);
  });

  test("not a URL", async () => {
    refused(await backfill(file.path, "http://user:s3cret@somewhere/x"), 2, /postgres/i);
    refused(await backfill(file.path, "postgres//:s3cret@"), 2, /postgres/i);
  });

  test("a role that may create nothing", async () => {
    const role = `role_${database.name}`;
    await database.query(`CREATE ROLE ${role} LOGIN PASSWORD 's3cret'`);
    await database.query("REVOKE CREATE ON SCHEMA public FROM PUBLIC");
    const url = at((u) => {
      u.username = role;
      u.password = "s3cret";
    });
    refused(await backfill(file.path, url), 3, /CREATE|right|permission/i);
    await database.query(`DROP ROLE ${role}`);
  });
});

describe("the target's tables", () => {
  test("a table of that name with other columns", async () => {
    const own = await testDatabase(15);
    await own.query("CREATE TABLE t(id bigint PRIMARY KEY, something_else int)");
    refused(await backfill(file.path, own.url), 4, /\bt\b/);
    await own.drop();
  });

  test("a table that holds rows already", async () => {
    const own = await testDatabase(15);
    await own.query("CREATE TABLE t(id bigint PRIMARY KEY, v text)");
    await own.query("INSERT INTO t VALUES (1, 'theirs')");
    refused(await backfill(file.path, own.url), 4, /\bt\b/);
    expect(await own.query("SELECT v FROM t")).toEqual([{ v: "theirs" }]);
    await own.drop();
  });
});

describe("the configuration", () => {
  async function withConfig(configuration: unknown, name = "check"): Promise<Result> {
    const path = join(folder, "switchback.yaml");
    writeFileSync(path, typeof configuration === "string" ? configuration : JSON.stringify(configuration));
    const result = await command([name, "--config", path]);
    rmSync(path);
    return result;
  }
  const good = () => ({ sources: [{ name: "app", sqlite: file.path }], postgres: { url: database.url } });

  test("a file that does not exist", async () => {
    refused(await command(["check", "--config", join(folder, "absent.yaml")]), 2, /absent\.yaml/);
  });

  test("not YAML", async () => {
    refused(await withConfig("sources: [{"), 2, /switchback\.yaml|YAML/i);
  });

  test("every problem together: unknown keys and wrong types, with path and value", async () => {
    const result = await withConfig({
      ...good(),
      colour: "blue",
      sources: [
        {
          name: "app",
          sqlite: file.path,
          target: "maybe",
          tables: { t: { columns: { v: { typ: "text" } } } },
        },
      ],
      backfill: { workers: "many" },
    });
    refused(result, 2, /colour/);
    for (const part of [/target/, /maybe/, /typ/, /workers/, /many/])
      expect(result.stderr + result.stdout).toMatch(part);
  });

  test("an unknown table", async () => {
    const configuration = good();
    const result = await withConfig({
      ...configuration,
      sources: [{ ...configuration.sources[0], tables: { ghosts: { columns: {} } } }],
    });
    refused(result, 2, /ghosts/);
  });

  test("no SQLite file at all", async () => {
    refused(await command(["check", "--postgres", database.url]), 2, /sqlite/i);
  });
});

describe("usage", () => {
  test.each([
    [["frobnicate"], /frobnicate/],
    [["check", "--no-such-option"], /no-such-option/],
    [["check", "--sqlite"], /sqlite/],
  ] as const)("%j", async (args, says) => {
    refused(await command(args), 2, says);
  });

  test("--help and --version answer with 0", async () => {
    // Help is printed by the process, past everything that a command is given.
    expect((await cli(["--help"])).code).toBe(0);
    expect((await cli(["--version"])).stdout).toMatch(/\d+\.\d+\.\d+/);
  });
});
