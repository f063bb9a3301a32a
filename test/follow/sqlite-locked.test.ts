// A file in rollback-journal mode whose application holds the exclusive lock most of the time, as one busy writer does.
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { loadConfig } from "#switchback/config/config.js";
import { Sidecar } from "#switchback/sidecar/sidecar.js";
import { command, Sidecar as Process } from "../support/cli.js";
import { effort } from "../support/effort.js";
import { silentLog } from "../support/log.js";
import { type TestDatabase, testDatabase } from "../support/servers.js";
import { type Outside, python, type TestFile, testFile } from "../support/sqlite.js";

/** Holds the lock for longer than one try of a session that waits briefly. */
const HOG = `
import select, sqlite3, sys, time
db = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=20)
print("ready")
while not select.select([sys.stdin], [], [], 0)[0]:
    db.execute("BEGIN EXCLUSIVE")
    db.execute("UPDATE hog SET n = n + 1")
    time.sleep(0.35)
    db.execute("COMMIT")
    time.sleep(0.07)
`;
/** Each column is checked by its values before its type is decided. */
const COLUMNS = Array.from({ length: 6 }, (_, i) => `at${i} DATETIME, yes${i} BOOLEAN, short${i} VARCHAR(5)`);

let file: TestFile;
let database: TestDatabase;
let hog: Outside;

beforeEach(async () => {
  file = testFile(
    `CREATE TABLE hog(id INTEGER PRIMARY KEY, n INTEGER); INSERT INTO hog VALUES (1, 0);
     CREATE TABLE t(id INTEGER PRIMARY KEY, ${COLUMNS.join(", ")});
     INSERT INTO t(id, at0, yes0, short0) VALUES (1, '2026-01-02 03:04:05', 1, 'short')`,
    "delete",
  );
  database = await testDatabase(18);
  hog = python(HOG, [file.path]);
  await hog.line();
});
afterEach(async () => {
  hog.kill();
  await database.drop();
  file.remove();
});

test("a first copy reads the file in the writer's rests", async () => {
  const yaml = join(file.folder, "switchback.yaml");
  writeFileSync(
    yaml,
    JSON.stringify({ sources: [{ name: "app", sqlite: file.path }], postgres: { url: database.url } }),
  );
  const config = loadConfig({ config: yaml }, {}, file.folder);
  if (!config.postgres) throw new Error("no server");
  const sidecar = new Sidecar(config, config.postgres, silentLog(), { table() {}, phase() {}, done() {} });
  try {
    await sidecar.backfill(AbortSignal.timeout(50_000), true);
  } finally {
    await sidecar.close();
  }
  expect(await database.query("SELECT id, yes0 FROM t")).toEqual([{ id: "1", yes0: true }]);
});

/** The others read the file by the same two ways; the long run has them all. */
const READING = ["check", "backfill", "plan", "status", "verify"].slice(0, effort(2, 5));

test.each(READING)("%s waits for the writer's rests", async (name) => {
  const run = (one: string) =>
    command([one, "--sqlite", file.path, "--postgres", database.url], {
      cwd: file.folder,
      env: { SWITCHBACK_HTTP: "off" },
    });
  if (["verify", "status"].includes(name)) expect((await run("backfill")).code).toBe(0);
  const { code, stdout, stderr } = await run(name);
  expect(stdout + stderr).not.toMatch(/SQLITE_BUSY|BUG/);
  // Without a sidecar that follows, a row that changes all the time is never settled.
  expect(name === "verify" ? [0, 1] : [0], stdout + stderr).toContain(code);
});

test("a sidecar follows such a writer, compares beside it, and verifies", async () => {
  const sidecar = await Process.streaming({
    sqlite: file.path,
    url: database.url,
    top: { verify: { every: "200ms", share: "50%" } },
  });
  try {
    const count = async () => (await sidecar.status())?.sources[0]?.applied ?? 0;
    const before = await count();
    await expect.poll(count, { timeout: 40_000 }).toBeGreaterThan(before + 10);
    const rounds = async () =>
      Number(
        /^switchback_background_comparison_timestamp_seconds\{\S* (\S+)$/m.exec(
          (await sidecar.get("/metrics")).text,
        )?.[1] ?? 0,
      );
    const now = Date.now() / 1_000;
    await expect.poll(rounds, { timeout: 40_000 }).toBeGreaterThan(now);
    expect((await sidecar.cli(["verify"])).code).toBe(0);
    expect((await sidecar.status())?.phase).toBe("streaming");
    expect(sidecar.log()).not.toMatch(/BUG|halted/);
  } finally {
    await sidecar.remove();
  }
});
