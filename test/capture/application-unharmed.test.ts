// The application comes first. Any commit of ours between the read and the write of a deferred transaction would
// break it. An impatient program with such transactions sees no error while history is copied and changes followed.
import { expect, test } from "vitest";
import { Sidecar } from "../support/cli.js";
import { effort } from "../support/effort.js";
import { differences } from "../support/rows.js";
import { testDatabase } from "../support/servers.js";
import { python, testFile } from "../support/sqlite.js";

const ROWS = 250_000;
const RUN_S = effort(3, 5);

const IMPATIENT = `
import json, sqlite3, sys, time
db = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=float(sys.argv[2]))
end, done, errors = time.time() + ${RUN_S}, 0, []
while time.time() < end:
    try:
        db.execute("BEGIN")
        newest = db.execute("SELECT max(id) FROM t").fetchone()[0]
        time.sleep(0.002)
        db.execute("INSERT INTO t(v) VALUES (?)", ("after %d" % newest,))
        db.execute("UPDATE t SET v = v || '+' WHERE id = ?", (newest,))
        db.execute("COMMIT")
        done += 1
    except sqlite3.Error as error:
        errors.append(str(error))
        if db.in_transaction: db.execute("ROLLBACK")
print(json.dumps({"done": done, "errors": errors[:3], "count": len(errors)}))
`;

test.each([
  { journal: "wal", patienceS: 0 },
  { journal: "delete", patienceS: 0.25 },
] as const)(
  "journal_mode=$journal with a busy timeout of $patienceS s: no error",
  async ({ journal, patienceS }) => {
    const file = testFile(
      `CREATE TABLE t(id INTEGER PRIMARY KEY, v TEXT, pad TEXT);
     WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ${ROWS})
       INSERT INTO t SELECT i, 'v' || i, hex(randomblob(60)) FROM n;`,
      journal,
    );
    const database = await testDatabase(18);
    const sidecar = await Sidecar.prepare({ sqlite: file.path, url: database.url });
    try {
      sidecar.start();
      // Installing the triggers is one commit, which a deferred transaction under way at that instant cannot survive.
      const { phase } = await sidecar.waitFor("a copy under way", ({ phase, sources }) => {
        return phase === "streaming" || (sources[0]?.tables[0]?.copied ?? 0) > 0;
      });
      expect(phase, "the program must meet the backfill").toBe("backfilling");
      const [report] = await python(IMPATIENT, [file.path, String(patienceS)]).finish();
      const { done, errors, count } = JSON.parse(report ?? "{}");
      expect(errors, `${count} errors beside ${done} transactions`).toEqual([]);
      expect(done).toBeGreaterThan(100);
      await sidecar.waitPhase("streaming");
      await sidecar.waitDrained();
      expect(await differences(file.path, database.url)).toEqual([]);
    } finally {
      await sidecar.remove();
      await database.drop();
      file.remove();
    }
  },
);
