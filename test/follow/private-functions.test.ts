// What other roles of the database can do with switchback's own functions and records: nothing. Each test is an attack
// that a role without any right of ours may try, or a record that someone wrote by hand.
import pg from "pg";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { SwitchbackError } from "#switchback/errors.js";
import { installPostgresCapture, lostCapture } from "#switchback/postgres/capture.js";
import { noteStrays, readUnknown } from "#switchback/postgres/copy-doubts.js";
import { lockTarget } from "#switchback/postgres/sidecar-lock.js";
import { Sidecar } from "../support/cli.js";
import { move, verify } from "../support/flips.js";
import { Copy, configOf, type FileIdentity, mappingOf, place } from "../support/postgres-source.js";
import { type TestDatabase, testDatabase, type Version } from "../support/servers.js";
import { testFile } from "../support/sqlite.js";

const ITEM = mappingOf("item", { id: "bigint", v: "text" }, ["id"]);
const ITEM_DDL = "CREATE TABLE item (id bigint PRIMARY KEY, v text)";

let database: TestDatabase;
let here: FileIdentity | undefined;
const roles: string[] = [];

/** A role of this database's own, and a session of it. */
async function role(options = ""): Promise<{ name: string; url: string; client: pg.Client }> {
  const name = `r_${database.name}_${roles.length}`;
  await database.query(`CREATE ROLE ${name} LOGIN PASSWORD 'x' ${options}`);
  roles.push(name);
  const url = database.url.replace(/\/\/[^@]+@/, `//${name}:x@`);
  const client = new pg.Client({ connectionString: url });
  client.on("error", () => {});
  await client.connect();
  return { name, url, client };
}

async function open(version: Version = 15): Promise<FileIdentity> {
  here = await place(version, ITEM_DDL, [ITEM], database);
  return here;
}

beforeEach(async () => {
  database = await testDatabase(15);
});
afterEach(async () => {
  const server = await database.client();
  await server.query("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = ANY ($1)", [
    roles,
  ]);
  for (const name of roles.splice(0)) {
    await server.query(`REASSIGN OWNED BY ${name} TO postgres; DROP OWNED BY ${name}; DROP ROLE ${name}`);
  }
  await here?.end();
  if (!here) await database.drop();
  here = undefined;
});

/** Functions of ours that someone else may call, or that find names where others can put them. */
const OPEN = `
  SELECT p.proname AS name FROM pg_proc p
   WHERE p.pronamespace = 'switchback'::regnamespace
     AND (p.proacl IS NULL OR EXISTS (SELECT FROM aclexplode(p.proacl) AS a WHERE a.grantee <> p.proowner)
          OR NOT coalesce(p.proconfig, '{}') @> '{"search_path=pg_catalog, pg_temp"}')
   ORDER BY 1`;

test("no one else may call a function of ours, and all of them pin their search path", async () => {
  await open();
  expect(
    await database.query(
      "SELECT count(*)::int AS n FROM pg_proc WHERE pronamespace = 'switchback'::regnamespace",
    ),
  ).not.toEqual([{ n: 0 }]);
  expect(await database.query(OPEN)).toEqual([]);
});

test("the same holds after a start, a cutover and a revert", async () => {
  const file = testFile(
    "CREATE TABLE item (id INTEGER PRIMARY KEY, v TEXT); INSERT INTO item VALUES (1, 'a')",
  );
  const sidecar = await Sidecar.streaming({ sqlite: file.path, url: database.url });
  try {
    expect(await database.query(OPEN)).toEqual([]);
    await verify(sidecar);
    await move(sidecar, "postgres");
    expect(await database.query("SELECT 1 FROM pg_proc WHERE proname ~ '^capture_'")).toHaveLength(1);
    expect(await database.query(OPEN)).toEqual([]);
    await move(sidecar, "sqlite");
    expect(await database.query(OPEN)).toEqual([]);
  } finally {
    await sidecar.remove();
    file.remove();
  }
});

