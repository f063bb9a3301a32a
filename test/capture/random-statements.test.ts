// Capture beside a twin: random tables with every kind of unique index, the application's own triggers made before
// and after ours, TEMP triggers, and random statements in every conflict form. Every row that a statement changed has
// its key in the change log, and no statement ends otherwise than in a file without capture.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { installSqliteCapture, schemaVersion } from "#switchback/sqlite/capture/install.js";
import { openSqlite } from "#switchback/sqlite/connection.js";
import { readSchema } from "#switchback/sqlite/schema.js";
import { effort } from "../support/effort.js";
import { temporaryFolder } from "../support/scratch.js";
import { pythonNow } from "../support/sqlite.js";

const SCRIPT = readFileSync(new URL("../support/capture-twin.py", import.meta.url), "utf8");
const SEED = process.env.SWITCHBACK_SEED ?? String(Math.floor(Math.random() * 1_000_000));
const CASES = effort(15, 40);
const STATEMENTS = 40;

test(`every changed key is logged, and nothing else changes (seed ${SEED})`, () => {
  const { folder, remove } = temporaryFolder();
  try {
    const step = (name: string, ...more: readonly string[]) =>
      pythonNow(SCRIPT, [name, folder, SEED, String(CASES), ...more]);
    const capture = () => {
      for (let n = 0; n < CASES; n++) {
        const db = openSqlite(join(folder, `${n}.db`), { readonly: false });
        db.pragma("synchronous = OFF");
        installSqliteCapture(db, readSchema(db).tables, schemaVersion(db));
        db.close();
      }
    };
    step("create");
    capture();
    step("more");
    capture();
    expect(step("run", String(STATEMENTS)).trimEnd()).toBe("findings: 0");
  } finally {
    remove();
  }
});
