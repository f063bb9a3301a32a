// A move from its first command to its last: backfill, run, a second sidecar, the fence, verify and repair, teardown.
import { hostname } from "node:os";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { cli, Sidecar } from "../support/cli.js";
import { differences } from "../support/rows.js";
import { type TestDatabase, testDatabase } from "../support/servers.js";
import { python, type TestFile, testFile } from "../support/sqlite.js";

const SCHEMA = `
  CREATE TABLE author(id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL UNIQUE);
  CREATE TABLE book(isbn TEXT PRIMARY KEY, author INTEGER REFERENCES author(id), title TEXT, price REAL);
  CREATE INDEX book_title ON book(title);
  CREATE TABLE diary(line TEXT);
  CREATE TRIGGER book_sold AFTER DELETE ON book BEGIN INSERT INTO diary VALUES ('sold ' || OLD.isbn); END;
  INSERT INTO author(name) VALUES ('Woolf'), ('Borges'), ('Le Guin');
  WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 500)
    INSERT INTO book SELECT 'isbn-' || i, 1 + i % 3, 'Title ' || i, i / 4.0 FROM n;
  INSERT INTO diary VALUES ('opened'), ('opened');`;

/** Every transaction changes the same few rows; others come and go. */
const HOT_ROWS = `
import select, sqlite3, sys, time
db = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=10)
n = 0
while not select.select([sys.stdin], [], [], 0)[0]:
    db.execute("BEGIN IMMEDIATE")
    db.execute("UPDATE author SET name = id || ' wrote ' || ?", (n,))
    db.execute("UPDATE book SET title = title || '.' WHERE isbn < 'isbn-102' AND length(title) < 100")
    db.execute("UPDATE book SET author = 1 + ? % 3, price = price + 1 WHERE isbn < 'isbn-102'", (n,))
    db.execute("REPLACE INTO book VALUES (?, 1, 'turn', ?)", ("new-%d" % (n % 50), n))
    db.execute("DELETE FROM book WHERE isbn = ?", ("new-%d" % ((n + 25) % 50),))
    db.execute("COMMIT")
    n += 1
    time.sleep(0.001)
print(n)
`;

let file: TestFile;
let database: TestDatabase;
let sidecar: Sidecar;

beforeEach(async () => {
  file = testFile(SCHEMA);
  database = await testDatabase(15);
  sidecar = await Sidecar.prepare({ sqlite: file.path, url: database.url });
});
afterEach(async () => {
  await sidecar.remove();
  await database.drop();
  file.remove();
});

/** Someone with the right to go around triggers, as a superuser has it, changes the copy. */
async function tamper(sql: string): Promise<void> {
  const client = await database.client();
  await client.query("SET switchback.apply = 'on'");
  await client.query(sql);
}

