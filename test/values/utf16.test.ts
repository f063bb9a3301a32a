// Files whose text is UTF-16: written by Python, copied, followed, moved to PostgreSQL and brought back, with every
// value compared by the bytes that the file stores.
import { afterEach, beforeEach, expect, test } from "vitest";
import { Sidecar } from "../support/cli.js";
import { drained, move, verify } from "../support/flips.js";
import { type TestDatabase, testDatabase } from "../support/servers.js";
import { pythonNow, type TestFile, testFile } from "../support/sqlite.js";

const TEXTS = ["ab", "慢慢", "aé", "😀", "a😀\u{10ffff}b", "\ufeffa", "\ufeff", '",\n\\.', ""];
/** What no UTF-8 interface can write: SQLite would put U+FFFD in the place of each. */
const ODD = ["\ufffea", "a\uffff"];
const BAD = ["a\ud83db", "\ude00b", "a\ud800", "a\0b"];

const SCHEMA = `
  CREATE TABLE note(id INTEGER PRIMARY KEY, body TEXT, raw, mark VARCHAR(40) UNIQUE);
  CREATE TABLE word(k TEXT PRIMARY KEY, v TEXT) WITHOUT ROWID;
  CREATE TABLE pair(a TEXT NOT NULL, b NOT NULL, v TEXT, PRIMARY KEY (a, b));`;

const WRITER = `
import json, sqlite3, sys
path, encoding, task = sys.argv[1:4]
db = sqlite3.connect(path, isolation_level=None)
if task == "create":
    db.execute("PRAGMA encoding = '%s'" % encoding)
    db.execute("PRAGMA journal_mode = WAL")
    db.executescript(sys.argv[4])
if task == "write":
    texts, first = json.loads(sys.argv[4]), int(sys.argv[5])
    db.execute("BEGIN")
    for n, t in enumerate(texts, first):
        db.execute("INSERT INTO note VALUES (?, ?, ?, ?)", (n, t, t, "%d%s" % (n, t)))
        k = t + ("" if n < 100 else str(n))
        db.execute("INSERT INTO word VALUES (?, ?)", (k, t))
        db.execute("INSERT INTO pair VALUES (?, ?, ?)", (k, t, n))
    db.execute("COMMIT")
if task == "dump":
    assert db.execute("PRAGMA encoding").fetchone()[0] == encoding
    for table, columns in (("note", "id body raw mark"), ("word", "k v"), ("pair", "a b v")):
        list = ", ".join("typeof(%s), hex(CAST(%s AS BLOB))" % (c, c) for c in columns.split())
        for line in sorted(str(row) for row in db.execute("SELECT %s FROM %s" % (list, table))): print(table, line)
`;

let file: TestFile;
let database: TestDatabase;
let sidecar: Sidecar;

beforeEach(async () => {
  file = testFile("", "delete");
  database = await testDatabase(18);
});
afterEach(async () => {
  await sidecar.remove();
  await database.drop();
  file.remove();
});

const write = (encoding: string, ...args: readonly string[]) =>
  pythonNow(WRITER.trim(), [file.path, encoding, ...args])
    .split("\n")
    .filter((line) => line !== "");

/** Writes text by its UTF-16, as applications do that bind text so. */
function writeUnits(
  encoding: string,
  texts: readonly string[],
  first: number,
  tables: readonly string[],
): void {
  const writer = file.writer();
  const exact = (text: string) => {
    const bytes = Buffer.from(text, "utf16le");
    return encoding === "UTF-16be" ? bytes.swap16() : bytes;
  };
  for (const [i, text] of texts.entries()) {
    const n = first + i;
    for (const table of tables) {
      const last = table === "note" ? exact(`${n}${text}`) : Buffer.from("");
      const values =
        table === "note" ? "(@n, CAST(@t AS TEXT), CAST(@t AS TEXT), CAST(@last AS TEXT))" : null;
      const others =
        table === "word"
          ? "(CAST(@t AS TEXT), @n || @last)"
          : "(CAST(@t AS TEXT), CAST(@t AS TEXT), @n || @last)";
      writer.prepare(`INSERT INTO ${table} VALUES ${values ?? others}`).run({ n, t: exact(text), last });
    }
  }
}

