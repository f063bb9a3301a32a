// Every change of schema in test/support/ddl-operations.ts, beside the triggers alone and beside a sidecar. The
// application's statements succeed, and both stores end equal, in rows and in shape, without an unexpected problem.
// Each operation has a file and a schema of its own; one sidecar follows them all.
import { copyFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import Database from "better-sqlite3";
import { afterAll, beforeAll, expect, test } from "vitest";
import { installSqliteCapture, removeCapture, schemaVersion } from "#switchback/sqlite/capture/install.js";
import { takeCaptureOff } from "#switchback/sqlite/capture/off.js";
import { openSqlite } from "#switchback/sqlite/connection.js";
import { readSchema } from "#switchback/sqlite/schema.js";
import { cli, Sidecar } from "../support/cli.js";
import { OPERATIONS, type Operation, schemaOf } from "../support/ddl-operations.js";
import { effort } from "../support/effort.js";
import { differences } from "../support/rows.js";
import { type TestDatabase, testDatabase } from "../support/servers.js";
import { openWriter, pythonNow, type TestFile, testFile } from "../support/sqlite.js";

/** Runs pairs of a file and its steps, with Python's SQLite. */
const RUN = `
import json, sqlite3, sys
for path, steps in json.loads(sys.argv[1]):
    db = sqlite3.connect(path, isolation_level=None, timeout=30)
    for step in steps:
        try: db.executescript(step)
        except sqlite3.Error as error: print(path, step, "->", error)
    db.close()
`;

const SHAPE = `
  SELECT format('%s.%s %s %s%s default=%s %s%s', n.nspname, c.relname, a.attname,
                format_type(a.atttypid, a.atttypmod), CASE WHEN a.attnotnull THEN ' not null' END,
                pg_get_expr(d.adbin, d.adrelid), a.attidentity, a.attgenerated) AS line
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace AND n.nspname LIKE 'op%'
    JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
    LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
   WHERE c.relkind = 'r'
  UNION ALL
  SELECT format('%s %s %s', conrelid::regclass, conname, pg_get_constraintdef(oid)) FROM pg_constraint
   WHERE connamespace IN (SELECT oid FROM pg_namespace WHERE nspname LIKE 'op%') AND contype <> 'n'
  UNION ALL
  SELECT indexdef FROM pg_indexes WHERE schemaname LIKE 'op%'
  ORDER BY 1`;

/** Beside the sidecar `npm test` runs every second one, and those that need exec. */
const chosen = OPERATIONS.filter(({ exec }, i) => exec || i % effort(2, 1) === 0);

let database: TestDatabase;
let fresh: TestDatabase;
let files: readonly { readonly operation: Operation; readonly schema: string; readonly file: TestFile }[] =
  [];

beforeAll(async () => {
  [database, fresh] = [await testDatabase(18), await testDatabase(18)];
  files = chosen.map((operation, i) => ({
    operation,
    schema: `op${i}`,
    file: testFile(schemaOf(operation)),
  }));
});
afterAll(async () => {
  for (const { file } of files) file.remove();
  await Promise.all([database.drop(), fresh.drop()]);
});

test.each(OPERATIONS.map((operation) => [operation.name, operation] as const))(
  "beside the triggers alone: %s",
  (_, operation) => {
    const file = testFile(schemaOf(operation));
    const db = openSqlite(file.path, { readonly: false });
    try {
      installSqliteCapture(db, readSchema(db).tables, schemaVersion(db));
      if (operation.exec) db.transaction(() => takeCaptureOff(db, true))();
      const writer = openWriter(file.path);
      for (const step of operation.steps) writer.exec(step);
      writer.close();
      // What is captured then is whole again.
      installSqliteCapture(db, readSchema(db).tables, schemaVersion(db));
    } finally {
      db.close();
      file.remove();
    }
  },
);

test("beside a sidecar that follows all of them", async () => {
  const sources = files.map(({ schema, file }) => ({ name: schema, sqlite: file.path, schema }));
  const sidecar = await Sidecar.prepare({ sqlite: "", url: database.url, top: { sources } });
  try {
    sidecar.start();
    await sidecar.waitPhase("streaming", 120_000);
    const steps = (exec: boolean) =>
      JSON.stringify(
        files
          .filter(({ operation }) => (operation.exec ?? false) === exec)
          .map(({ file, operation }) => [file.path, operation.steps]),
      );
    expect(pythonNow(RUN, [steps(false)])).toBe("");
    const under = ["exec", "--config", sidecar.config, "--", "python3", "-c", RUN, steps(true)];
    const executed = await cli(under, { cwd: sidecar.folder, timeoutMs: 120_000 });
    expect([executed.code, executed.stdout], executed.stderr).toEqual([0, ""]);

    let unequal: string[] = ["not compared yet"];
    for (const giveUp = Date.now() + 120_000; unequal.length > 0 && Date.now() < giveUp; await sleep(100)) {
      await sidecar.waitDrained("sqlite", 120_000);
      unequal = [];
      for (const { operation, schema, file } of files)
        for (const line of await differences(file.path, database.url, { schema }))
          unequal.push(`${operation.name}: ${line}`);
    }
    expect(unequal, sidecar.log().slice(-1500)).toEqual([]);
    const { problems } = await sidecar.waitPhase("streaming");
    const named = (problems as { source: string; code: string }[]).map(
      ({ source, code }) => `${source} ${code}`,
    );
    const expected = files.flatMap(({ operation, schema }) =>
      (operation.problems ?? []).map((code) => `${schema} ${code}`),
    );
    expect(named.sort()).toEqual(expected.sort());
    const verified = await sidecar.cli(["verify"], { timeoutMs: 120_000 });
    expect(verified.code, verified.stdout + verified.stderr).toBe(0);
    expect(await sidecar.term()).toBe(0);
  } finally {
    await sidecar.remove();
  }
  await expectFreshShapes();
}, 300_000);

/** Every schema is as a new copy of the same files makes it, but for copies of dropped tables. */
async function expectFreshShapes(): Promise<void> {
  const copies = files.map(({ schema, file }) => {
    const copy = join(file.folder, "copy.db");
    const db = new Database(file.path);
    db.pragma("wal_checkpoint(TRUNCATE)");
    copyFileSync(file.path, copy);
    db.close();
    const bare = new Database(copy);
    removeCapture(bare);
    bare.close();
    return { name: schema, sqlite: copy, schema };
  });
  const other = await Sidecar.prepare({ sqlite: "", url: fresh.url, top: { sources: copies } });
  try {
    const made = await other.cli(["backfill"], { timeoutMs: 120_000 });
    expect(made.code, made.stderr).toBe(0);
    for (const { operation, schema } of files.filter((one) => one.operation.problems))
      for (const table of operation.tables)
        await database
          .query(`DROP TABLE IF EXISTS ${schema}.${table} CASCADE`)
          .then(() => fresh.query(`DROP TABLE IF EXISTS ${schema}.${table} CASCADE`));
    expect(await database.query(SHAPE)).toEqual(await fresh.query(SHAPE));
  } finally {
    await other.remove();
  }
}
