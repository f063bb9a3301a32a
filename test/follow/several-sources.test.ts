// Several SQLite files in one configuration, each into a schema of its own, by a role that owns the database and
// nothing more. What happens to one of them leaves the others alone.
import { randomBytes } from "node:crypto";
import { afterEach, beforeEach, expect, test } from "vitest";
import { Sidecar } from "../support/cli.js";
import { differences } from "../support/rows.js";
import { type TestDatabase, testDatabase } from "../support/servers.js";
import { type TestFile, testFile } from "../support/sqlite.js";

const SHOP =
  "CREATE TABLE item(id INTEGER PRIMARY KEY, name TEXT UNIQUE); INSERT INTO item VALUES (1, 'lamp'), (2, 'rug')";
const MAIL =
  "CREATE TABLE item(id TEXT PRIMARY KEY NOT NULL, body BLOB); INSERT INTO item VALUES ('a', x'00ff')";

let shop: TestFile;
let mail: TestFile;
let database: TestDatabase;
let role: string;
let url: string;

beforeEach(async () => {
  shop = testFile(SHOP);
  mail = testFile(MAIL, "delete");
  database = await testDatabase(15);
  role = `owner_${randomBytes(4).toString("hex")}`;
  await database.query(`CREATE ROLE ${role} LOGIN PASSWORD 'not-secret' NOSUPERUSER`);
  await database.query(`ALTER DATABASE ${database.name} OWNER TO ${role}`);
  const owned = new URL(database.url);
  owned.username = role;
  owned.password = "not-secret";
  url = owned.href;
});
afterEach(async () => {
  await database.query(`ALTER DATABASE ${database.name} OWNER TO postgres`);
  await database.query(`DROP OWNED BY ${role}`);
  await database.query(`DROP ROLE ${role}`);
  await database.drop();
  shop.remove();
  mail.remove();
});

const sources = () => [
  { name: "shop", sqlite: shop.path, schema: "shop" },
  { name: "mail", sqlite: mail.path, schema: "mail" },
];
const compare = async () => [
  ...(await differences(shop.path, database.url, { schema: "shop" })),
  ...(await differences(mail.path, database.url, { schema: "mail" })),
];

test("two files follow side by side, are verified together and torn down together", async () => {
  const sidecar = await Sidecar.streaming({ sqlite: shop.path, url, top: { sources: sources() } });
  try {
    shop.writer().exec("UPDATE item SET name = name || '!'; INSERT INTO item VALUES (3, 'chair')");
    mail.writer().exec("REPLACE INTO item VALUES ('a', x'01'), ('b', NULL)");
    const status = await sidecar.waitDrained();
    expect(status.sources.map(({ name }) => name)).toEqual(["shop", "mail"]);
    expect(await compare()).toEqual([]);
    const metrics = await sidecar.metrics();
    expect(metrics.get('switchback_lag_changes{source="shop"}')).toBe(0);
    expect(metrics.get('switchback_lag_changes{source="mail"}')).toBe(0);
    const verified = await sidecar.cli(["verify", "--json"]);
    expect(verified.code, verified.stderr).toBe(0);
    const verdict = JSON.parse(verified.stdout);
    expect(verdict.sources.map((each: { source: string }) => each.source)).toEqual(["shop", "mail"]);
    expect(verdict.equal).toBe(true);
    await sidecar.term();
    const gone = await sidecar.cli(["teardown"]);
    expect(gone.code, gone.stderr).toBe(0);
    expect(await database.query("SELECT 1 AS there FROM pg_namespace WHERE nspname = 'switchback'")).toEqual(
      [],
    );
    expect(await compare()).toEqual([]);
  } finally {
    await sidecar.remove();
  }
});

test("a difference in one file is that file's", async () => {
  const sidecar = await Sidecar.prepare({ sqlite: shop.path, url, top: { sources: sources() } });
  try {
    const copied = await sidecar.cli(["backfill", "--json"]);
    expect(copied.code, copied.stderr).toBe(0);
    await database.query("SET switchback.apply = 'on'; UPDATE mail.item SET body = NULL");
    const { code, stdout } = await sidecar.cli(["verify", "--json"]);
    expect(code).toBe(1);
    const verdict = JSON.parse(stdout);
    expect(verdict.sources.map((each: { equal: boolean }) => each.equal)).toEqual([true, false]);
    expect((await sidecar.cli(["verify", "--repair"])).code).toBe(0);
    expect(await compare()).toEqual([]);
  } finally {
    await sidecar.remove();
  }
});

test("after a teardown the copy's sequences continue after its rows", async () => {
  const sidecar = await Sidecar.prepare({ sqlite: shop.path, url, source: { schema: "shop" } });
  try {
    expect((await sidecar.cli(["backfill"])).code).toBe(0);
    expect((await sidecar.cli(["teardown"])).code).toBe(0);
    expect(await database.query("INSERT INTO shop.item (name) VALUES ('next') RETURNING id::int")).toEqual([
      { id: 3 },
    ]);
  } finally {
    await sidecar.remove();
  }
});
