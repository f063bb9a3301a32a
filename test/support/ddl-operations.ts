// Changes of schema that applications, ORMs and people make, each with the tables that it needs.

export interface Operation {
  readonly name: string;
  readonly tables: readonly (keyof typeof TABLES)[];
  /** One string is one call; each may hold a transaction. */
  readonly steps: readonly string[];
  /** What the sidecar reports afterwards, until the operator acts. */
  readonly problems?: readonly string[];
  /** True when our triggers would break it: it runs under `switchback exec`. */
  readonly exec?: boolean;
}

/** A table with twenty rows each, and what belongs to it. */
export const TABLES = {
  plain: "CREATE TABLE plain(id INTEGER PRIMARY KEY, v TEXT, z TEXT)",
  inl: "CREATE TABLE inl(id INTEGER PRIMARY KEY, v TEXT UNIQUE, n INTEGER)",
  au: `CREATE TABLE au(id INTEGER PRIMARY KEY AUTOINCREMENT, v TEXT, slug TEXT, state TEXT DEFAULT 'new');
    CREATE UNIQUE INDEX au_slug ON au(slug); CREATE INDEX au_state ON au(state)`,
  part: `CREATE TABLE part(id INTEGER PRIMARY KEY, v TEXT, slug TEXT, state TEXT);
    CREATE UNIQUE INDEX part_slug ON part(slug) WHERE state IS NULL OR state <> 'off'`,
  expr: `CREATE TABLE expr(id INTEGER PRIMARY KEY, v TEXT, slug TEXT);
    CREATE UNIQUE INDEX expr_slug ON expr(lower(slug))`,
  wr: "CREATE TABLE wr(id TEXT PRIMARY KEY, v TEXT UNIQUE) WITHOUT ROWID",
  nokey: "CREATE TABLE nokey(id, v TEXT, slug TEXT); CREATE UNIQUE INDEX nokey_slug ON nokey(slug)",
  comp: "CREATE TABLE comp(id INTEGER, v TEXT, w TEXT UNIQUE, PRIMARY KEY (v, id))",
  gen: "CREATE TABLE gen(id INTEGER PRIMARY KEY, v TEXT, up TEXT AS (upper(v)))",
  order: `CREATE TABLE "order"(id INTEGER PRIMARY KEY, v TEXT, "group" TEXT UNIQUE)`,
  parent: "CREATE TABLE parent(id INTEGER PRIMARY KEY, v TEXT NOT NULL)",
  child:
    "CREATE TABLE child(id INTEGER PRIMARY KEY, v TEXT, pid INTEGER REFERENCES parent(id) ON DELETE CASCADE)",
} as const;

const INL = "(id INTEGER PRIMARY KEY, v TEXT UNIQUE, n INTEGER, more TEXT DEFAULT 'm')";
const twelveSteps = (within = "") =>
  `CREATE TABLE inl_new${INL}; INSERT INTO inl_new(id, v, n) SELECT id, v, n FROM inl; DROP TABLE inl;
   ALTER TABLE inl_new RENAME TO inl; ${within}`;
const oldStyle = `ALTER TABLE inl RENAME TO inl_old; CREATE TABLE inl${INL};
   INSERT INTO inl(id, v, n) SELECT id, v, n FROM inl_old; DROP TABLE inl_old;`;
const once = (...statements: readonly string[]) => [`BEGIN; ${statements.join("; ")}; COMMIT`];
const one = (table: keyof typeof TABLES, name: string, ...steps: readonly string[]): Operation => ({
  name,
  tables: [table],
  steps,
});

const REBUILDS: readonly Operation[] = [
  one("inl", "12-step rebuild", ...once(twelveSteps())),
  one(
    "inl",
    "12-step rebuild and writes to it",
    ...once(twelveSteps("REPLACE INTO inl(id, v) VALUES (99, 'row 3')")),
  ),
  one("inl", "Prisma RedefineTables", "PRAGMA foreign_keys=OFF", twelveSteps(), "PRAGMA foreign_keys=ON"),
  one("inl", "old style rebuild", ...once(oldStyle)),
  one(
    "inl",
    "old style rebuild, legacy",
    "PRAGMA legacy_alter_table=ON",
    ...once(oldStyle),
    "PRAGMA legacy_alter_table=OFF",
  ),
  one(
    "plain",
    "CREATE TABLE AS, drop, rename",
    ...once("CREATE TABLE p2 AS SELECT * FROM plain", "DROP TABLE plain", "ALTER TABLE p2 RENAME TO plain"),
  ),
  one(
    "comp",
    "rebuild with another key",
    ...once(
      "CREATE TABLE c2(id INTEGER PRIMARY KEY, v TEXT, w TEXT)",
      "INSERT INTO c2 SELECT * FROM comp",
      "DROP TABLE comp",
      "ALTER TABLE c2 RENAME TO comp",
    ),
  ),
  one(
    "inl",
    "a rebuild that is rolled back",
    `BEGIN; SAVEPOINT s; ${twelveSteps()} ROLLBACK TO s; UPDATE inl SET n = 7; COMMIT`,
  ),
  one(
    "inl",
    "blue/green",
    ...once(
      "CREATE TABLE shadow AS SELECT * FROM inl",
      "ALTER TABLE inl RENAME TO old",
      "ALTER TABLE shadow RENAME TO inl",
      "DROP TABLE old",
    ),
  ),
  {
    name: "swap of two tables",
    tables: ["plain", "inl"],
    steps: once(
      "ALTER TABLE plain RENAME TO x",
      "ALTER TABLE inl RENAME TO plain",
      "ALTER TABLE x RENAME TO inl",
    ),
  },
];