describe("backfill and run", () => {
  test("backfill leaves an exact copy and one JSON document, and can be repeated", async () => {
    for (let time = 0; time < 2; time++) {
      const { code, stdout, stderr } = await sidecar.cli(["backfill", "--json"]);
      expect(code, stderr).toBe(0);
      expect(JSON.parse(stdout)).toBeTypeOf("object");
      expect(await differences(file.path, database.url)).toEqual([]);
    }
  });

  test("changes between a backfill and a run are followed; SIGTERM stops cleanly and a restart continues", async () => {
    expect((await sidecar.cli(["backfill"])).code).toBe(0);
    const writer = file.writer();
    for (const price of [1, 2, 3]) {
      writer.exec(
        `UPDATE book SET price = ${price} WHERE isbn < 'isbn-2'; DELETE FROM book WHERE isbn = 'isbn-${price}'`,
      );
      sidecar.start();
      await sidecar.waitPhase("streaming");
      writer.exec(
        `REPLACE INTO author VALUES (1, 'Borges ${price}'); INSERT INTO author(name) VALUES ('New ${price}')`,
      );
      await sidecar.waitDrained();
      expect(await differences(file.path, database.url)).toEqual([]);
      expect(await sidecar.term()).toBe(0);
    }
  });

  test("status tells every table; the metrics agree", async () => {
    sidecar.start();
    const status = await sidecar.waitPhase("streaming");
    expect(status.route).toMatchObject({ writes: "sqlite", epoch: 0 });
    const tables = status.sources[0]?.tables.map(({ name, copied, quarantined }) => ({
      name,
      copied,
      quarantined,
    }));
    expect(tables).toEqual([
      { name: "author", copied: 3, quarantined: 0 },
      { name: "book", copied: 500, quarantined: 0 },
      { name: "diary", copied: 2, quarantined: 0 },
    ]);
    file.writer().exec("DELETE FROM book WHERE isbn = 'isbn-1'");
    const { sources } = await sidecar.waitDrained();
    const metrics = await sidecar.metrics();
    expect(metrics.get('switchback_lag_changes{source="app"}')).toBe(0);
    expect(metrics.get('switchback_applied_position{source="app"}')).toBe(sources[0]?.applied);
    const printed = await sidecar.cli(["status", "--json"]);
    expect(printed.code, printed.stderr).toBe(0);
    expect(JSON.parse(printed.stdout)).toMatchObject({ phase: "streaming", sources: [{ name: "app" }] });
  });

  test("a second sidecar exits 4 and names the one that holds the target", async () => {
    sidecar.start();
    await sidecar.waitPhase("streaming");
    const second = await sidecar.cli(["run"], { env: { SWITCHBACK_HTTP: "off" }, timeoutMs: 30_000 });
    expect(second.code, second.stderr).toBe(4);
    expect(`${second.stdout}${second.stderr}`).toContain(hostname());
    expect(`${second.stdout}${second.stderr}`).toContain(String(sidecar.pid));
    expect((await sidecar.status())?.phase).toBe("streaming");
  });

  test("several sources share one sidecar, each in its own schema", async () => {
    const other = testFile(
      "CREATE TABLE book(id INTEGER PRIMARY KEY, n INTEGER); INSERT INTO book VALUES (1, 1)",
    );
    const both = await Sidecar.prepare({
      sqlite: file.path,
      url: database.url,
      top: {
        sources: [
          { name: "one", sqlite: file.path, schema: "public" },
          { name: "two", sqlite: other.path, schema: "second" },
        ],
      },
    });
    both.start();
    await both.waitPhase("streaming");
    file.writer().exec("DELETE FROM book WHERE price > 60");
    other.writer().exec("INSERT INTO book VALUES (2, 2)");
    await both.waitDrained();
    expect(await differences(file.path, database.url)).toEqual([]);
    expect(await differences(other.path, database.url, { schema: "second" })).toEqual([]);
    await both.remove();
    other.remove();
  });

  test("a role without superuser, with CREATE on the database and its schema, is enough", async () => {
    const role = `role_${database.name}`;
    await database.query(`CREATE ROLE ${role} LOGIN PASSWORD 'plain'`);
    await database.query(`GRANT CREATE ON DATABASE ${database.name} TO ${role}`);
    await database.query(`GRANT CREATE ON SCHEMA public TO ${role}`);
    const url = new URL(database.url);
    url.username = role;
    url.password = "plain";
    const modest = await Sidecar.streaming({ sqlite: file.path, url: url.href });
    file.writer().exec("DELETE FROM book WHERE price > 60");
    await modest.waitDrained();
    expect(await differences(file.path, database.url)).toEqual([]);
    expect((await modest.cli(["verify"])).code).toBe(0);
    expect(await modest.term()).toBe(0);
    expect((await modest.cli(["teardown"])).code).toBe(0);
    await modest.remove();
    await database.query(`DROP OWNED BY ${role}`);
    await database.query(`DROP ROLE ${role}`);
  });
});

describe("the fence", () => {
  test.each([
    "INSERT INTO author(name) VALUES ('Foreign')",
    "UPDATE book SET price = 0",
    "DELETE FROM diary",
    "TRUNCATE book",
  ])("PostgreSQL refuses others while writes go to SQLite: %s", async (sql) => {
    expect((await sidecar.cli(["backfill"])).code).toBe(0);
    await expect(database.query(sql)).rejects.toMatchObject({
      code: "25006",
      message: "switchback: writes go to SQLite (epoch 0)",
    });
    expect(await differences(file.path, database.url)).toEqual([]);
  });
});

