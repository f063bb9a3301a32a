// PostgreSQL as a target, on real servers: every statement of a window touches as many rows as were sent, or nothing
// of the window is committed and the position stays.
import { afterEach, describe, expect, test } from "vitest";
import { SwitchbackError } from "#switchback/errors.js";
import { mappingToJson, type TableMapping } from "#switchback/mapping/mapping.js";
import { restartTable, type Start } from "#switchback/postgres/ddl/lifecycle.js";
import { Records } from "#switchback/postgres/records.js";
import { PostgresTarget } from "#switchback/postgres/target/target.js";
import type { EncodedRow, Range, Rows, TableWindow, Window } from "#switchback/protocol/contract.js";
import { type FileIdentity, mappingOf, OWNER, place, present } from "../support/postgres-source.js";

const ITEM = mappingOf("item", { id: "bigint", v: "text" }, ["id"]);
const ITEM_DDL = "CREATE TABLE item (id bigint PRIMARY KEY, v text)";

interface Changes {
  readonly rows?: readonly EncodedRow[];
  readonly gone?: readonly EncodedRow[];
}

type Form = "narrow" | "wide";

/** A target of the tables, and windows that are applied to it one after another. */
class PostgresCopy {
  position = 0;

  private constructor(
    readonly here: FileIdentity,
    readonly target: PostgresTarget,
    private readonly form: Form,
  ) {}

  static async open(
    version: 15 | 18,
    ddl: string,
    mappings: readonly TableMapping[],
    form: Form = "narrow",
    login?: { readonly user: string; readonly password: string },
  ): Promise<PostgresCopy> {
    const here = await place(version, ddl, mappings);
    const target = await PostgresTarget.open({ ...here.config, ...login }, "s", OWNER, 1);
    await target.follow(mappings);
    return new PostgresCopy(here, target, form);
  }

  /** What the application's owner of the database does in PostgreSQL. */
  async outside(sql: string): Promise<void> {
    await this.here.app.query(sql);
  }

  window(changes: Readonly<Record<string, Changes>>): Window {
    const tables = Object.entries(changes).map(
      ([table, { rows = [], gone = [] }]): TableWindow => ({
        table,
        changes: rows.length + gone.length,
        rows: this.rows(rows),
        gone: this.rows(gone),
        refused: [],
        touched: [],
      }),
    );
    const { position } = this;
    return { from: position, to: position + 1, changes: 1, mark: "", tables, close: async () => {} };
  }

  /** Applies a window; what was refused. */
  async apply(changes: Readonly<Record<string, Changes>>): Promise<readonly string[]> {
    const { refused } = await this.target.apply(this.window(changes));
    this.position += 1;
    return refused.map(({ key }) => key);
  }

  async code(changes: Readonly<Record<string, Changes>>): Promise<string> {
    const error: unknown = await this.apply(changes).then(
      () => "no error",
      (thrown: unknown) => thrown,
    );
    return error instanceof SwitchbackError ? error.code : String(error);
  }

  async recorded(): Promise<number> {
    const [row] = await this.here.database.query("SELECT position FROM switchback.source");
    return Number(row?.position);
  }

  async end(): Promise<void> {
    await this.target.close();
    await this.here.end();
  }

  private rows(values: readonly EncodedRow[]): Rows {
    if (this.form === "narrow") return { kind: "values", values };
    const text = values.map((row) => `${row.map((v) => (v === null ? "" : `"${v}"`)).join(",")}\n`).join("");
    return {
      kind: "csv",
      rows: values.length,
      async *chunks() {
        yield Buffer.from(text);
      },
    };
  }
}

let opened: PostgresCopy | undefined;
afterEach(async () => {
  await opened?.end();
  opened = undefined;
});

