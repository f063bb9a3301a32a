// An older state of the file comes back, as from a backup. Whether its log is shorter than what was applied or has
// grown past it again, the sidecar must not continue as if nothing had happened.
import { copyFileSync, rmSync } from "node:fs";
import { afterEach, beforeEach, expect, test } from "vitest";
import { copyFile, restoreFile } from "../support/backups.js";
import { cli, Sidecar } from "../support/cli.js";
import { type TestDatabase, testDatabase } from "../support/servers.js";
import { type TestFile, testFile } from "../support/sqlite.js";

let file: TestFile;
let database: TestDatabase;

beforeEach(async () => {
  file = testFile("CREATE TABLE entry(id INTEGER PRIMARY KEY, text TEXT)", "delete");
  database = await testDatabase(15);
});
afterEach(async () => {
  await database.drop();
  file.remove();
});

const write = (from: number, count: number) => {
  const writer = file.writer();
  for (let id = from; id < from + count; id++)
    writer.prepare("INSERT INTO entry VALUES (?, ?)").run(id, `entry ${id}`);
};
const backfill = () => cli(["backfill", "--json", "--sqlite", file.path, "--postgres", database.url]);

for (const [what, from, writes] of [
  ["shorter than what was applied", 1_000, 0],
  ["longer than what was applied", 1_000, 120],
  ["as long, with the very same keys", 51, 60],
] as const) {
  test(`a restored backup whose log is ${what} is refused`, async () => {
    expect((await backfill()).code).toBe(0);
    write(1, 50);
    expect((await backfill()).code).toBe(0);
    const backup = `${file.path}.backup`;
    copyFileSync(file.path, backup);
    write(51, 60);
    expect((await backfill()).code).toBe(0);
    copyFileSync(backup, file.path);
    rmSync(backup);
    write(from, writes);
    const { code, stdout, stderr } = await backfill();
    expect(code, stderr).toBe(4);
    expect(JSON.parse(stdout).error.code).toBe("SQLITE_REWOUND");
    expect(await database.query("SELECT count(*)::int AS n FROM entry")).toEqual([{ n: 110 }]);
  });
}

test("the same file continues, however many times it is opened", async () => {
  expect((await backfill()).code).toBe(0);
  for (let round = 0; round < 3; round++) {
    write(1 + round * 30, 30);
    const { code, stderr } = await backfill();
    expect(code, stderr).toBe(0);
  }
  expect(await database.query("SELECT count(*)::int AS n FROM entry")).toEqual([{ n: 90 }]);
});

test("a backup copied over the file of a running sidecar is named, although no change can be seen any more", async () => {
  const live = testFile("CREATE TABLE entry(id INTEGER PRIMARY KEY, text TEXT)");
  const sidecar = await Sidecar.streaming({ sqlite: live.path, url: database.url });
  try {
    const copy = copyFile(live);
    const writer = live.writer();
    writer.exec("INSERT INTO entry VALUES (1, 'since the backup')");
    await sidecar.waitDrained();
    writer.close();
    restoreFile(live, copy);
    const { problems } = await sidecar.waitPhase("halted");
    expect(problems).toMatchObject([
      { code: "SQLITE_REPLACED", message: expect.stringContaining("-wal and -shm files were deleted") },
    ]);
    await sidecar.term();
    restoreFile(live, copy);
    const again = await sidecar.cli(["run"], { timeoutMs: 20_000 });
    expect([again.code, again.stderr]).toEqual([4, expect.stringContaining("SQLITE_REWOUND")]);
  } finally {
    await sidecar.remove();
    live.remove();
  }
});
