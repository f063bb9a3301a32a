// What the operator puts on the copy while SQLite has the writes, such as the triggers that the application needs
// after the cutover. None of it ever sees a write of the sidecar's, and all of it works once the application writes
// there.
import { setTimeout as sleep } from "node:timers/promises";
import { afterEach, beforeEach, expect, test } from "vitest";
import { Sidecar } from "../support/cli.js";
import { ask, drained, move, verify } from "../support/flips.js";
import { differences } from "../support/rows.js";
import { type TestDatabase, testDatabase } from "../support/servers.js";
import { type TestFile, testFile } from "../support/sqlite.js";

let file: TestFile;
let database: TestDatabase;
let sidecar: Sidecar | undefined;
let role: string;
let url: string;

beforeEach(async () => {
  file = testFile(`
    CREATE TABLE orders(id INTEGER PRIMARY KEY, v TEXT);
    CREATE TABLE audit(id INTEGER PRIMARY KEY AUTOINCREMENT, orders INTEGER);
    CREATE TABLE counter(name TEXT PRIMARY KEY, n INTEGER); INSERT INTO counter VALUES ('orders', 0);
    CREATE TRIGGER audit_order AFTER INSERT ON orders BEGIN
      INSERT INTO audit(orders) VALUES (NEW.id); UPDATE counter SET n = n + 1 WHERE name = 'orders'; END;
    INSERT INTO orders VALUES (1, 'one');`);
  database = await testDatabase(15);
  role = `owner_${database.name}`;
  await database.query(`CREATE ROLE ${role} LOGIN PASSWORD 'x'`);
  await database.query(`GRANT CREATE, TEMPORARY ON DATABASE ${database.name} TO ${role}`);
  await database.query(`GRANT ALL ON SCHEMA public TO ${role}`);
  url = database.url.replace(/\/\/[^@]+@/, `//${role}:x@`);
});
afterEach(async () => {
  await sidecar?.remove();
  sidecar = undefined;
  await database.query(`DROP OWNED BY ${role} CASCADE`);
  await database.query(`DROP ROLE ${role}`);
  await database.drop();
  file.remove();
});

const said = async (): Promise<string[]> =>
  ((await sidecar?.status())?.problems ?? []).map((p) => {
    const { code, message } = p as { code: string; message: string };
    return `${code} ${message}`;
  });

/** What was made meanwhile may be noted once more after a comparison, which then is too old. */
async function cutover(): Promise<void> {
  const moved = async () => {
    if (!sidecar) return false;
    await verify(sidecar);
    return (await ask(sidecar, "postgres", "3s")).document.flipped;
  };
  await expect.poll(moved, { timeout: 30_000 }).toBe(true);
  await sidecar?.waitPhase("reverse_streaming");
}

const advised = (schema: string) => `
  CREATE FUNCTION audit_order() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    INSERT INTO ${schema}audit (orders) VALUES (NEW.id);
    UPDATE ${schema}counter SET n = n + 1 WHERE name = 'orders';
    RETURN NULL; END $$;
  CREATE TRIGGER audit_order AFTER INSERT ON orders FOR EACH ROW EXECUTE FUNCTION audit_order();
  ALTER TABLE orders ENABLE ALWAYS TRIGGER audit_order;
  CREATE FUNCTION shout() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.v := upper(NEW.v); RETURN NEW; END $$;
  CREATE TRIGGER shout BEFORE INSERT OR UPDATE ON orders FOR EACH ROW EXECUTE FUNCTION shout()`;

test.each([
  ["a plain owner", "names without a schema", ""],
  ["a superuser", "names with a schema", "public."],
])("the sidecar is %s; triggers written as check advises, with %s", async (kind, _, schema) => {
  sidecar = await Sidecar.streaming({ sqlite: file.path, url: kind === "a superuser" ? database.url : url });
  await verify(sidecar);
  await database.query(advised(schema));
  file
    .writer()
    .exec("INSERT INTO orders VALUES (2, 'two'), (3, 'three'); UPDATE orders SET v = 'uno' WHERE id = 1");
  await expect
    .poll(said, { timeout: 20_000 })
    .toContainEqual(expect.stringMatching(/^TARGET_DISTURBED .*audit_order/));
  file.writer().exec("INSERT INTO orders VALUES (4, 'four')");
  await sidecar.waitDrained();
  expect(await differences(file.path, database.url)).toEqual([]);
  expect(await database.query("SELECT count(*)::int AS n FROM switchback.quarantine")).toEqual([{ n: 0 }]);
  const awake =
    "SELECT tgname AS name FROM pg_trigger WHERE tgrelid = 'orders'::regclass AND tgname !~ '^switchback' AND tgenabled <> 'D' ORDER BY 1";
  expect(await database.query(awake)).toEqual([]);
  // The comparison from before says nothing of the time since.
  expect((await ask(sidecar, "postgres", "3s")).document.reason).toMatch(/audit_order|shout/);
  await verify(sidecar);
  await move(sidecar, "postgres");
  expect(await database.query(awake)).toEqual([{ name: "audit_order" }, { name: "shout" }]);
  const application = await database.client();
  await application.query("SET search_path = public; INSERT INTO orders VALUES (5, 'five')");
  await drained(sidecar, "postgres");
  expect(
    await database.query(
      "SELECT v, (SELECT count(*)::int FROM audit) AS audit, (SELECT n::int FROM counter) AS n FROM orders WHERE id = 5",
    ),
  ).toEqual([{ v: "FIVE", audit: 5, n: 5 }]);
  await verify(sidecar);
  await move(sidecar, "sqlite");
  expect(await database.query(awake)).toEqual([]);
  file.writer().exec("INSERT INTO orders VALUES (6, 'six')");
  await sidecar.waitDrained();
  expect(await differences(file.path, database.url)).toEqual([]);
  expect(await said()).toEqual([]);
});

