// A session of the sidecar's: no timeout that a role or a database sets for its applications ends it. Whatever a
// statement fails with is classified, in every way of sending one.
import { setTimeout as sleep } from "node:timers/promises";
import type pg from "pg";
import { from as copyFrom } from "pg-copy-streams";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { connectPostgres } from "#switchback/postgres/connection.js";
import { copyInto } from "#switchback/postgres/target/copy.js";
import { configOf } from "../support/postgres-source.js";
import { type TestDatabase, testDatabase, type Version } from "../support/servers.js";

describe.each<Version>([15, 18])("PostgreSQL %i", (version) => {
  let database: TestDatabase;
  let session: pg.Client;
  const terminate = (client: pg.Client) =>
    database.query("SELECT pg_terminate_backend($1, 5000)", [
      (client as pg.Client & { processID: number }).processID,
    ]);
  const unreachable = { code: "POSTGRES_UNREACHABLE" };

  beforeEach(async () => {
    database = await testDatabase(version);
    for (const name of ["idle_session_timeout", ...(version >= 17 ? ["transaction_timeout"] : [])])
      await database.query(`ALTER DATABASE ${database.name} SET ${name} = '300ms'`);
    session = await connectPostgres(configOf(database.url), { name: "test" });
  });
  afterEach(async () => {
    await session.end();
    await database.drop();
  });

  test("timeouts of the database do not end it", async () => {
    await sleep(400);
    await session.query("BEGIN");
    await session.query("SELECT pg_sleep(0.4)");
    await session.query("COMMIT");
  });

  test("names are printed as they are written, whatever the database says", async () => {
    await database.query(`ALTER DATABASE ${database.name} SET quote_all_identifiers = on`);
    const other = await connectPostgres(configOf(database.url), { name: "test" });
    const { rows } = await other.query("SELECT format_type('pg_catalog.text'::regtype, NULL) AS type");
    await other.end();
    expect(rows).toEqual([{ type: "text" }]);
  });

  test("a statement under way, one that comes later, and one behind it fail as unreachable", async () => {
    const sleeping = session.query("SELECT pg_sleep(10)");
    const behind = session.query("SELECT 1");
    behind.catch(() => {});
    await Promise.all([expect(sleeping).rejects.toMatchObject(unreachable), terminate(session)]);
    await expect(behind).rejects.toMatchObject(unreachable);
    await expect(session.query("SELECT 1")).rejects.toMatchObject(unreachable);
  });

  test("so do statements sent together, and those of an idle session", async () => {
    const together = await connectPostgres(configOf(database.url), { name: "test", pipeline: true });
    await terminate(together);
    const sent = ["BEGIN", "SELECT 1", "COMMIT"].map((text) => together.query(text));
    for (const result of await Promise.allSettled(sent))
      expect(result).toMatchObject({ status: "rejected", reason: unreachable });
    await together.end();
  });

  test("so does a COPY in its middle", async () => {
    await session.query("CREATE TABLE public.t(v text)");
    async function* rows() {
      yield Buffer.from("one\n");
      await terminate(session);
      yield Buffer.from("two\n");
    }
    await expect(copyInto(session, "COPY public.t FROM STDIN", rows())).rejects.toMatchObject(unreachable);
    await expect(copyInto(session, "COPY public.t FROM STDIN", rows())).rejects.toMatchObject(unreachable);
  });

  test("rows at fault stay what they are, for those who set them aside", async () => {
    const values = session.query("SELECT 'x'::text::int");
    await expect(values).rejects.toMatchObject({ code: "22P02" });
    await session.query("CREATE TABLE public.n(v int)");
    const copy = session.query(copyFrom("COPY public.n FROM STDIN"));
    const failed = new Promise((resolve) => copy.once("error", resolve));
    copy.end("x\n");
    expect(await failed).toMatchObject({ code: "22P02" });
  });

  test("a statement that an operator cancels may be tried again", async () => {
    const sleeping = session.query("SELECT pg_sleep(10)");
    const { processID } = session as pg.Client & { processID: number };
    await Promise.all([
      expect(sleeping).rejects.toMatchObject({ code: "POSTGRES_TRANSIENT" }),
      sleep(50).then(() => database.query("SELECT pg_cancel_backend($1)", [processID])),
    ]);
  });

  test("a server without a connection left may be tried again", async () => {
    const role = `limited_${database.name}`;
    await database.query(`ALTER DATABASE ${database.name} CONNECTION LIMIT 0`);
    await database.query(`CREATE ROLE ${role} LOGIN PASSWORD 'x'`);
    try {
      const config = { ...configOf(database.url), user: role, password: "x" };
      await expect(connectPostgres(config, { name: "test" })).rejects.toMatchObject({
        code: "POSTGRES_TRANSIENT",
      });
    } finally {
      await database.query(`DROP ROLE ${role}`);
    }
  });
});