const RENAMES: readonly Operation[] = [
  one("au", "RENAME TABLE with AUTOINCREMENT and indexes", "ALTER TABLE au RENAME TO job"),
  one("inl", "RENAME TABLE with inline unique", "ALTER TABLE inl RENAME TO job"),
  one("wr", "RENAME TABLE without rowid", "ALTER TABLE wr RENAME TO job"),
  one("order", "RENAME TABLE of a keyword", `ALTER TABLE "order" RENAME TO "group"`),
  one("nokey", "RENAME TABLE without key", "ALTER TABLE nokey RENAME TO job"),
  {
    name: "RENAME of a referenced table",
    tables: ["parent", "child"],
    steps: ["ALTER TABLE parent RENAME TO folk"],
  },
  one(
    "plain",
    "legacy RENAME without unique",
    "PRAGMA legacy_alter_table=ON",
    "ALTER TABLE plain RENAME TO job; REPLACE INTO job(id, v) VALUES (1, 'w')",
    "PRAGMA legacy_alter_table=OFF",
  ),
  one("plain", "RENAME COLUMN", "ALTER TABLE plain RENAME COLUMN v TO w"),
  one("au", "RENAME COLUMN of a unique index", "ALTER TABLE au RENAME COLUMN slug TO s2"),
  one("part", "RENAME COLUMN of a predicate", "ALTER TABLE part RENAME COLUMN state TO s2"),
  one("expr", "RENAME COLUMN of an expression", "ALTER TABLE expr RENAME COLUMN slug TO s2"),
  one("inl", "RENAME COLUMN of the primary key", "ALTER TABLE inl RENAME COLUMN id TO pk"),
  one("wr", "RENAME COLUMN of a text key", "ALTER TABLE wr RENAME COLUMN id TO pk"),
  one("comp", "RENAME COLUMN of a composite key", "ALTER TABLE comp RENAME COLUMN v TO pk"),
  one("order", "RENAME COLUMN of a keyword", `ALTER TABLE "order" RENAME COLUMN "group" TO "select"`),
  one("gen", "RENAME COLUMN that is computed from", "ALTER TABLE gen RENAME COLUMN v TO w"),
  one("nokey", "RENAME COLUMN to rowid", "ALTER TABLE nokey RENAME COLUMN id TO rowid"),
];

const dropColumn = (table: keyof typeof TABLES, index: string, column: string) =>
  [`DROP INDEX ${index}`, `ALTER TABLE ${table} DROP COLUMN ${column}`] as const;

const COLUMNS: readonly Operation[] = [
  one("plain", "DROP COLUMN", "ALTER TABLE plain DROP COLUMN z"),
  one("au", "DROP INDEX, DROP COLUMN, one transaction", ...once(...dropColumn("au", "au_slug", "slug"))),
  one("au", "DROP INDEX, DROP COLUMN, two transactions", ...dropColumn("au", "au_slug", "slug")),
  one("part", "partial: one transaction", ...once(...dropColumn("part", "part_slug", "state"))),
  one("part", "partial: two transactions", ...dropColumn("part", "part_slug", "state")),
  one("expr", "expression: one transaction", ...once(...dropColumn("expr", "expr_slug", "slug"))),
  one("nokey", "no key: one transaction", ...once(...dropColumn("nokey", "nokey_slug", "slug"))),
  one("au", "plain index: one transaction", ...once(...dropColumn("au", "au_state", "state"))),
  one(
    "au",
    "DROP INDEX, RENAME COLUMN",
    ...once("DROP INDEX au_slug", "ALTER TABLE au RENAME COLUMN slug TO s2"),
  ),
  one(
    "au",
    "DROP INDEX, write, CREATE INDEX",
    ...once(
      "DROP INDEX au_slug",
      "UPDATE au SET slug = slug || 'x'",
      "CREATE UNIQUE INDEX au_slug ON au(slug)",
    ),
  ),
  one(
    "plain",
    "ADD COLUMN, UPDATE, UNIQUE INDEX",
    ...once(
      "ALTER TABLE plain ADD COLUMN u TEXT",
      "UPDATE plain SET u = 'u' || id",
      "CREATE UNIQUE INDEX plain_u ON plain(u)",
    ),
  ),
  one("plain", "ADD COLUMN NOT NULL DEFAULT", "ALTER TABLE plain ADD COLUMN k TEXT NOT NULL DEFAULT 'k'"),
  one("plain", "ADD COLUMN with CHECK", "ALTER TABLE plain ADD COLUMN n INTEGER DEFAULT 7 CHECK (n > 0)"),
  one("plain", "ADD generated COLUMN", "ALTER TABLE plain ADD COLUMN up TEXT AS (upper(v)) VIRTUAL"),
  one(
    "plain",
    "the last column dropped and added",
    ...once("ALTER TABLE plain DROP COLUMN z", "ALTER TABLE plain ADD COLUMN z TEXT"),
  ),
];