test.each(["UTF-16le", "UTF-16be"])("%s: there and back, byte for byte", async (encoding) => {
  write(encoding, "create", SCHEMA);
  write(encoding, "write", JSON.stringify(TEXTS), "1");
  writeUnits(encoding, ODD, 51, ["note", "word", "pair"]);
  writeUnits(encoding, BAD, 901, ["note", "word"]);
  sidecar = await Sidecar.prepare({ sqlite: file.path, url: database.url });
  sidecar.start();
  const copied = await sidecar.waitPhase("streaming");
  const held = (status: typeof copied) =>
    Object.fromEntries((status.sources[0]?.tables ?? []).map((table) => [table.name, table.quarantined]));
  expect(held(copied)).toEqual({ note: 4, word: 4, pair: 0 });
  const client = await database.client();
  const bodies = async () =>
    (await client.query<{ body: string }>("SELECT body FROM note WHERE id < 100 ORDER BY id")).rows.map(
      ({ body }) => body,
    );
  expect(await bodies()).toEqual([...TEXTS, ...ODD]);
  const { rows } = await client.query<{ reason: string }>(
    "SELECT DISTINCT reason FROM switchback.quarantine ORDER BY reason",
  );
  expect(rows.map(({ reason }) => reason.replace(/.*(NUL|UTF-16).*/, "$1"))).toEqual(
    expect.arrayContaining(["NUL", "UTF-16"]),
  );

  // Followed in a narrow window; then what cannot be held is taken away.
  write(encoding, "write", JSON.stringify(TEXTS), "101");
  const writer = file.writer();
  writer.exec("UPDATE note SET body = body || raw WHERE id < 100; UPDATE word SET k = v || 'x' WHERE k = v");
  await sidecar.waitDrained();
  expect(await bodies()).toEqual([...TEXTS, ...ODD].map((text) => text + text));
  writer.exec("DELETE FROM note WHERE id > 900; DELETE FROM word WHERE v GLOB '90*'");
  expect(held(await sidecar.waitDrained())).toEqual({ note: 0, word: 0, pair: 0 });
  // And in a wide one.
  writer.exec(
    `WITH RECURSIVE n(i) AS (SELECT 1001 UNION ALL SELECT i + 1 FROM n WHERE i < 3500)
     INSERT INTO word SELECT char(24930, 24930) || i, char(128512) || i FROM n`,
  );
  await sidecar.waitDrained();
  await verify(sidecar);
  expect((await client.query("SELECT v FROM word WHERE k = '慢慢3500'")).rows).toEqual([{ v: "😀3500" }]);

  // One character of one value, changed behind everybody's back.
  await client.query("SET session_replication_role = replica");
  await client.query("UPDATE pair SET v = v || ' ' WHERE a = '慢慢'");
  await client.query("RESET session_replication_role");
  const told = await sidecar.cli(["verify", "--json"]);
  expect(told.code).toBe(1);
  expect(JSON.parse(told.stdout).tables).toContainEqual(
    expect.objectContaining({ name: "pair", different: 1, missing: 0, extra: 0 }),
  );
  expect((await sidecar.cli(["verify", "--repair"])).code).toBe(0);

  const before = write(encoding, "dump");
  await move(sidecar, "postgres");
  // Every row is written home, and every value but one stays what it was.
  await client.query("UPDATE note SET raw = raw, mark = mark || '!' WHERE id < 200");
  await client.query("UPDATE word SET v = k || v WHERE k < '慢慢1'");
  await client.query("UPDATE word SET v = substr(v, length(k) + 1) WHERE starts_with(v, k) AND k < '慢慢1'");
  await client.query("UPDATE pair SET a = a || 'y', b = b");
  await client.query("INSERT INTO note VALUES (950, '慢' || chr(65534), '\"慢\"', 'new')");
  await client.query("UPDATE pair SET a = left(a, -1)");
  await drained(sidecar, "postgres");
  await client.query("UPDATE note SET mark = left(mark, -1) WHERE id < 200");
  await client.query("DELETE FROM note WHERE id = 950");
  await drained(sidecar, "postgres");
  await move(sidecar, "sqlite");
  expect(write(encoding, "dump")).toEqual(before);
});
