// Several files move together or not at all; and while PostgreSQL has the writes no file comes in again.
import { writeFileSync } from "node:fs";
import { afterEach, beforeEach, expect, test } from "vitest";
import { Sidecar } from "../support/cli.js";
import { ask, drained, expectRoute, move, verify } from "../support/flips.js";
import { differences } from "../support/rows.js";
import { type TestDatabase, testDatabase } from "../support/servers.js";
import { type TestFile, testFile } from "../support/sqlite.js";

const SHOP = `CREATE TABLE item(id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT UNIQUE);
  INSERT INTO item(name) VALUES ('lamp'), ('rug')`;
const MAIL = `CREATE TABLE item(id TEXT PRIMARY KEY NOT NULL, body BLOB);
  CREATE TABLE line(text TEXT); INSERT INTO item VALUES ('a', x'00ff')`;

let shop: TestFile;
let mail: TestFile;
let database: TestDatabase;
let sidecar: Sidecar;

beforeEach(async () => {
  shop = testFile(SHOP);
  mail = testFile(MAIL, "delete");
  database = await testDatabase(15);
});
afterEach(async () => {
  await sidecar.remove();
  await database.drop();
  shop.remove();
  mail.remove();
});

const SOURCES = () => [
  { name: "shop", sqlite: shop.path, schema: "shop" },
  { name: "mail", sqlite: mail.path, schema: "mail" },
];

async function expectEqual(): Promise<void> {
  expect([
    ...(await differences(shop.path, database.url, { schema: "shop" })),
    ...(await differences(mail.path, database.url, { schema: "mail" })),
  ]).toEqual([]);
}

test("two files flip together, there and back", async () => {
  sidecar = await Sidecar.streaming({ sqlite: shop.path, url: database.url, top: { sources: SOURCES() } });
  await verify(sidecar);
  for (const round of [0, 1]) {
    await move(sidecar, "postgres");
    for (const file of [shop, mail])
      await expectRoute(sidecar, file.path, database, "postgres", round * 2 + 1);
    await database.query(`INSERT INTO shop.item(name) VALUES ('chair ${round}')`);
    await database.query(`BEGIN; INSERT INTO mail.item VALUES ('b${round}', NULL);
      INSERT INTO mail.line VALUES ('one'), ('one'); DELETE FROM shop.item WHERE name = 'rug'; COMMIT`);
    expect(() => mail.writer().exec("INSERT INTO line VALUES ('late')")).toThrow(/writes have moved/);
    expect(() => shop.writer().exec("DELETE FROM item")).toThrow(/writes have moved/);
    await drained(sidecar, "postgres");
    await expectEqual();
    await move(sidecar, "sqlite");
    for (const file of [shop, mail]) await expectRoute(sidecar, file.path, database, "sqlite", round * 2 + 2);
    shop.writer().exec(`INSERT INTO item(name) VALUES ('home ${round}')`);
    mail.writer().exec("UPDATE item SET body = x'aa'; INSERT INTO line VALUES ('two')");
    await drained(sidecar, "sqlite");
    await expectEqual();
  }
});

test("what stands in one file's way keeps them all", async () => {
  sidecar = await Sidecar.streaming({ sqlite: shop.path, url: database.url, top: { sources: SOURCES() } });
  await verify(sidecar);
  const holder = mail.writer();
  holder.exec("BEGIN IMMEDIATE");
  const { code, document } = await ask(sidecar, "postgres", "1500ms");
  expect([code, document.flipped]).toEqual([1, false]);
  for (const file of [shop, mail]) await expectRoute(sidecar, file.path, database, "sqlite", 0);
  shop.writer().exec("INSERT INTO item(name) VALUES ('still here')");
  holder.exec("COMMIT");
  await drained(sidecar, "sqlite");
  await expectEqual();
});

test("while PostgreSQL has the writes a new file is refused, and so is a backfill", async () => {
  const [first] = SOURCES();
  sidecar = await Sidecar.streaming({ sqlite: shop.path, url: database.url, top: { sources: [first] } });
  await verify(sidecar);
  await move(sidecar, "postgres");
  expect(await sidecar.term()).toBe(0);
  const again = await sidecar.cli(["backfill"]);
  expect(again.code, again.stderr).toBe(4);
  expect(again.stderr).toContain("WRITES_AWAY");

  const both = await Sidecar.prepare({ sqlite: shop.path, url: database.url, top: { sources: SOURCES() } });
  try {
    for (const command of ["backfill", "run"]) {
      const { code, stderr, stdout } = await both.cli([command], {
        env: { SWITCHBACK_HTTP: "off" },
        timeoutMs: 20_000,
      });
      expect(code, `${stdout} ${stderr}`).toBe(4);
      expect(`${stdout}${stderr}`).toContain("WRITES_AWAY");
    }
  } finally {
    await both.remove();
  }
  // The refused attempts left nothing behind in the file that was not let in, and the old configuration continues.
  expect(() => mail.writer().exec("INSERT INTO line VALUES ('free')")).not.toThrow();
  // The wish is what the command left in the flag.
  sidecar.start();
  await sidecar.waitPhase("reverse_streaming");
  await database.query("INSERT INTO shop.item(name) VALUES ('later')");
  await drained(sidecar, "postgres");
  expect(await differences(shop.path, database.url, { schema: "shop" })).toEqual([]);
  await move(sidecar, "sqlite");
  expect(await sidecar.term()).toBe(0);
  writeFileSync(
    sidecar.config,
    JSON.stringify({
      sources: SOURCES(),
      postgres: { url: database.url },
      flag: "flag",
      route: "route.json",
      http: { listen: `127.0.0.1:${sidecar.port}` },
    }),
  );
  sidecar.start();
  await sidecar.waitPhase("streaming");
  await verify(sidecar);
  await move(sidecar, "postgres");
  for (const file of [shop, mail]) await expectRoute(sidecar, file.path, database, "postgres", 3);
  await expectEqual();
});