const OTHERS: readonly Operation[] = [
  {
    name: "DROP TABLE that cascades",
    tables: ["parent", "child"],
    steps: ["PRAGMA foreign_keys=ON", "DROP TABLE parent"],
    problems: ["TABLE_DROPPED"],
  },
  {
    name: "DROP all tables",
    tables: ["inl", "plain"],
    steps: once("DROP TABLE inl", "DROP TABLE plain"),
    problems: ["TABLE_DROPPED", "TABLE_DROPPED"],
  },
  one(
    "nokey",
    "VACUUM",
    "DELETE FROM nokey WHERE id % 3 = 0",
    "VACUUM",
    "UPDATE nokey SET v = 'v' WHERE id = 4",
  ),
  one("inl", "REINDEX, ANALYZE", "REINDEX; ANALYZE"),
  one(
    "inl",
    "REPLACE under recursive_triggers",
    "PRAGMA recursive_triggers=ON",
    "REPLACE INTO inl(id, v) VALUES (50, 'row 7')",
  ),
  one(
    "inl",
    "a trigger dropped and created",
    "CREATE TRIGGER t AFTER INSERT ON inl BEGIN UPDATE inl SET n = 1 WHERE id = NEW.id; END",
    "DROP TRIGGER t; CREATE TRIGGER t AFTER INSERT ON inl BEGIN UPDATE inl SET n = 2 WHERE id = NEW.id; END; REPLACE INTO inl(id, v) VALUES (51, 'row 8')",
  ),
  {
    name: "an index that moves to another table",
    tables: ["plain", "au"],
    steps: ["DROP INDEX au_state", "CREATE INDEX au_state ON plain(v)"],
  },
];

const UNDER_EXEC: readonly Operation[] = [
  {
    ...one(
      "inl",
      "legacy RENAME, write, RENAME back",
      "PRAGMA legacy_alter_table=ON",
      "ALTER TABLE inl RENAME TO bak",
      "REPLACE INTO bak(id, v) VALUES (60, 'row 2')",
      "ALTER TABLE bak RENAME TO inl",
    ),
    exec: true,
  },
  {
    ...one(
      "inl",
      "legacy RENAME and write, one transaction",
      "PRAGMA legacy_alter_table=ON",
      ...once("ALTER TABLE inl RENAME TO bak", "REPLACE INTO bak(id, v) VALUES (61, 'row 5')"),
    ),
    exec: true,
  },
  {
    name: "legacy RENAME, then ALTER of another table",
    tables: ["inl", "plain"],
    steps: [
      "PRAGMA legacy_alter_table=ON",
      "ALTER TABLE inl RENAME TO bak",
      "PRAGMA legacy_alter_table=OFF",
      "ALTER TABLE plain RENAME COLUMN v TO w",
    ],
    exec: true,
  },
];

export const OPERATIONS: readonly Operation[] = [
  ...REBUILDS,
  ...RENAMES,
  ...COLUMNS,
  ...OTHERS,
  ...UNDER_EXEC,
];

/** The schema and the rows of an operation's file. */
export function schemaOf({ tables }: Operation): string {
  const rows = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 20)";
  const more: Partial<Record<keyof typeof TABLES, string>> = { child: ", pid", inl: ", n" };
  const unique = ["au", "part", "expr", "nokey"];
  return tables
    .map((table) => {
      const slug = unique.includes(table) ? ", slug" : (more[table] ?? "");
      const value = unique.includes(table) ? ", 'slug ' || i" : slug === "" ? "" : ", i";
      const last =
        table === "plain" ? ", z" : table === "order" ? `, "group"` : table === "comp" ? ", w" : slug;
      const lastValue = table === "plain" || table === "order" || table === "comp" ? ", 'z ' || i" : value;
      return `${TABLES[table]}; ${rows} INSERT INTO "${table}"(id, v${last}) SELECT i, 'row ' || i${lastValue} FROM n;`;
    })
    .join("\n");
}