describe.each(["a superuser", "a plain owner"] as const)("the sidecar is %s", (kind) => {
  beforeEach(async () => {
    await open();
    if (kind === "a superuser") return;
    const owner = await role();
    await database.query(
      `GRANT CREATE ON DATABASE ${database.name} TO ${owner.name}; ALTER TABLE item OWNER TO ${owner.name}`,
    );
    await database.query(`DROP SCHEMA switchback CASCADE; GRANT ALL ON SCHEMA public TO ${owner.name}`);
    await owner.client.end();
    const mine: TestDatabase = { ...database, url: owner.url };
    await here?.source.close();
    await here?.sidecar.end();
    await database.query("DROP TABLE item");
    here = await place(15, "SELECT 1", [], mine);
    await here.sidecar.query(ITEM_DDL.replace("item", "public.item"));
    await here.sidecar.query(
      "INSERT INTO switchback.followed (source, name, mapping, ddl, settings, state, made) VALUES ('s', 'item', '{}', '', '', 'streaming', true)",
    );
    await installPostgresCapture(here.sidecar, [{ id: 1, mapping: ITEM }]);
    here.source.follow([{ id: 1, mapping: ITEM }]);
  });

  test("a cast of an attacker's own is not called as the sidecar", async () => {
    const { name, client } = await role();
    await client.query(`
      CREATE TYPE pg_temp.lure AS ENUM ('x');
      CREATE TEMP TABLE heard (who text);
      GRANT ALL ON heard TO PUBLIC;
      CREATE FUNCTION pg_temp.spy(pg_temp.lure) RETURNS text LANGUAGE plpgsql AS
        'BEGIN INSERT INTO pg_temp.heard VALUES (current_user); RETURN current_user; END';
      CREATE CAST (pg_temp.lure AS text) WITH FUNCTION pg_temp.spy(pg_temp.lure);
      CREATE TEMP TABLE item (id pg_temp.lure)`);
    const attack = client
      .query(`CREATE TRIGGER t AFTER INSERT ON pg_temp.item REFERENCING NEW TABLE AS switchback_new
      FOR EACH STATEMENT EXECUTE FUNCTION switchback.capture_1()`)
      .then(() => client.query("INSERT INTO pg_temp.item VALUES ('x')"));
    await attack.catch(() => {});
    const { rows } = await client.query("SELECT who FROM pg_temp.heard WHERE who <> $1", [name]);
    expect(rows).toEqual([]);
    await expect(attack).rejects.toThrow(/permission denied/);
    await client.end();
  });

  test("a role that may call the function cannot lay a key of its own in the log", async () => {
    const { name, client } = await role();
    await database.query(
      `GRANT USAGE ON SCHEMA switchback TO ${name}; GRANT EXECUTE ON FUNCTION switchback.capture_1() TO ${name}`,
    );
    await client.query("CREATE TEMP TABLE item (id text)");
    await client.query(`CREATE TRIGGER t AFTER INSERT ON pg_temp.item REFERENCING NEW TABLE AS switchback_new
      FOR EACH STATEMENT EXECUTE FUNCTION switchback.capture_1()`);
    await expect(client.query("INSERT INTO pg_temp.item VALUES ('poison')")).rejects.toThrow(
      /for "public"."item" only/,
    );
    expect(await database.query("SELECT * FROM switchback.change")).toEqual([]);
    await client.end();
  });

  test("an application's role without any right of ours writes, and is captured", async () => {
    const { name, client } = await role();
    await database.query(`GRANT ALL ON item TO ${name}`);
    await client.query(
      "INSERT INTO item VALUES (1, 'a'); UPDATE item SET v = 'b'; DELETE FROM item; TRUNCATE item",
    );
    expect(await database.query("SELECT DISTINCT key FROM switchback.change")).toEqual([{ key: ["1"] }]);
    await client.end();
  });
});

test("a key's text comes from the type's own output, not from a cast that the type's owner made", async () => {
  const KIND = mappingOf("kind", { id: "text", v: "text" }, ["id"]);
  here = await place(
    15,
    `
    CREATE TYPE shade AS ENUM ('dark');
    CREATE FUNCTION spy(shade) RETURNS text LANGUAGE sql AS $$ SELECT 'not the key' $$;
    CREATE CAST (shade AS text) WITH FUNCTION spy(shade);
    CREATE TABLE kind (id shade PRIMARY KEY, v text)`,
    [KIND],
    database,
  );
  await here.app.query("INSERT INTO kind VALUES ('dark', 'a')");
  expect(await database.query("SELECT key FROM switchback.change")).toEqual([{ key: ["dark"] }]);
});

test("functions that an earlier release made are replaced, and nothing counts as missed", async () => {
  const { sidecar, tables } = await open();
  // As the release before wrote it, but for its layout.
  const older = `CREATE OR REPLACE FUNCTION switchback.capture_${tables[0]?.id}() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp SET row_security = off AS $body$${OLDER_BODY.replaceAll("ID", String(tables[0]?.id))}$body$;
    GRANT EXECUTE ON FUNCTION switchback.capture_${tables[0]?.id}() TO PUBLIC`;
  await sidecar.query(older);
  expect(await lostCapture(sidecar, tables)).toEqual([]);
  await installPostgresCapture(sidecar, tables);
  expect(await database.query(OPEN)).toEqual([]);
  await database.query("INSERT INTO item VALUES (1, 'a')");
  expect(await database.query("SELECT key FROM switchback.change")).toEqual([{ key: ["1"] }]);
});

