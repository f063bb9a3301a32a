// Two applications side by side: a command acts on its own sidecar or says whose it met, and two sidecars never share
// a route file or a flag.
import { execFileSync } from "node:child_process";
import { readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type Result, Sidecar } from "../support/cli.js";
import { flagOf, routeFile } from "../support/flips.js";
import { type TestDatabase, testDatabase } from "../support/servers.js";
import { type TestFile, testFile } from "../support/sqlite.js";

let databases: TestDatabase[];
let files: TestFile[];
let shop: Sidecar;
/** Shares the shop's folder, as two configurations with the default names do. */
let blog: Sidecar;

beforeAll(async () => {
  databases = [await testDatabase(18), await testDatabase(15)];
  files = [
    testFile("CREATE TABLE t(id INTEGER PRIMARY KEY)"),
    testFile("CREATE TABLE u(id INTEGER PRIMARY KEY)"),
  ];
  shop = await Sidecar.streaming({ sqlite: files[0]?.path ?? "", url: url(0), source: { name: "shop" } });
  blog = await Sidecar.prepare({
    ...{ sqlite: files[1]?.path ?? "", url: url(1), source: { name: "blog" } },
    top: {
      flag: flagOf(shop),
      route: join(shop.folder, "route.json"),
      http: { listen: `127.0.0.1:${shop.port}` },
    },
  });
});
afterAll(async () => {
  await blog?.remove();
  await shop?.remove();
  for (const database of databases) await database.drop();
  for (const file of files) file.remove();
});

const url = (n: number) => databases[n]?.url ?? "";
function expectRefused({ code, stderr }: Result, pattern: RegExp, exit = 4): void {
  expect(stderr).toMatch(pattern);
  expect(code).toBe(exit);
}

test("cutover, revert and status with another application's configuration name both, and move nothing", async () => {
  const both =
    /OTHER_SIDECAR .* serves shop \(.*app\.db\) and .*; this configuration is about blog \(.*app\.db\) and /;
  for (const command of ["cutover", "revert"]) expectRefused(await blog.cli([command]), both);
  expectRefused(await blog.cli(["status"]), /OTHER_SIDECAR .* serves shop \(/);
  expect(routeFile(shop)).toEqual({ writes: "sqlite", epoch: 0 });
});

test("a second sidecar on the same route file or flag is told whose they are, and changes nothing", async () => {
  const taken = (file: string) =>
    new RegExp(`ROUTE_TAKEN .*${file} belongs to another sidecar, process ${shop.pid}, which serves shop`);
  const env = { SWITCHBACK_HTTP: "off" };
  expectRefused(await blog.cli(["run"], { env, timeoutMs: 30_000 }), taken("route\\.json"));
  const flagOnly = { ...env, SWITCHBACK_ROUTE: join(blog.folder, "route.json") };
  expectRefused(await blog.cli(["run"], { env: flagOnly, timeoutMs: 30_000 }), taken("flag"));
  const there = await databases[1]?.query("SELECT to_regclass('switchback.source') AS there");
  expect(there).toEqual([{ there: null }]);
  expect((await shop.status())?.phase).toBe("streaming");
});

test("its own commands are answered with the source's name, however the address is spelled, and no wrong one", async () => {
  const local = url(0).replace("127.0.0.1", "localhost");
  const said = await shop.cli(["revert", "--postgres", local]);
  expect([said.code, said.stdout.trim()]).toEqual([0, "shop: writes already go to SQLite (epoch 0)"]);
  expectRefused(await shop.cli(["revert", "--postgres", url(1)]), /OTHER_SIDECAR/);
  expectRefused(
    await shop.cli(["status", "--postgres", "postgres://u@127.0.0.1:9/d"]),
    /POSTGRES_UNREACHABLE/,
    3,
  );
  expect((await shop.cli(["status"])).code).toBe(0);
});

test("a flag that is a pipe, or large, is unreadable and keeps no one waiting", async () => {
  const flag = flagOf(shop);
  const problem = (what: string) =>
    shop.waitFor(what, ({ problems }) => JSON.stringify(problems).includes(what));
  execFileSync("mkfifo", [flag]);
  await problem("is not a plain file");
  rmSync(flag);
  writeFileSync(flag, "x".repeat(2_000));
  await problem("is larger than 1024 bytes");
  rmSync(flag);
  await shop.waitFor("no problem", ({ problems }) => problems.length === 0);
});

test("a route path that is a symbolic link is written through", async () => {
  const route = join(shop.folder, "route.json");
  const target = join(shop.folder, "target.json");
  writeFileSync(target, "{}");
  rmSync(route);
  symlinkSync(target, route);
  await expect
    .poll(() => JSON.parse(readFileSync(target, "utf8")), { timeout: 10_000 })
    .toMatchObject({ writes: "sqlite" });
  expect(routeFile(shop)).toEqual({ writes: "sqlite", epoch: 0 });
});
