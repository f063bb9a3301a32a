// Capture's triggers survive a migration that drops an index and then a column that it used, in one transaction. What
// the remaining indexes evict is still logged. With this SQLite and with Python's.
import { expect, test } from "vitest";
import { installSqliteCapture, schemaVersion } from "#switchback/sqlite/capture/install.js";
import { openSqlite } from "#switchback/sqlite/connection.js";
import { readSchema } from "#switchback/sqlite/schema.js";
import { pythonNow, testFile } from "../support/sqlite.js";

const KEPT = "UNIQUE (kept)";
const FORMS: readonly (readonly [string, string, string, string])[] = [
  [
    "a unique index",
    "id INTEGER PRIMARY KEY, kept, slug TEXT",
    "CREATE UNIQUE INDEX gone ON t(slug COLLATE NOCASE)",
    "t",
  ],
  [
    "a partial index",
    "id INTEGER PRIMARY KEY, kept, slug TEXT, state TEXT NOT NULL DEFAULT 'new'",
    "CREATE UNIQUE INDEX gone ON t(slug) WHERE state IS NOT NULL",
    "t",
  ],
  [
    "an expression index",
    "id INTEGER PRIMARY KEY, kept, slug TEXT, state",
    "CREATE UNIQUE INDEX gone ON t(lower(slug), state || id)",
    "t",
  ],
  ["a table without a key", "kept, slug TEXT", "CREATE UNIQUE INDEX gone ON t(slug)", "t"],
  [
    "a composite key",
    "a, b, kept, slug TEXT, PRIMARY KEY (b, a)",
    "CREATE UNIQUE INDEX gone ON t(slug, a)",
    "t",
  ],
  [
    "a generated column",
    "id INTEGER PRIMARY KEY, kept, slug TEXT NOT NULL DEFAULT 'x', up TEXT AS (upper(slug))",
    "CREATE UNIQUE INDEX gone ON t(up)",
    "t",
  ],
  [
    "a table called new",
    "id INTEGER PRIMARY KEY, kept, slug TEXT",
    "CREATE UNIQUE INDEX gone ON t(slug)",
    "new",
  ],
];

test.each(FORMS)("%s: DROP INDEX and DROP COLUMN in one transaction", (_, columns, index, name) => {
  const named = (text: string) => text.replaceAll(" t(", ` "${name}"(`);
  const file = testFile(`CREATE TABLE "${name}"(${columns}, ${KEPT}); ${named(index)};
    CREATE TABLE other(id INTEGER PRIMARY KEY, v)`);
  const db = openSqlite(file.path, { readonly: false });
  try {
    installSqliteCapture(db, readSchema(db).tables, schemaVersion(db));
    const table = readSchema(db).tables.find((one) => one.name === name);
    const gone = (table?.columns ?? [])
      .filter((column) => /^(slug|state|up)$/.test(column.name))
      .sort((a, b) => Number(b.generated !== "no") - Number(a.generated !== "no"));
    const migration = [
      "DROP INDEX gone",
      ...gone.map((column) => `ALTER TABLE "${name}" DROP COLUMN ${column.name}`),
      "ALTER TABLE other RENAME COLUMN v TO w",
    ];
    const insert = table?.columns.some((column) => column.name === "b") ? "a, b, kept" : "rowid, kept";
    const values = insert.startsWith("a") ? "1, 1, 'k'" : "1, 'k'";
    const replaced = insert.startsWith("a") ? "2, 2, 'k'" : "2, 'k'";
    // Python first, rolled back: it meets the same triggers.
    pythonNow(
      `import sqlite3, sys
db = sqlite3.connect(sys.argv[1], isolation_level=None)
db.execute("BEGIN")
for statement in sys.argv[2:]: db.execute(statement)
db.execute("ROLLBACK")`,
      [file.path, ...migration],
    );
    const writer = file.writer();
    writer.exec(`BEGIN; ${migration.join("; ")}; COMMIT`);
    writer.exec(`INSERT INTO "${name}"(${insert}) VALUES (${values})`);
    const before = db.prepare("SELECT max(seq) FROM _switchback_log").pluck().get();
    writer.exec(`INSERT OR REPLACE INTO "${name}"(${insert}) VALUES (${replaced})`);
    expect(db.prepare(`SELECT count(*) FROM "${name}"`).pluck().get()).toBe(1n);
    const keys = db.prepare("SELECT k1 FROM _switchback_log WHERE seq > ? ORDER BY k1").pluck().all(before);
    expect(keys).toEqual([1n, 2n]);
    // Nothing may have been missed, so that the table is not copied again for it.
    const known = readSchema(db).tables;
    expect(installSqliteCapture(db, known, schemaVersion(db)).fresh).toEqual([]);
  } finally {
    db.close();
    file.remove();
  }
});
