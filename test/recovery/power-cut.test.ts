// The power cut itself (test/support/power.c): what was synchronised is there afterwards and nothing else is, for
// Python's SQLite and for the one that the sidecar has in Node. And the flag, which needs no more than this.
import { spawnSync } from "node:child_process";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { expect, test } from "vitest";
import { Power } from "../support/power.js";
import { temporaryFolder } from "../support/scratch.js";
import { pythonNow, testFile } from "../support/sqlite.js";

const STATEMENTS = (synchronous: string) => [
  `PRAGMA synchronous = ${synchronous}`,
  "INSERT INTO entry VALUES (1)",
  "INSERT INTO entry VALUES (2)",
];

/** Each ends like a killed process: nothing is closed. */
const PYTHON = `
import os, sqlite3, sys
db = sqlite3.connect(sys.argv[1], isolation_level=None)
for statement in sys.argv[2:]: db.execute(statement)
os._exit(0)
`;
const NODE = `
const [, file, ...statements] = process.argv;
const db = new (require(${JSON.stringify(createRequire(import.meta.url).resolve("better-sqlite3"))}))(file);
for (const statement of statements) db.exec(statement);
process.kill(process.pid, "SIGKILL");
`;
const PROGRAMS = { python3: ["-c", PYTHON], [process.execPath]: ["-e", NODE] };

test.each([
  ["wal", "NORMAL", 0],
  ["wal", "FULL", 2],
  // The journal's removal is the commit, and FULL does not wait for it.
  ["delete", "FULL", 1],
  ["delete", "EXTRA", 2],
] as const)("journal mode %s, synchronous %s: %i of 2 commits survive", (journal, synchronous, kept) => {
  for (const [program, args] of Object.entries(PROGRAMS)) {
    const file = testFile("CREATE TABLE entry(id INTEGER PRIMARY KEY)", journal);
    const power = new Power(file.path);
    try {
      const { stderr } = spawnSync(program, [...args, file.path, ...STATEMENTS(synchronous)], {
        env: { ...process.env, ...power.environment },
        encoding: "utf8",
      });
      expect(stderr).toBe("");
      const count = () =>
        Number(
          pythonNow(
            "import sqlite3, sys; print(sqlite3.connect(sys.argv[1]).execute('SELECT count(*) FROM entry').fetchone()[0])",
            [file.path],
          ),
        );
      power.cut();
      expect(count(), program).toBe(kept);
    } finally {
      power.remove();
      file.remove();
    }
  }
});

test("a flag is on the disk before it takes the old one's place", () => {
  const place = temporaryFolder();
  const flag = join(place.folder, "flag");
  writeFileSync(flag, "sqlite\n");
  const power = new Power(flag);
  try {
    const module = new URL("../../dist/cutover/flag-file.js", import.meta.url).href;
    const program = `import { writeFlag } from "${module}"; writeFlag(process.argv[1], "postgres");`;
    const { stderr } = spawnSync(process.execPath, ["--input-type=module", "-e", program, flag], {
      env: { ...process.env, ...power.environment, POWER_ENDINGS: ".tmp" },
      encoding: "utf8",
    });
    expect(stderr).toBe("");
    const shadow = power.environment.POWER_SHADOW ?? "";
    const kept = readdirSync(shadow).filter((name) => name.endsWith(".tmp"));
    expect(kept.map((name) => readFileSync(join(shadow, name), "utf8"))).toEqual(["postgres\n"]);
  } finally {
    power.remove();
    place.remove();
  }
});