// Triggers of others' are refused by name before anything is written: these bear a name of switchback's.
describe.each([15, 18] as const)("counted statements, PostgreSQL %i", (version) => {
  test.each(["narrow", "wide"] as const)(
    "a rule that passes leaves nothing out of a %s window, then or later",
    async (form) => {
      const here = await PostgresCopy.open(version, ITEM_DDL, [ITEM], form);
      opened = here;
      await here.apply({ item: { rows: [["1", "a"]] } });
      await here.outside("CREATE RULE nothing AS ON INSERT TO item DO INSTEAD NOTHING");
      expect(await here.code({ item: { rows: [["2", "b"]] } })).toBe("TARGET_DISTURBED");
      expect(await here.recorded()).toBe(1);
      await here.outside("DROP RULE nothing ON item");
      await here.apply({ item: { rows: [["2", "b"]] } });
      await here.apply({ item: { rows: [["3", "c"]] } });
      await here.outside("CREATE RULE nothing AS ON DELETE TO item DO INSTEAD NOTHING");
      expect(await here.code({ item: { gone: [["1"]] } })).toBe("TARGET_DISTURBED");
      await here.outside("DROP RULE nothing ON item");
      await here.apply({ item: { gone: [["1"], ["9"]] } });
      expect(await present(here.here.app, ITEM)).toEqual([
        ["2", "b"],
        ["3", "c"],
      ]);
    },
  );

  test.each(["narrow", "wide"] as const)(
    "a trigger that drops rows of a %s window, written or deleted, stops it",
    async (form) => {
      const here = await PostgresCopy.open(version, ITEM_DDL, [ITEM], form);
      opened = here;
      await here.apply({
        item: {
          rows: [
            ["1", "a"],
            ["2", "b"],
          ],
        },
      });
      await here.outside(
        "CREATE FUNCTION drop_row() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'",
      );
      const changes = {
        INSERT: {
          rows: [
            ["3", "c"],
            ["1", "x"],
          ],
        },
        UPDATE: {
          rows: [
            ["3", "c"],
            ["1", "x"],
          ],
        },
        DELETE: { gone: [["2"], ["7"]] },
      };
      for (const [event, change] of Object.entries(changes)) {
        await here.outside(
          `CREATE TRIGGER switchback_odd BEFORE ${event} ON item FOR EACH ROW EXECUTE FUNCTION drop_row()`,
        );
        expect(await here.code({ item: change }), event).toBe("COUNT_MISMATCH");
        expect(await here.recorded(), event).toBe(1);
        await here.outside("DROP TRIGGER switchback_odd ON item");
      }
      await here.apply({ item: { rows: [["3", "c"]], gone: [["2"], ["7"]] } });
      expect(await present(here.here.app, ITEM)).toEqual([
        ["1", "a"],
        ["3", "c"],
      ]);
    },
  );
});

test("the error names the table and both numbers", async () => {
  const here = await PostgresCopy.open(18, ITEM_DDL, [ITEM]);
  opened = here;
  await here.outside(
    `CREATE FUNCTION odd_row() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN CASE WHEN NEW.id % 2 = 0 THEN NEW END; END';
     CREATE TRIGGER switchback_odd BEFORE INSERT ON item FOR EACH ROW EXECUTE FUNCTION odd_row()`,
  );
  const three = [
    ["1", "a"],
    ["2", "b"],
    ["3", "c"],
  ];
  await expect(here.target.apply(here.window({ item: { rows: three } }))).rejects.toMatchObject({
    code: "COUNT_MISMATCH",
    message: expect.stringMatching(/item.* 1 row.* 3 /),
    where: { source: "s", table: "item" },
  });
});

test("row-level security that holds for the owner too hides no row from a deletion", async () => {
  const here = await PostgresCopy.open(18, ITEM_DDL, [ITEM]);
  opened = here;
  await here.apply({
    item: {
      rows: [
        ["1", "a"],
        ["2", "b"],
      ],
    },
  });
  const role = `r_${here.here.database.name}`;
  await here.outside(`CREATE ROLE ${role} LOGIN PASSWORD 'p';
    GRANT ALL ON SCHEMA switchback, public TO ${role}; GRANT ALL ON ALL TABLES IN SCHEMA switchback TO ${role}; GRANT ALL ON ALL FUNCTIONS IN SCHEMA switchback TO ${role};
    ALTER TABLE item OWNER TO ${role};
    ALTER TABLE item ENABLE ROW LEVEL SECURITY; ALTER TABLE item FORCE ROW LEVEL SECURITY;
    CREATE POLICY one ON item USING (id = 1)`);
  const target = await PostgresTarget.open({ ...here.here.config, user: role, password: "p" }, "s", OWNER, 1);
  try {
    await target.follow([ITEM]);
    await expect(target.apply(here.window({ item: { gone: [["2"]] } }))).rejects.toThrow(
      /row-level security/,
    );
    expect(await here.recorded()).toBe(1);
  } finally {
    await target.close();
    await here.outside(`DROP OWNED BY ${role}; DROP ROLE ${role}`).catch(() => {});
  }
});

