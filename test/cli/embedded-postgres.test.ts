// The embedded PostgreSQL: kept between starts, shared by commands, proof against what a crash leaves behind. It is
// no obstacle to the signals and the exit code of the process that started it.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { chmodSync, mkdirSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import pg from "pg";
import { afterEach, beforeEach, expect, test } from "vitest";
import { startEmbedded } from "#switchback/embedded/embedded.js";
import { temporaryFolder } from "../support/scratch.js";

const MODULE = fileURLToPath(new URL("../../dist/embedded/embedded.js", import.meta.url));

let folder: string;
let remove: () => void;
beforeEach(() => {
  const made = temporaryFolder();
  remove = made.remove;
  // Passable, so that the cluster lies here also where the server runs as another user.
  chmodSync(made.folder, 0o711);
  folder = join(made.folder, ".switchback");
  mkdirSync(folder);
});
afterEach(() => remove());

async function query(url: string, sql: string): Promise<unknown[]> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  const { rows } = await client.query(sql);
  await client.end();
  return rows;
}

/** A process that starts the server, says so, and ends as `then` says. */
function owner(then: string) {
  const script = `import { startEmbedded } from ${JSON.stringify(MODULE)};
    const server = await startEmbedded({ folder: ${JSON.stringify(folder)} });
    ${then}
    console.log(server.url);`;
  return spawn(process.execPath, ["--input-type=module", "-e", script], {
    stdio: ["ignore", "pipe", "inherit"],
  });
}

/** Where a server's user cannot pass through the folder, the cluster lies elsewhere: ask the server itself. */
async function dataFolder(url: string): Promise<string> {
  const [row] = (await query(url, "SHOW data_directory")) as { data_directory: string }[];
  return row?.data_directory ?? "";
}

test("what is written is there at the next start; the password is no one else's to read", async () => {
  const first = await startEmbedded({ folder });
  await query(first.url, "CREATE TABLE kept AS SELECT 42 AS a");
  await first.stop();
  const second = await startEmbedded({ folder });
  expect(await query(second.url, "SELECT a FROM kept")).toEqual([{ a: 42 }]);
  expect(second.postgres).toMatchObject({ host: "127.0.0.1", user: "postgres", database: "postgres" });
  expect(statSync(join(folder, "password")).mode & 0o077).toBe(0);
  await second.stop();
});

test("a second command shares the running server and does not stop it", async () => {
  const first = await startEmbedded({ folder });
  const second = await startEmbedded({ folder });
  expect(second.url).toBe(first.url);
  await second.stop();
  expect(await query(first.url, "SELECT 1 AS a")).toEqual([{ a: 1 }]);
  await first.stop();
});

test("a postmaster.pid left by a crash, whose number is another process's by now, is no obstacle", async () => {
  const first = await startEmbedded({ folder });
  const data = await dataFolder(first.url);
  await first.stop();
  writeFileSync(join(data, "postmaster.pid"), `${process.pid}\n${data}\n1700000000\n5999\n\n127.0.0.1\n`);
  const second = await startEmbedded({ folder });
  expect(await query(second.url, "SELECT 1 AS a")).toEqual([{ a: 1 }]);
  await second.stop();
});

test("the owner killed outright takes the server with it, and the next start waits for that", async () => {
  const killed = owner("setInterval(() => {}, 1000);");
  const [line] = (await once(killed.stdout, "data")) as [Buffer];
  const orphan = line.toString().trim();
  expect(await query(orphan, "SELECT 1 AS a")).toEqual([{ a: 1 }]);
  killed.kill("SIGKILL");
  const next = await startEmbedded({ folder });
  expect(await query(next.url, "SELECT 1 AS a")).toEqual([{ a: 1 }]);
  if (next.url !== orphan) await expect(query(orphan, "SELECT 1")).rejects.toThrow(/ECONNREFUSED/);
  await next.stop();
  // No one but us started it, so that our stop was the last of it.
  await expect(query(next.url, "SELECT 1")).rejects.toThrow(/ECONNREFUSED/);
});

test("signals and the exit code stay the owner's", async () => {
  const handled = owner(
    "process.on('SIGTERM', async () => { await server.stop(); process.exit(7); }); setInterval(() => {}, 1000);",
  );
  await once(handled.stdout, "data");
  handled.kill("SIGTERM");
  expect(await once(handled, "exit")).toEqual([7, null]);
  const plain = owner("setInterval(() => {}, 1000);");
  await once(plain.stdout, "data");
  plain.kill("SIGTERM");
  expect(await once(plain, "exit")).toEqual([null, "SIGTERM"]);
  const ending = owner("await server.stop(); process.exitCode = 3;");
  expect(await once(ending, "exit")).toEqual([3, null]);
});
