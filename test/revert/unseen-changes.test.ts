// What happens unseen by the sidecar while PostgreSQL has the writes. The writes never return as if all had been
// seen, however soon the revert is asked for and whatever restarts in between.
import { renameSync, rmSync } from "node:fs";
import { expect, test } from "vitest";
import { Sidecar } from "../support/cli.js";
import { ask, drained, move, verify } from "../support/flips.js";
import { differences } from "../support/rows.js";
import { type TestDatabase, testDatabase } from "../support/servers.js";
import { pythonNow, type TestFile, testFile } from "../support/sqlite.js";

const WAIT = { timeout: 15_000 };

interface AfterCutover {
  readonly file: TestFile;
  readonly database: TestDatabase;
  readonly sidecar: Sidecar;
  readonly problems: () => Promise<string[]>;
}

async function afterCutover(schema: string, work: (moved: AfterCutover) => Promise<void>): Promise<void> {
  const file = testFile(schema);
  const database = await testDatabase(18);
  const sidecar = await Sidecar.streaming({ sqlite: file.path, url: database.url });
  const problems = async () => {
    const found = (await sidecar.status())?.problems as { code: string; message: string }[] | undefined;
    return (found ?? []).map(({ code, message }) => `${code} ${message}`);
  };
  try {
    await verify(sidecar);
    await move(sidecar, "postgres");
    await work({ file, database, sidecar, problems });
  } finally {
    await sidecar.remove();
    await database.drop();
    file.remove();
  }
}

const SCHEMA = `CREATE TABLE t(id INTEGER PRIMARY KEY, v TEXT); INSERT INTO t VALUES (1, 'one');
  CREATE TABLE keyless(v TEXT); INSERT INTO keyless VALUES ('a'), ('b'), ('c'); DELETE FROM keyless WHERE v = 'a'`;

const inPython = (path: string, statements: string) =>
  pythonNow("import sqlite3, sys; sqlite3.connect(sys.argv[1]).executescript(sys.argv[2])", [
    path,
    statements,
  ]);

test("triggers off in PostgreSQL, VACUUM and a new trigger in SQLite: named, over a restart too, until all is repaired", async () => {
  await afterCutover(SCHEMA, async ({ file, database, sidecar, problems }) => {
    const known = [
      "COPY_UNKNOWN the triggers on t in PostgreSQL had vanished",
      "COPY_UNKNOWN the table keyless may have been given other rowids",
      "COPY_UNKNOWN the table t has a trigger in SQLite",
    ].map((text) => expect.stringContaining(text));
    const loud =
      "CREATE TRIGGER loud AFTER UPDATE ON t BEGIN UPDATE t SET v = v || '!' WHERE id = NEW.id; END";
    inPython(file.path, `VACUUM; ${loud}`);
    await database.query("UPDATE t SET v = 'two'; UPDATE keyless SET v = 'C' WHERE v = 'c'");
    await database.query("ALTER TABLE t DISABLE TRIGGER ALL; INSERT INTO t VALUES (2, 'unseen')");
    // Immediately, before anybody looked.
    const soon = await ask(sidecar, "sqlite");
    expect([soon.code, soon.document.flipped]).toEqual([1, false]);
    await expect.poll(problems, WAIT).toEqual(expect.arrayContaining(known));
    await sidecar.term();
    sidecar.start();
    await sidecar.waitPhase("reverse_streaming");
    const later = await ask(sidecar, "sqlite");
    expect([later.code, later.document.reason]).toEqual([1, expect.stringContaining("unknown")]);

    inPython(file.path, "DROP TRIGGER loud");
    // Again, because dropping the trigger is a change of the schema too, which may be noticed afterwards.
    const left = async () => {
      expect((await sidecar.cli(["verify", "--repair"])).code).toBe(0);
      return (await problems()).filter((text) => text.startsWith("COPY_UNKNOWN"));
    };
    await expect.poll(left, { timeout: 30_000, interval: 1_000 }).toEqual([]);
    await move(sidecar, "sqlite");
    expect(await differences(file.path, database.url)).toEqual([]);
    expect(await database.query("SELECT v FROM t ORDER BY id")).toEqual([{ v: "two" }, { v: "unseen" }]);
    const rows = await database.query('SELECT v FROM keyless ORDER BY v COLLATE "C"');
    expect(rows).toEqual([{ v: "C" }, { v: "b" }]);
  });
});

test("triggers off in PostgreSQL just before a revert: it is refused", async () => {
  await afterCutover("CREATE TABLE t(id INTEGER PRIMARY KEY, v TEXT)", async ({ database, sidecar }) => {
    await database.query("ALTER TABLE t DISABLE TRIGGER ALL; INSERT INTO t VALUES (2, 'unseen')");
    const { code, document } = await ask(sidecar, "sqlite");
    expect([code, document.reason]).toEqual([1, expect.stringContaining("triggers on t")]);
  });
});

test("a VACUUM of tables with keys does not block a revert", async () => {
  await afterCutover(
    "CREATE TABLE t(id INTEGER PRIMARY KEY, v TEXT)",
    async ({ file, database, sidecar, problems }) => {
      inPython(file.path, "VACUUM");
      await database.query("INSERT INTO t VALUES (1, 'one')");
      await expect.poll(async () => (await ask(sidecar, "sqlite")).document.flipped, WAIT).toBe(true);
      expect(await problems()).toEqual([]);
      expect(await differences(file.path, database.url)).toEqual([]);
    },
  );
});

test("another file in the place of SQLite's, such as a backup: writes stay in PostgreSQL", async () => {
  await afterCutover(
    "CREATE TABLE t(id INTEGER PRIMARY KEY, v TEXT)",
    async ({ file, database, sidecar, problems }) => {
      const backup = `${file.path}.backup`;
      pythonNow(
        "import sqlite3, sys; a, b = map(sqlite3.connect, sys.argv[1:]); a.backup(b); a.close(); b.close()",
        [file.path, backup],
      );
      await database.query("INSERT INTO t VALUES (2, 'two')");
      await drained(sidecar, "postgres");
      for (const beside of ["-wal", "-shm"]) rmSync(file.path + beside, { force: true });
      renameSync(backup, file.path);
      expect((await ask(sidecar, "sqlite", "2s")).document.flipped).toBe(false);
      await expect.poll(problems, WAIT).toContainEqual(expect.stringMatching(/^(SQLITE_REPLACED|SPLIT) /));
      expect(await database.query("SELECT writes FROM switchback.route")).toEqual([{ writes: "postgres" }]);
      await database.query("INSERT INTO t VALUES (3, 'goes on')");
    },
  );
});
