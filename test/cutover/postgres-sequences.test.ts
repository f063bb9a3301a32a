// Numbers that PostgreSQL gives out after a cutover. Every sequence behind a column of the copy continues after the
// rows, whichever column owns it, and one that cannot be set is named.
import { afterEach, describe, expect, test } from "vitest";
import { alignSequences, readSequences, sequenceFindings } from "#switchback/postgres/sequences.js";
import { type FileIdentity, mappingOf, place } from "../support/postgres-source.js";

let here: FileIdentity | undefined;
afterEach(async () => {
  await here?.end();
  here = undefined;
});

const TABLES = ["plain", "one", "two", "small"] as const;
const MAPPINGS = TABLES.map((name) => mappingOf(name, { id: "bigint", v: "text" }, ["id"]));

describe.each([15, 18] as const)("PostgreSQL %i", (version) => {
  test("a sequence that its column does not own continues after the rows, a shared one after those of both tables", async () => {
    here = await place(
      version,
      `CREATE SEQUENCE "Odd one"; CREATE SEQUENCE shared; CREATE SEQUENCE few AS smallint;
       CREATE TABLE plain (id bigint PRIMARY KEY DEFAULT nextval('"Odd one"'), v text);
       CREATE TABLE one (id bigint PRIMARY KEY DEFAULT nextval('shared'), v text);
       CREATE TABLE two (id bigint PRIMARY KEY DEFAULT nextval('shared'), v text);
       CREATE TABLE small (id integer PRIMARY KEY DEFAULT nextval('few'::regclass)::integer, v text);
       INSERT INTO plain(id) VALUES (41); INSERT INTO one(id) VALUES (7); INSERT INTO two(id) VALUES (99), (3);
       INSERT INTO small(id) VALUES (5)`,
      MAPPINGS,
    );
    const { sidecar, app } = here;
    const tables = MAPPINGS.map((mapping) => ({ source: "s", mapping }));
    expect(await sequenceFindings(sidecar, MAPPINGS)).toEqual([]);
    await alignSequences(sidecar, await readSequences(sidecar, tables), new Map());
    const given: Record<string, number> = {};
    for (const name of TABLES) {
      const { rows } = await app.query(`INSERT INTO ${name}(v) VALUES ('new') RETURNING id::int AS id`);
      given[name] = rows[0].id;
    }
    expect(given).toEqual({ plain: 42, one: 100, two: 101, small: 6 });
  });

  test("what cannot be set is named with its table, column and default", async () => {
    here = await place(
      version,
      `CREATE SEQUENCE s; CREATE SEQUENCE down INCREMENT -1; CREATE SEQUENCE mine;
       CREATE FUNCTION ticket() RETURNS bigint LANGUAGE sql AS 'SELECT nextval(''public.s'')';
       CREATE TABLE plain (id bigint PRIMARY KEY DEFAULT nextval('s') * 10, v text DEFAULT 'A' || nextval('s'));
       CREATE TABLE one (id bigint PRIMARY KEY DEFAULT ticket(), v text);
       CREATE TABLE two (id bigint PRIMARY KEY DEFAULT nextval('down'), v text DEFAULT lower('X'));
       CREATE TABLE small (id bigint PRIMARY KEY DEFAULT nextval(('s'::text)::regclass), v text);
       INSERT INTO plain(id) VALUES (41)`,
      MAPPINGS,
    );
    const { sidecar } = here;
    const found = await sequenceFindings(sidecar, MAPPINGS);
    expect(found.map(({ table, column, severity }) => `${table}.${column} ${severity}`)).toEqual([
      "plain.id warning",
      "plain.v warning",
      "one.id warning",
      "two.id warning",
      "small.id warning",
    ]);
    expect(found[0]?.message).toContain("nextval('public.s'::regclass) * 10");
    const tables = MAPPINGS.map((mapping) => ({ source: "s", mapping }));
    expect(await readSequences(sidecar, tables)).toEqual([]);
  });
});

test("a sequence that the role may not set is a blocker", async () => {
  here = await place(
    18,
    "CREATE SEQUENCE s; CREATE TABLE plain (id bigint PRIMARY KEY DEFAULT nextval('s'), v text)",
    [mappingOf("plain", { id: "bigint", v: "text" }, ["id"])],
  );
  const { app, database } = here;
  const role = `r_${database.name}`;
  await app.query(`CREATE ROLE ${role}; ALTER TABLE plain OWNER TO ${role}; SET ROLE ${role}`);
  try {
    expect(await sequenceFindings(app, [MAPPINGS[0] as (typeof MAPPINGS)[number]])).toMatchObject([
      { severity: "blocker", table: "plain", column: "id", remedy: "Grant UPDATE on the sequence." },
    ]);
  } finally {
    await app.query(`RESET ROLE; DROP OWNED BY ${role}; DROP ROLE ${role}`);
  }
});