test.each([
  ["a key that is no number", "(1, ARRAY['poison'])"],
  ["a key that is NULL", "(1, ARRAY[NULL]::text[])"],
  ["a key of too many columns", "(1, ARRAY['1', '2'])"],
  ["a key without columns", "(1, '{}')"],
  ["a table that is not followed", "(99, ARRAY['1'])"],
])("%s in the log is taken out, named, and stands until a comparison", async (_, values) => {
  const { app, source, sidecar } = await open();
  const copy = new Copy([ITEM]);
  await app.query("INSERT INTO item VALUES (1, 'a'), (2, 'b')");
  await app.query(`INSERT INTO switchback.change VALUES ${values}`);
  await copy.follow(source);
  await copy.follow(source);
  expect(copy.rows("item")).toEqual([
    ["1", "a"],
    ["2", "b"],
  ]);
  await noteStrays(sidecar, "s");
  expect(await database.query("SELECT * FROM switchback.change")).toEqual([]);
  const found = await readUnknown(sidecar, "s");
  expect(found).toHaveLength(1);
  expect(found[0]).toMatchObject({ code: "CHANGE_UNREADABLE", table: "item" });
  await sidecar.query("INSERT INTO switchback.verification VALUES ('s', clock_timestamp(), 0, true, 0)");
  expect(await readUnknown(sidecar, "s")).toEqual([]);
});

test("a wide window with an unreadable key is read as well", async () => {
  const { app, source } = await open();
  const copy = new Copy([ITEM]);
  await app.query("INSERT INTO item SELECT n, 'x' FROM generate_series(1, 3000) n");
  await app.query("INSERT INTO switchback.change VALUES (1, ARRAY['poison']), (1, ARRAY[NULL]::text[])");
  await copy.follow(source);
  expect(copy.rows("item")).toHaveLength(3000);
});

test("the session that holds the sidecar's advisory lock is named, with the way to end it", async () => {
  const { name, client } = await role();
  const { rows } = await client.query(
    "SELECT pg_advisory_lock(8320234785195188843), pg_backend_pid() AS pid",
  );
  const owner = await role();
  const error = await lockTarget(configOf(owner.url)).then(
    () => null,
    (thrown: unknown) => thrown,
  );
  expect(error).toBeInstanceOf(SwitchbackError);
  expect(error).toMatchObject({ code: "TARGET_TAKEN" });
  expect((error as Error).message).toContain(`role ${name}`);
  expect((error as Error).message).toContain(`pg_terminate_backend(${rows[0].pid})`);
  await client.end();
  await owner.client.end();
});

const OLDER_BODY = `
BEGIN
  IF current_setting('switchback.apply', true) = 'on' THEN
    RETURN NULL;
  END IF;
  IF TG_OP = 'INSERT' THEN
    INSERT INTO switchback.change (t, key) SELECT ID, ARRAY[n."id"::text COLLATE "C"] FROM switchback_new AS n;
  ELSIF TG_OP = 'UPDATE' THEN
    IF (SELECT count(*) FROM (SELECT FROM switchback_new LIMIT 2) AS few) = 1 THEN
      -- One row: without UNION, whose plan may be left over from a statement that touched very many.
      INSERT INTO switchback.change (t, key) SELECT ID, ARRAY[n."id"::text COLLATE "C"] FROM switchback_new AS n;
      INSERT INTO switchback.change (t, key) SELECT ID, ARRAY[o."id"::text COLLATE "C"] FROM switchback_old AS o, switchback_new AS n WHERE ARRAY[o."id"::text COLLATE "C"] IS DISTINCT FROM ARRAY[n."id"::text COLLATE "C"];
    ELSE
      INSERT INTO switchback.change (t, key) SELECT ID, ARRAY[n."id"::text COLLATE "C"] FROM switchback_new AS n UNION SELECT ID, ARRAY[o."id"::text COLLATE "C"] FROM switchback_old AS o;
    END IF;
  ELSIF TG_OP = 'DELETE' THEN
    INSERT INTO switchback.change (t, key) SELECT ID, ARRAY[o."id"::text COLLATE "C"] FROM switchback_old AS o;
  ELSIF current_setting('transaction_isolation') IN ('repeatable read', 'serializable') THEN
    -- TRUNCATE also empties what was committed after this transaction's snapshot, and nobody can name those keys.
    RAISE EXCEPTION 'switchback: TRUNCATE cannot be followed in a % transaction', current_setting('transaction_isolation')
      USING ERRCODE = '0A000', HINT = 'Use DELETE, or READ COMMITTED.';
  ELSE
    INSERT INTO switchback.change (t, key) SELECT ID, ARRAY[t."id"::text COLLATE "C"] FROM "public"."item" AS t;
  END IF;
  PERFORM pg_notify('switchback', '') FROM switchback.sleeper LIMIT 1;
  RETURN NULL;
END
`;
