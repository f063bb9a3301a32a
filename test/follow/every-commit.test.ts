// Every state that a PostgreSQL reader can see is a state that SQLite had committed. A bank whose sum is constant and
// whose balances follow from the transfers beside them, looked at again and again while money moves.
import { afterAll, beforeAll, expect, test } from "vitest";
import { Sidecar } from "../support/cli.js";
import { differences } from "../support/rows.js";
import { type TestDatabase, testDatabase } from "../support/servers.js";
import { python, type TestFile, testFile } from "../support/sqlite.js";

const ACCOUNTS = 300;
const LOOK_MS = 6_000;

/** Moves money until its input ends: mostly one transfer per transaction, now and then hundreds. */
const BANK = `
import random, select, sqlite3, sys, time
db = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=10)
db.execute("PRAGMA synchronous = NORMAL")
chance, made = random.Random(int(sys.argv[2])), 0
while not select.select([sys.stdin], [], [], 0)[0]:
    db.execute("BEGIN IMMEDIATE")
    for _ in range(chance.choice([1, 1, 1, 2, 5, 300])):
        payer, payee = chance.sample(range(${ACCOUNTS}), 2)
        amount = chance.randrange(100)
        db.execute("UPDATE account SET balance = balance - ? WHERE id = ?", (amount, payer))
        db.execute("INSERT INTO transfer(payer, payee, amount) VALUES (?, ?, ?)", (payer, payee, amount))
        db.execute("UPDATE account SET balance = balance + ? WHERE id = ?", (amount, payee))
        made += 1
    db.execute("COMMIT")
    time.sleep(0.0005)
print(made)
`;

const LOOK = `
  SELECT (SELECT sum(balance) FROM account)::text AS total,
         (SELECT coalesce(max(id), 0) FROM transfer)::int AS newest,
         (SELECT count(*) FROM transfer)::int AS transfers,
         (SELECT count(*) FROM account a
            LEFT JOIN (SELECT id, sum(amount) AS net
                         FROM (SELECT payer AS id, -amount AS amount FROM transfer
                               UNION ALL SELECT payee, amount FROM transfer) AS moves
                        GROUP BY id) AS nets USING (id)
           WHERE a.balance <> 1000 + coalesce(net, 0))::int AS wrong`;

let file: TestFile;
let database: TestDatabase;
let sidecar: Sidecar;

beforeAll(async () => {
  file = testFile(`
    CREATE TABLE account(id INTEGER PRIMARY KEY, balance INTEGER NOT NULL);
    CREATE TABLE transfer(id INTEGER PRIMARY KEY, payer INTEGER, payee INTEGER, amount INTEGER);
    WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < ${ACCOUNTS})
      INSERT INTO account SELECT i, 1000 FROM n;`);
  database = await testDatabase(18);
  sidecar = await Sidecar.streaming({ sqlite: file.path, url: database.url });
});
afterAll(async () => {
  await sidecar?.remove();
  await database?.drop();
  file?.remove();
});

test("a reader sees the sum and every account's net hold at each look, and only later states after earlier ones", async () => {
  const reader = await database.client();
  const bank = python(BANK, [file.path, "11"]);
  const states = new Set<number>();
  let newest = 0;
  for (const end = Date.now() + LOOK_MS; Date.now() < end; ) {
    await reader.query("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY");
    const { rows } = await reader.query<{ total: string; newest: number; transfers: number; wrong: number }>(
      LOOK,
    );
    await reader.query("COMMIT");
    const [look] = rows;
    expect(look).toMatchObject({ total: String(ACCOUNTS * 1000), wrong: 0, transfers: look?.newest });
    expect(look?.newest).toBeGreaterThanOrEqual(newest);
    newest = look?.newest ?? 0;
    states.add(newest);
  }
  const [made] = await bank.finish();
  expect(Number(made)).toBeGreaterThan(0);
  expect(states.size, "distinct states seen").toBeGreaterThan(5);
  await sidecar.waitDrained();
  expect(await differences(file.path, database.url)).toEqual([]);
});
