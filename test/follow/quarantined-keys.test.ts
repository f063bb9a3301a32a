// The key texts of quarantined rows, read back: rows under keys of every kind are refused, and written once nothing
// refuses them. Where the key cannot be read back exactly, the row stays as it is.
import { pino } from "pino";
import { expect, test } from "vitest";
import { Reconsideration } from "#switchback/sidecar/retry-quarantined.js";
import { prepareCopy } from "../support/copying.js";
import { differences } from "../support/rows.js";
import { testDatabase } from "../support/servers.js";
import { testFile } from "../support/sqlite.js";

/** SQLite's key columns, PostgreSQL's, and the keys. */
const KINDS: Readonly<Record<string, readonly [string, string, readonly string[]]>> = {
  integer: ["k INTEGER PRIMARY KEY", "k bigint", ["9223372036854775807", "-9223372036854775808", "0", "-1"]],
  real: ["k REAL PRIMARY KEY", "k double precision", ["2.0", "-0.5", "1e300", "5e-324", "1e21", "1e20"]],
  text: [
    "k TEXT PRIMARY KEY",
    "k text",
    ["'a\"b\\'", "'],[1'", "'ü€😀'", "char(10, 9, 1)", "''", '\'{"$blob":"00"}\''],
  ],
  blob: ["k BLOB PRIMARY KEY", "k bytea", ["x'00ff5c22'", "x''"]],
  uuid: [
    "k UUID PRIMARY KEY",
    "k text",
    ["'0F8FAD5B-D9CB-469F-A165-70867728950E'", "'0f8fad5b-d9cb-469f-a165-70867728950e'"],
  ],
};

test("rows under keys of every kind leave quarantine, and only once nothing refuses them", async () => {
  const tables = Object.entries(KINDS);
  const file = testFile(
    `${tables.map(([name, [column, , keys]]) => `CREATE TABLE "${name}" (${column}, v TEXT);${keys.map((key) => `INSERT INTO "${name}" VALUES (${key}, 'bad');`).join("")}`).join("\n")}
     CREATE TABLE pairs (a TEXT, b INTEGER, v TEXT, PRIMARY KEY (a, b)); INSERT INTO pairs VALUES ('a,1]', 1, 'bad'), ('a', 2, 'bad')`,
  );
  const database = await testDatabase(18);
  const check = "v text CONSTRAINT good CHECK (v <> 'bad')";
  const ddl = [
    ...tables.map(([name, [, column]]) => `CREATE TABLE "${name}" (${column} PRIMARY KEY, ${check})`),
    `CREATE TABLE pairs (a text, b bigint, ${check}, PRIMARY KEY (a, b))`,
  ];
  const target = ddl.join(";");
  const copying = await prepareCopy({
    file: file.path,
    url: database.url,
    workers: 1,
    rowsPerRange: 100,
    target,
  });
  try {
    const { signal } = new AbortController();
    await copying.link.copy(copying.source, copying.target, signal);
    const total = tables.reduce((sum, [, [, , keys]]) => sum + keys.length, 2);
    const kept = () =>
      database.query("SELECT table_name, key, since::text FROM switchback.quarantine ORDER BY 1, 2");
    const before = await kept();
    expect(before).toHaveLength(total);
    const again = () =>
      new Reconsideration("app", copying.link, copying.target, pino({ level: "silent" })).all(signal);
    await again();
    expect(await kept()).toEqual(before);
    for (const name of [...Object.keys(KINDS), "pairs"])
      await database.query(`ALTER TABLE "${name}" DROP CONSTRAINT good`);
    // What is no key of the table stays as it is.
    const odd = ['["text"]', "[1", "[?]", "[1,2]", "nothing"];
    for (const key of odd)
      await database.query(
        "INSERT INTO switchback.quarantine (source, table_name, key, reason) VALUES ('app', 'integer', $1, 'odd')",
        [key],
      );
    await again();
    expect((await kept()).map(({ key }) => key).sort()).toEqual([...odd].sort());
    expect(await differences(file.path, database.url)).toEqual([]);
    expect(
      [...copying.held.tables.values()].map(({ quarantined }) => quarantined).every((n) => n === 0),
    ).toBe(true);
  } finally {
    await copying.close();
    await database.drop();
    file.remove();
  }
});
