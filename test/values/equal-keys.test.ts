// A key of any type that becomes an equal one, 0 and -0.0 or 1 and 1.0, is one key in both stores, both ways. What an
// earlier version left behind is found and removed.
import { expect, test } from "vitest";
import { Sidecar } from "../support/cli.js";
import { drained, move, verify } from "../support/flips.js";
import { testDatabase } from "../support/servers.js";
import { pythonNow, testFile } from "../support/sqlite.js";
import { dump, values } from "../support/sqlite-copy.js";

const WRITER = `
import sqlite3, sys
db = sqlite3.connect(sys.argv[1], timeout=10)
db.execute("REPLACE INTO s VALUES (-0.0, 'second')")
db.execute("UPDATE s SET k = 1.0 WHERE k = 1")
db.commit()
`;
const NEGATIVE = '{"$real": "-0.0"}';
const [ZERO, MINUS, ONE, REAL_ONE] = ["i0", "r8000000000000000", "i1", "r3ff0000000000000"];

test("one key in both stores, with its exact value, after every change and both ways", async () => {
  const file = testFile("CREATE TABLE s(k PRIMARY KEY, v); INSERT INTO s VALUES (0, 'first'), (1, 'one')");
  const database = await testDatabase(15);
  const sidecar = await Sidecar.streaming({ sqlite: file.path, url: database.url });
  try {
    const copy = async () =>
      (await database.query("SELECT k::text FROM s ORDER BY v DESC")).map(({ k }) => k as string);
    const held = () => dump(file.path, values("s", ["k"], "v DESC"));
    const named = () => file.writer().prepare("SELECT key FROM _switchback_quarantine").pluck().all();
    pythonNow(WRITER.trim(), [file.path]);
    await sidecar.waitDrained();
    expect(await copy()).toEqual([NEGATIVE, "1.0"]);
    await verify(sidecar);
    // As an earlier version left it.
    await database.query(`ALTER TABLE s DISABLE TRIGGER ALL; INSERT INTO s VALUES ('0', '"ghost"');
      ALTER TABLE s ENABLE TRIGGER ALL`);
    expect((await sidecar.cli(["verify"])).code).toBe(1);
    expect((await sidecar.cli(["verify", "--repair"])).code).toBe(0);
    expect(await copy()).toEqual([NEGATIVE, "1.0"]);
    await move(sidecar, "postgres");
    await database.query(
      `UPDATE s SET k = '0' WHERE k = '${NEGATIVE}'; UPDATE s SET k = '1' WHERE k = '1.0'`,
    );
    await drained(sidecar, "postgres");
    expect(held()).toEqual([ZERO, ONE]);
    await database.query(`DELETE FROM s WHERE k = '0'; INSERT INTO s VALUES ('${NEGATIVE}', '"third"')`);
    await database.query(`UPDATE s SET k = '1.0' WHERE k = '1'`);
    await drained(sidecar, "postgres");
    expect(held()).toEqual([MINUS, REAL_ONE]);
    await verify(sidecar);
    // The second row of PostgreSQL's with what is one key to SQLite has no place there, and is named.
    await database.query(`INSERT INTO s VALUES ('0', '"fourth"')`);
    await drained(sidecar, "postgres");
    expect(held()).toEqual([MINUS, REAL_ONE]);
    expect(named()).toEqual(["[0]"]);
    await database.query("DELETE FROM s WHERE k = '0'");
    await drained(sidecar, "postgres");
    expect(held()).toEqual([MINUS, REAL_ONE]);
    await verify(sidecar);
    await move(sidecar, "sqlite");
    pythonNow(
      "import sqlite3, sys; db = sqlite3.connect(sys.argv[1], timeout=10); db.execute('DELETE FROM s WHERE k = 0'); db.commit()",
      [file.path],
    );
    await sidecar.waitDrained();
    expect(await copy()).toEqual(["1.0"]);
    await verify(sidecar);
  } finally {
    await sidecar.remove();
    await database.drop();
    file.remove();
  }
});
