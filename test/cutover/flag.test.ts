// The flag as operators set it: a file, or a link that is swapped; and what is no wish at all.
import { mkdirSync, readFileSync, renameSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { Sidecar, type SidecarOptions } from "../support/cli.js";
import { ask, expectRoute, flagOf, move, type Store, verify } from "../support/flips.js";
import { type TestDatabase, testDatabase } from "../support/servers.js";
import { type TestFile, testFile } from "../support/sqlite.js";

let file: TestFile;
let database: TestDatabase;
let sidecar: Sidecar;

beforeEach(async () => {
  file = testFile("CREATE TABLE t(id INTEGER PRIMARY KEY, v TEXT); INSERT INTO t VALUES (1, 'a')");
  database = await testDatabase(18);
});
afterEach(async () => {
  await sidecar.remove();
  await database.drop();
  file.remove();
});

async function streaming(options: Partial<SidecarOptions> = {}): Promise<void> {
  sidecar = await Sidecar.streaming({ sqlite: file.path, url: database.url, ...options });
  await verify(sidecar);
}

function waitWrites(store: Store) {
  return sidecar.waitFor(
    `writes in ${store}`,
    ({ phase, route }) => route.writes === store && /streaming$/.test(phase),
    10_000,
  );
}

const codes = async () =>
  ((await sidecar.status())?.problems as { code: string }[] | undefined)?.map(({ code }) => code);

describe("the file", () => {
  test("moves the writes there and back, also when it is emptied or deleted", async () => {
    await streaming();
    writeFileSync(flagOf(sidecar), "postgres\n");
    await waitWrites("postgres");
    await expectRoute(sidecar, file.path, database, "postgres", 1);
    writeFileSync(flagOf(sidecar), "sqlite");
    await waitWrites("sqlite");
    writeFileSync(flagOf(sidecar), "  postgres  ");
    await waitWrites("postgres");
    rmSync(flagOf(sidecar));
    await waitWrites("sqlite");
    await expectRoute(sidecar, file.path, database, "sqlite", 4);
  });

  test("swapped as a mounted ConfigMap is", async () => {
    await streaming();
    const mount = join(sidecar.folder, "mount");
    const version = (name: string, word: Store) => {
      mkdirSync(join(mount, name), { recursive: true });
      writeFileSync(join(mount, name, "flag"), `${word}\n`);
      symlinkSync(name, join(mount, "..data.tmp"));
      renameSync(join(mount, "..data.tmp"), join(mount, "..data"));
    };
    version("..first", "sqlite");
    symlinkSync("..data/flag", join(mount, "flag"));
    symlinkSync("mount/flag", flagOf(sidecar));
    await sleep(300);
    version("..second", "postgres");
    await waitWrites("postgres");
    version("..third", "sqlite");
    await waitWrites("sqlite");
    // The command writes through the links.
    await move(sidecar, "postgres");
    expect(readFileSync(join(mount, "..third", "flag"), "utf8").trim()).toBe("postgres");
  });

  test("with something else in it moves nothing, and is a problem until it is repaired", async () => {
    await streaming();
    for (const nonsense of ["Postgres", "postgres sqlite", "postgresql", "\u0000"]) {
      writeFileSync(flagOf(sidecar), nonsense);
      const says = `holds ${JSON.stringify(nonsense)}, neither sqlite nor postgres`;
      await sidecar.waitFor("a problem", ({ problems }) =>
        JSON.stringify(problems).includes(JSON.stringify(says).slice(1, -1)),
      );
      await expectRoute(sidecar, file.path, database, "sqlite", 0);
    }
    // Once for each, not at every look.
    expect(sidecar.log().match(/neither sqlite nor postgres/g)).toHaveLength(4);
    rmSync(flagOf(sidecar));
    mkdirSync(flagOf(sidecar));
    await sidecar.waitFor("a problem", ({ problems }) => JSON.stringify(problems).includes("cannot be read"));
    rmSync(flagOf(sidecar), { recursive: true });
    writeFileSync(flagOf(sidecar), "postgres");
    await waitWrites("postgres");
    expect(await codes()).toEqual([]);
    writeFileSync(flagOf(sidecar), "what");
    await sidecar.waitFor("a problem", ({ problems }) =>
      JSON.stringify(problems).includes("FLAG_UNREADABLE"),
    );
    await sleep(300);
    await expectRoute(sidecar, file.path, database, "postgres", 1);
  });

  test("changed while the sidecar was away is obeyed when it is back", async () => {
    await streaming();
    expect(await sidecar.term()).toBe(0);
    writeFileSync(flagOf(sidecar), "postgres");
    sidecar.start();
    await waitWrites("postgres");
    await sidecar.kill9();
    writeFileSync(flagOf(sidecar), "sqlite");
    sidecar.start();
    await waitWrites("sqlite");
    await expectRoute(sidecar, file.path, database, "sqlite", 2);
  });

  test("withdrawn before the writes could move, nothing moves", async () => {
    await streaming();
    const locker = await database.client();
    await locker.query("BEGIN; LOCK TABLE t IN ACCESS EXCLUSIVE MODE");
    writeFileSync(flagOf(sidecar), "postgres");
    await sleep(400);
    writeFileSync(flagOf(sidecar), "sqlite");
    await sleep(400);
    await locker.query("ROLLBACK");
    await waitWrites("sqlite");
    await sleep(600);
    await expectRoute(sidecar, file.path, database, "sqlite", 0);
    await move(sidecar, "postgres");
  });
});

test("without a sidecar the command exits 4, names what to start, and leaves no wish behind", async () => {
  await streaming();
  expect(await sidecar.term()).toBe(0);
  for (const command of ["cutover", "revert"]) {
    const { code, stderr } = await sidecar.cli([command]);
    expect(code).toBe(4);
    expect(stderr).toContain("switchback run");
  }
  sidecar.start();
  await waitWrites("sqlite");
  await sleep(500);
  await expectRoute(sidecar, file.path, database, "sqlite", 0);
});

test("a flag that cannot be written is said so, and nothing moves", async () => {
  // No file can be made there, by no one.
  sidecar = await Sidecar.streaming({
    sqlite: file.path,
    url: database.url,
    top: { flag: "/proc/self/fdinfo/switchback.flag" },
  });
  await verify(sidecar);
  const { code, stdout, stderr } = await sidecar.cli(["cutover"]);
  expect(code).not.toBe(0);
  expect(`${stdout}${stderr}`).toMatch(/cannot be written/);
  await expectRoute(sidecar, file.path, database, "sqlite", 0);
  expect(await ask(sidecar, "sqlite")).toMatchObject({ code: 0, document: { flipped: false } });
});
