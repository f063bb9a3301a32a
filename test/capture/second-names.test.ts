// A second name of a SQLite file keeps another -wal file and damages it. Hard links and mounts of the single file are
// blockers of `check`, and nothing opens such a file for work.
import { execFileSync, spawnSync } from "node:child_process";
import { linkSync, mkdirSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { mountPoints, secondName } from "#switchback/sqlite/check/second-names.js";
import { SqliteSource } from "#switchback/sqlite/source/source.js";
import { CLI, cli } from "../support/cli.js";
import { type TestFile, testFile } from "../support/sqlite.js";

let file: TestFile;
beforeEach(() => {
  file = testFile("CREATE TABLE t(id INTEGER PRIMARY KEY)");
});
afterEach(() => file.remove());

test("a hard link: check blocks, and no command works on the file until it is gone", async () => {
  expect(secondName(file.path)).toBe(null);
  const link = join(file.folder, "other.db");
  linkSync(file.path, link);
  expect(secondName(file.path)).toMatchObject({
    code: "hard-link",
    message: expect.stringContaining("2 names"),
  });
  const check = await cli(["check", "--sqlite", file.path]);
  expect([check.code, check.stdout]).toEqual([1, expect.stringContaining("blocker hard-link")]);
  const nowhere = "postgres://u@127.0.0.1:9/d";
  for (const command of ["run", "backfill"]) {
    const { code, stderr } = await cli([command, "--sqlite", file.path, "--postgres", nowhere]);
    expect([code, stderr]).toEqual([4, expect.stringContaining("SQLITE_LINKED")]);
  }
  rmSync(link);
  await new SqliteSource("app", file.path, 1).close();
});

test("a symbolic link is another way to the same name", async () => {
  const link = join(file.folder, "link.db");
  symlinkSync(file.path, link);
  expect(secondName(link)).toBe(null);
  await new SqliteSource("app", link, 1).close();
});

test("mount points as Linux lists them", () => {
  const table = [
    "22 28 0:21 / /proc rw,nosuid shared:12 - proc proc rw",
    "28 1 254:1 / / rw,relatime shared:1 - ext4 /dev/vda1 rw",
    "412 28 254:1 /srv/my\\040shop/app.db /data/my\\040shop/app.db rw,relatime - ext4 /dev/vda1 rw",
    "",
  ].join("\n");
  expect(mountPoints(table)).toEqual(["/proc", "/", "/data/my shop/app.db"]);
});

test("a mount of the single file is met where the machine lets us make one", () => {
  const folder = join(file.folder, "my data");
  mkdirSync(folder);
  const point = join(folder, "app.db");
  writeFileSync(point, "");
  const script = `mount --bind "$1" "$2" && exec "$3" "$4" check --sqlite "$2"`;
  const parts = [file.path, point, process.execPath, CLI];
  const { status, stdout, stderr } = spawnSync("unshare", ["-rm", "sh", "-c", script, "sh", ...parts], {
    encoding: "utf8",
  });
  // Where mounting is forbidden, the shell says so, and the table above is the proof.
  if (!/not permitted|permission denied|failed|not found|ENOENT/i.test(`${stderr ?? "ENOENT"}`))
    expect([status, stdout]).toEqual([1, expect.stringContaining("blocker file-mount")]);
  expect(execFileSync("cat", [point]).length).toBe(0);
});