const USER = mappingOf("person", { id: "bigint", mail: "text", seat: "bigint" }, ["id"]);
const USER_DDL = `CREATE TABLE person (
    id bigint PRIMARY KEY, mail text, seat bigint,
    token text NOT NULL DEFAULT 'none' CHECK (token <> ''), nth bigint GENERATED ALWAYS AS IDENTITY,
    "Tags" text[] DEFAULT '{}', shout text GENERATED ALWAYS AS (upper(mail)) STORED,
    EXCLUDE USING gist (int8range(seat, seat, '[]') WITH &&));
  CREATE UNIQUE INDEX ON person (lower(mail), (token IS NULL)) WHERE mail <> '';
  ALTER TABLE person ALTER seat SET NOT NULL`;

describe.each(["narrow", "wide"] as const)("columns that only PostgreSQL has, in %s windows", (form) => {
  const own = async (here: PostgresCopy) =>
    (
      await here.here.database.query(
        `SELECT id::int, mail, token, nth::int, "Tags", shout FROM person ORDER BY id`,
      )
    ).map((row) => Object.values(row).flat().join(" "));

  async function filled(): Promise<PostgresCopy> {
    const here = await PostgresCopy.open(18, USER_DDL, [USER], form);
    await here.apply({
      person: {
        rows: [
          ["1", "a", "1"],
          ["2", "b", "2"],
          ["3", "c", "3"],
        ],
      },
    });
    await here.outside(`UPDATE person SET token = 't' || id, "Tags" = ARRAY[mail, 'x']`);
    return here;
  }

  test("survive swaps and rotations of unique values", async () => {
    opened = await filled();
    await opened.apply({
      person: {
        rows: [
          ["1", "B", "2"],
          ["2", "a", "3"],
          ["3", "c", "1"],
          ["4", "d", "9"],
        ],
      },
    });
    expect(await own(opened)).toEqual(["1 B t1 1 a x B", "2 a t2 2 b x A", "3 c t3 3 c x C", "4 d none 4 D"]);
  });

  test("survive beside a row that PostgreSQL cannot hold, and go with a row that is deleted", async () => {
    opened = await filled();
    const bad = ["7", "g", null];
    const refused = await opened.apply({
      person: { rows: [["1", "b", "2"], ["2", "a", "1"], bad, ["8", "h", "8"]], gone: [["3"]] },
    });
    expect(refused).toEqual(["[7]"]);
    await opened.apply({ person: { rows: [["3", "c", "3"]] } });
    expect((await own(opened)).map((row) => row.replace(/ \d+ /, " "))).toEqual([
      "1 b t1 a x B",
      "2 a t2 b x A",
      "3 c none C",
      "8 h none H",
    ]);
  });
});

test("own columns outlive a copy that ends in the middle and begins again, and go where rows have no key", async () => {
  const here = await PostgresCopy.open(18, USER_DDL, [USER]);
  opened = here;
  await here.apply({
    person: {
      rows: [
        ["1", "a", "1"],
        ["2", "b", "2"],
        ["3", "c", "3"],
      ],
    },
  });
  await here.outside("UPDATE person SET token = 't' || id");
  const records = new Records(here.here.sidecar);
  const ranges = [
    { table: "person", number: 0, lo: null, hi: "[1]" },
    { table: "person", number: 1, lo: "[1]", hi: null },
  ] as const;
  const start = { source: "s", settings: "", estimated: 3, ranges, shape: null, tolerated: [] };
  const restart = async (mapping: TableMapping) => {
    const [known] = await records.followed("s");
    if (!known) throw new Error("nothing is followed");
    await restartTable(records, { ...known, mapping }, mapping, start as unknown as Start);
    await here.target.follow([mapping]);
  };
  const copy = (range: Range, ...lines: string[]) =>
    here.target.copy(range, here.position, async function* () {
      yield { csv: Buffer.from(lines.join("")), rows: lines.length, refused: [] };
      return { rows: lines.length, refused: 0 };
    });
  const tokens = async () =>
    (await here.here.database.query("SELECT id, token FROM person ORDER BY id")).map(
      ({ id, token }) => `${id} ${token}`,
    );
  await here.here.database.query("UPDATE switchback.followed SET mapping = $1", [
    JSON.stringify(mappingToJson(USER)),
  ]);
  await restart(USER);
  await copy(ranges[0], "1,a,1\n");
  await restart(USER);
  await copy(ranges[0], "1,a,1\n");
  await copy(ranges[1], "2,c,2\n", "3,b,3\n", "4,d,4\n");
  expect(await tokens()).toEqual(["1 t1", "2 t2", "3 t3", "4 none"]);
  await records.setState("s", "person", "streaming");
  const keyless = { ...USER, table: { ...USER.table, key: { kind: "rowid" as const } } };
  await restart(keyless as TableMapping);
  await copy(ranges[0], "1,a,1\n");
  expect(await tokens()).toEqual(["1 none"]);
});
