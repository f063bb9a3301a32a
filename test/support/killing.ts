// A sidecar that is killed with SIGKILL at random moments, first while it copies history and then while it tails,
// under a writer. It is used with few kills by the tests and with many by the soak.
import { setTimeout as sleep } from "node:timers/promises";
import { Sidecar } from "./cli.js";
import { differences } from "./rows.js";
import { type TestDatabase, testDatabase } from "./servers.js";
import { python, testFile } from "./sqlite.js";

/** Wide enough that copying it takes longer than a process takes to start. */
const HISTORY_ROWS = 300_000;

const SCHEMA = `
  CREATE TABLE history(id INTEGER PRIMARY KEY, a TEXT, b REAL, c TEXT, d BLOB, e INTEGER);
  CREATE TABLE live(id INTEGER PRIMARY KEY, k TEXT UNIQUE, v TEXT);
  WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ${HISTORY_ROWS})
    INSERT INTO history SELECT i, 'name ' || i, i / 7.0, hex(randomblob(60)), randomblob(16), i % 100 FROM n;
  WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 20000)
    INSERT INTO live SELECT i, 'k' || i, 'v' FROM n;`;

const WRITER = `
import random, select, sqlite3, sys, time
db = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=20)
db.execute("PRAGMA synchronous = NORMAL")
chance, made = random.Random(int(sys.argv[2])), 0
while not select.select([sys.stdin], [], [], 0)[0]:
    db.execute("BEGIN IMMEDIATE")
    for _ in range(chance.choice([1, 1, 4, 40])):
        row, other = chance.randrange(1, 25000), chance.randrange(1, 25000)
        act = chance.randrange(4)
        if act == 0: db.execute("INSERT OR REPLACE INTO live VALUES (?, ?, ?)", (row, "k%d" % other, "made %d" % made))
        elif act == 1: db.execute("UPDATE live SET v = v || '.' WHERE id = ?", (row,))
        elif act == 2: db.execute("UPDATE OR REPLACE live SET k = ? WHERE id = ?", ("k%d" % other, row))
        else: db.execute("DELETE FROM live WHERE id = ?", (row,))
        made += 1
    db.execute("COMMIT")
    time.sleep(0.001)
print(made)
`;

export interface KillingResult {
  readonly differences: string[];
  /** How many kills found history copied in part. */
  readonly partial: number;
  /** Rows of history that a kill had left in place and that were written again afterwards. */
  readonly copiedTwice: number;
  readonly killed: { readonly copying: number; readonly tailing: number };
}

/** `kills` moments, the first `copying` of them aimed at the backfill as long as it lasts. */
export async function runKilling(
  kills: number,
  copying: number,
  chance: () => number,
): Promise<KillingResult> {
  const file = testFile(SCHEMA);
  const database = await testDatabase(18);
  const writer = python(WRITER, [file.path, "5"]);
  const top = { backfill: { workers: 2 } };
  const sidecar = await Sidecar.prepare({ sqlite: file.path, url: database.url, top });
  try {
    const result = await killAgainAndAgain(database, sidecar, { kills, copying, chance });
    await writer.finish();
    await sidecar.waitDrained("sqlite", 60_000);
    return { ...result, differences: await differences(file.path, database.url) };
  } finally {
    writer.kill();
    await sidecar.remove();
    await database.drop();
    file.remove();
  }
}

async function killAgainAndAgain(
  database: TestDatabase,
  sidecar: Sidecar,
  { kills, copying, chance }: { kills: number; copying: number; chance: () => number },
): Promise<Omit<KillingResult, "differences">> {
  const killed = { copying: 0, tailing: 0 };
  let partial = 0;
  let kept = new Map<string, string>();
  let copiedTwice = 0;
  const look = async () => {
    const now = await historyIn(database);
    for (const [id, version] of kept) if (now.get(id) !== version) copiedTwice += 1;
    if (now.size > 0 && now.size < HISTORY_ROWS) partial += 1;
    kept = now;
  };
  for (let n = 0; n < kills; n++) {
    sidecar.start();
    if (n < copying) {
      await sidecar.waitFor("a copy under way", ({ phase, sources }) => {
        return (
          phase === "streaming" || sources.some((source) => source.tables.some((table) => table.copied > 0))
        );
      });
      await sleep(chance() * 250);
    } else {
      await sidecar.waitPhase("streaming", 60_000);
      await sleep(chance() * 700);
    }
    const phase = (await sidecar.status())?.phase;
    await sidecar.kill9();
    killed[phase === "streaming" ? "tailing" : "copying"] += 1;
    await look();
  }
  sidecar.start();
  await sidecar.waitPhase("streaming", 60_000);
  await look();
  return { partial, copiedTwice, killed };
}

/** Which transaction wrote each row of history; no one changes that table, so every row must keep its first. */
async function historyIn(database: TestDatabase): Promise<Map<string, string>> {
  const [exists] = await database.query("SELECT to_regclass('history') IS NOT NULL AS made");
  if (exists?.made !== true) return new Map();
  const rows = await database.query("SELECT id::text AS id, xmin::text AS version FROM history");
  return new Map(rows.map((row) => [String(row.id), String(row.version)]));
}