test("a rule is named until it is dropped, and no row is missed; a foreign key rests", async () => {
  sidecar = await Sidecar.streaming({ sqlite: file.path, url });
  file.writer().exec("INSERT INTO orders VALUES (2, 'two')");
  await sidecar.waitDrained();
  await database.query("CREATE RULE nothing AS ON INSERT TO orders DO INSTEAD NOTHING");
  file.writer().exec("INSERT INTO orders VALUES (3, 'three')");
  await expect
    .poll(said, { timeout: 20_000 })
    .toContainEqual(expect.stringMatching(/^TARGET_DISTURBED .*rule nothing/));
  await database.query("DROP RULE nothing ON orders");
  await database.query(
    "CREATE TABLE line (orders bigint REFERENCES orders ON DELETE CASCADE); INSERT INTO line VALUES (1)",
  );
  await database.query(`ALTER TABLE line OWNER TO ${role}`);
  file.writer().exec("INSERT INTO orders VALUES (4, 'four'); DELETE FROM orders WHERE id = 1");
  await expect
    .poll(said, { timeout: 20_000 })
    .toContainEqual(expect.stringMatching(/^TARGET_DISTURBED .*line_orders_fkey/));
  await sidecar.waitDrained();
  expect(await differences(file.path, database.url)).toEqual([]);
  expect(await database.query("SELECT orders::int FROM line")).toEqual([{ orders: 1 }]);
});

test("an adopted table with a rule is a blocker; a trigger dropped while it rests keeps no one from the cutover", async () => {
  await database.query(`CREATE TABLE orders (id bigint PRIMARY KEY, v text);
    CREATE TABLE audit (id bigint PRIMARY KEY, orders bigint); CREATE TABLE counter (name text PRIMARY KEY, n bigint);
    ${advised("")}; CREATE RULE gone AS ON DELETE TO orders DO INSTEAD NOTHING`);
  sidecar = await Sidecar.prepare({ sqlite: file.path, url: database.url, source: { target: "adopt" } });
  const { findings } = JSON.parse((await sidecar.cli(["check", "--json"])).stdout);
  expect(findings).toContainEqual(
    expect.objectContaining({
      severity: "blocker",
      code: "target-rules",
      message: expect.stringContaining("gone"),
    }),
  );
  await database.query("DROP RULE gone ON orders");
  sidecar.start();
  await sidecar.waitPhase("streaming");
  await database.query("DROP TRIGGER shout ON orders");
  await verify(sidecar);
  await move(sidecar, "postgres");
});

test("a revert does not begin with what the comparison before the cutover settled", async () => {
  sidecar = await Sidecar.streaming({ sqlite: file.path, url });
  await database.query(advised(""));
  await expect
    .poll(said, { timeout: 20_000 })
    .toContainEqual(expect.stringMatching(/^TARGET_DISTURBED .*audit_order/));
  // Before the sidecar reads once more what is settled.
  await cutover();
  await database.query("DROP FUNCTION audit_order() CASCADE; DROP FUNCTION shout() CASCADE");
  const seen = new Set<string>();
  let watching = true;
  const watched = (async () => {
    for (; watching; await sleep(10)) for (const line of await said()) seen.add(line);
  })();
  await move(sidecar, "sqlite");
  watching = false;
  await watched;
  expect([...seen]).toEqual([]);
});

test("a table with a reference to the copy that is dropped while the reference rests keeps no one from the cutover", async () => {
  sidecar = await Sidecar.streaming({ sqlite: file.path, url });
  for (const line of ["kept", "dropped"]) {
    await database.query(
      `CREATE TABLE ${line} (orders bigint REFERENCES orders, later bigint REFERENCES orders)`,
    );
    await database.query(`ALTER TABLE ${line} OWNER TO ${role}`);
  }
  await expect
    .poll(said, { timeout: 20_000 })
    .toContainEqual(expect.stringMatching(/^TARGET_DISTURBED .*dropped_orders_fkey/));
  await database.query("DROP TABLE dropped; ALTER TABLE kept DROP COLUMN later");
  await cutover();
  const left =
    "SELECT conname AS name FROM pg_constraint WHERE contype = 'f' AND conrelid = 'kept'::regclass";
  expect(await database.query(left)).toEqual([{ name: "kept_orders_fkey" }]);
});