describe("verify", () => {
  test("says equal, with counts, while the application writes, hot rows and all", async () => {
    sidecar.start();
    await sidecar.waitPhase("streaming");
    const writer = python(HOT_ROWS, [file.path]);
    for (let time = 0; time < 3; time++) {
      const { code, stdout, stderr } = await sidecar.cli(["verify", "--json"]);
      expect(code, stdout + stderr).toBe(0);
      const answer = JSON.parse(stdout);
      expect(answer.equal).toBe(true);
      expect(answer.tables).toContainEqual(
        expect.objectContaining({ name: "author", source: 3, target: 3, missing: 0, extra: 0, different: 0 }),
      );
    }
    const [made] = await writer.finish();
    expect(Number(made)).toBeGreaterThan(100);
  });

  test("notices changed, missing and extra rows, names them, and --repair repairs them", async () => {
    expect((await sidecar.cli(["backfill"])).code).toBe(0);
    await tamper("UPDATE book SET title = 'forged' WHERE isbn = 'isbn-7'");
    await tamper("DELETE FROM author WHERE id = 2");
    await tamper("INSERT INTO diary VALUES ('invented', 999)");
    const { code, stdout } = await sidecar.cli(["verify", "--json"]);
    expect(code).toBe(1);
    const answer = JSON.parse(stdout);
    expect(answer.equal).toBe(false);
    expect(answer.tables).toEqual(
      expect.arrayContaining([
        expect.objectContaining({ name: "author", missing: 1, extra: 0, different: 0 }),
        expect.objectContaining({ name: "book", missing: 0, extra: 0, different: 1 }),
        expect.objectContaining({ name: "diary", missing: 0, extra: 1, different: 0 }),
      ]),
    );
    expect(JSON.stringify(answer)).toContain("isbn-7");
    expect((await sidecar.cli(["verify", "--table", "author", "--json"])).code).toBe(1);
    const repaired = await sidecar.cli(["verify", "--repair", "--json"]);
    expect(repaired.stdout).not.toBe("");
    expect(await differences(file.path, database.url)).toEqual([]);
    expect((await sidecar.cli(["verify"])).code).toBe(0);
  });

  test("repairs beside a running sidecar as well", async () => {
    sidecar.start();
    await sidecar.waitPhase("streaming");
    await tamper("DELETE FROM book WHERE isbn = 'isbn-9'");
    expect((await sidecar.cli(["verify"])).code).toBe(1);
    await sidecar.cli(["verify", "--repair"]);
    expect(await differences(file.path, database.url)).toEqual([]);
  });
});

describe("teardown", () => {
  test("removes everything of ours from both stores and keeps the data", async () => {
    sidecar.start();
    await sidecar.waitPhase("streaming");
    expect(await sidecar.term()).toBe(0);
    const torn = await sidecar.cli(["teardown"]);
    expect(torn.code, torn.stderr).toBe(0);
    const left = file
      .writer()
      .prepare("SELECT name FROM sqlite_schema WHERE name LIKE '%switchback%' OR sql LIKE '%switchback%'")
      .all();
    expect(left).toEqual([]);
    expect(await database.query("SELECT 1 FROM pg_namespace WHERE nspname = 'switchback'")).toEqual([]);
    expect(await database.query("SELECT tgname FROM pg_trigger WHERE tgname LIKE 'switchback%'")).toEqual([]);
    expect(await database.query("SELECT proname FROM pg_proc WHERE prosrc LIKE '%switchback%'")).toEqual([]);
    expect(await differences(file.path, database.url)).toEqual([]);
    file.writer().exec("DELETE FROM book WHERE isbn = 'isbn-1'");
    await database.query("DELETE FROM book WHERE isbn = 'isbn-1'");
  });

  test("verify and teardown before any backfill are refused or have nothing to do, in one line", async () => {
    const verify = await cli(["verify", "--sqlite", file.path, "--postgres", database.url]);
    expect(verify.code).toBe(4);
    expect(verify.stderr).not.toMatch(/\n\s+at /);
    expect([0, 4]).toContain(
      (await cli(["teardown", "--sqlite", file.path, "--postgres", database.url])).code,
    );
  });
});
