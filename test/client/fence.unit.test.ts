// `fenceOf` on the errors as drivers, query builders and ORMs make them, on causes nested at random, and on errors
// that only look like a fence.
import Database from "better-sqlite3";
import { expect, test } from "vitest";
import { type Fence, fenceOf, QueryError } from "#switchback/client/index.js";

const LEFT = "switchback: writes have moved to PostgreSQL (epoch 5)";
const BACK = "switchback: writes go to SQLite (epoch 6)";
const MOVED: Fence = { writes: "postgres", epoch: 5 };
const RETURNED: Fence = { writes: "sqlite", epoch: 6 };

const failing = (message: string, fields: object = {}): Error => Object.assign(new Error(message), fields);
const betterSqlite = (message = LEFT) => failing(message, { code: "SQLITE_CONSTRAINT_TRIGGER" });
const nodeSqlite = (message = LEFT) =>
  failing(message, { code: "ERR_SQLITE_ERROR", errcode: 1811, errstr: "constraint failed" });
const pg = (message = BACK) => failing(message, { code: "25006", severity: "ERROR", name: "error" });
const INSERT = "insert into `note` (`body`) values ('it')";

const SHAPES: readonly (readonly [string, unknown, Fence])[] = [
  ["better-sqlite3", betterSqlite(), MOVED],
  ["node:sqlite", nodeSqlite(), MOVED],
  ["node:sqlite without the number", failing(LEFT, { code: "ERR_SQLITE_ERROR" }), MOVED],
  ["sqlite3", failing(`SQLITE_CONSTRAINT: ${LEFT}`, { code: "SQLITE_CONSTRAINT", errno: 19 }), MOVED],
  [
    "libsql",
    failing(`SQLITE_CONSTRAINT: SQLite error: ${LEFT}`, {
      ...{ code: "SQLITE_CONSTRAINT", extendedCode: "SQLITE_CONSTRAINT_TRIGGER", rawCode: 1811 },
    }),
    MOVED,
  ],
  ["pg", pg(), RETURNED],
  ["knex on SQLite", betterSqlite(`${INSERT} - ${LEFT}`), MOVED],
  ["knex on PostgreSQL", pg(`insert into "note" ("body") values ($1) - ${BACK}`), RETURNED],
  [
    "TypeORM",
    failing(LEFT, { query: INSERT, driverError: betterSqlite(), code: "SQLITE_CONSTRAINT_TRIGGER" }),
    MOVED,
  ],
  ["TypeORM's driverError alone", failing("QueryFailedError", { driverError: pg() }), RETURNED],
  [
    "Prisma, a foreign key by its own account",
    failing("Foreign key constraint violated on the foreign key", {
      code: "P2003",
      meta: {
        modelName: "Note",
        driverAdapterError: failing("ForeignKeyConstraintViolation", {
          cause: {
            ...{ kind: "ForeignKeyConstraintViolation", constraint: { foreignKey: {} } },
            ...{ originalCode: "SQLITE_CONSTRAINT_TRIGGER", originalMessage: LEFT },
          },
        }),
      },
    }),
    MOVED,
  ],
  [
    "Prisma, a raw query",
    failing(`Raw query failed. Code: \`25006\`. Message: \`${BACK}\``, {
      code: "P2010",
      meta: {
        driverAdapterError: failing("postgres", {
          cause: { kind: "postgres", code: "25006", message: BACK, originalCode: "25006" },
        }),
      },
    }),
    RETURNED,
  ],
  [
    "Prisma with its own engine",
    failing("Raw query failed", {
      code: "P2010",
      meta: { code: "25006", message: `ERROR: ${BACK}\nHINT: Follow the route.` },
    }),
    RETURNED,
  ],
  ["Drizzle", new Error(`Failed query: ${INSERT}\nparams: it`, { cause: pg() }), RETURNED],
  ["Sequelize", failing(LEFT, { name: "SequelizeForeignKeyConstraintError", parent: betterSqlite() }), MOVED],
  ["Sequelize's original", failing("Validation error", { original: betterSqlite(), errors: [] }), MOVED],
  [
    "MikroORM",
    failing(`${INSERT} - ${LEFT}`, { code: "SQLITE_CONSTRAINT_TRIGGER", previous: betterSqlite() }),
    MOVED,
  ],
  ["Objection", failing("constraint", { nativeError: betterSqlite() }), MOVED],
  ["several errors", new AggregateError([new Error("one"), pg()], "several"), RETURNED],
  ["this library", new QueryError(`sqlite: ${LEFT} (in ${INSERT})`, { cause: betterSqlite() }), MOVED],
  ["a copy of the message", new Error(LEFT), MOVED],
  ["a copy with the error's name", { message: `SqliteError: ${LEFT}` }, MOVED],
];

test.each(SHAPES)("%s", (_, error, fence) => {
  expect(fenceOf(error)).toEqual(fence);
});

const OTHERS: readonly (readonly [string, unknown])[] = [
  ["nothing", undefined],
  ["null", null],
  ["a text", LEFT],
  ["the word", new Error("switchback is not running")],
  ["the words inside a sentence", new Error(`the log says: ${LEFT} and more`)],
  ["the words at the end of a sentence", new Error(`the log said ${LEFT}`)],
  ["no epoch", betterSqlite("switchback: writes have moved to PostgreSQL")],
  ["another trigger", betterSqlite("switchback: closed for today")],
  ["a longer word", betterSqlite(`my${LEFT}`)],
  ["a read-only transaction", pg("cannot execute INSERT in a read-only transaction")],
  ["the other store's code on PostgreSQL's words", betterSqlite(BACK)],
  ["the other store's code on SQLite's words", pg(LEFT)],
  [
    "a duplicate",
    failing("UNIQUE constraint failed: note.body", { code: "SQLITE_CONSTRAINT_UNIQUE", errcode: 2067 }),
  ],
  [
    "a duplicate whose SQL holds the words",
    failing(`insert into note values ('${LEFT}') - UNIQUE constraint failed: note.body`, {
      code: "SQLITE_CONSTRAINT_UNIQUE",
    }),
  ],
  [
    "a duplicate whose value is the words",
    failing('duplicate key value violates unique constraint "u"', {
      ...{ code: "23505", detail: `Key (body)=(${BACK}) already exists.` },
    }),
  ],
  ["a duplicate by its code", failing(BACK, { code: "23505" })],
  [
    "parameters that hold the words",
    new Error(`Failed query: ${INSERT}\nparams: ${LEFT}`, { cause: failing("duplicate", { code: "23505" }) }),
  ],
  ["another trigger, in a statement with the words", betterSqlite(`insert ('${LEFT}') - not on Sundays`)],
  ["a caller's own field", failing("mine", { error: betterSqlite(), context: betterSqlite() })],
];

test.each(OTHERS)("no fence: %s", (_, error) => {
  expect(fenceOf(error)).toBeNull();
});

test("what better-sqlite3 really throws", () => {
  const db = new Database(":memory:");
  db.exec(`CREATE TABLE t(a UNIQUE); INSERT INTO t VALUES (1);
    CREATE TRIGGER f BEFORE DELETE ON t BEGIN SELECT RAISE(ABORT, '${LEFT}'); END`);
  const thrown = (sql: string): unknown => {
    try {
      return db.exec(sql);
    } catch (error) {
      return error;
    }
  };
  expect(fenceOf(thrown("DELETE FROM t"))).toEqual(MOVED);
  expect(fenceOf(thrown("INSERT INTO t VALUES (1)"))).toBeNull();
  db.close();
});

/** Numbers below `n`, the same for every run. */
function dice(seed: number): (n: number) => number {
  let state = seed;
  return (n) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * n);
  };
}

const LINKS = ["cause", "original", "parent", "previous", "driverError", "nativeError", "innerError", "meta"];
const BARE = [
  () => new Error("it failed"),
  () => failing("constraint failed", { code: "P2003" }),
  () => failing("UNIQUE constraint failed: t.a", { code: "SQLITE_CONSTRAINT_UNIQUE" }),
  () => ({ kind: "wrapper" }),
];

/** Wraps an error `depth` times at random, with other errors beside it and sometimes a reference to the outer error. */
function nested(inner: unknown, depth: number, below: (n: number) => number): unknown {
  let error = inner;
  for (let i = 0; i < depth; i += 1) {
    const outer = (BARE[below(BARE.length)] as () => Record<string, unknown>)();
    const other = (BARE[below(BARE.length)] as () => Record<string, unknown>)();
    const link = LINKS[below(LINKS.length)] as string;
    if (below(4) === 0) outer.errors = below(2) === 0 ? [other, error] : [error, other, null, "text"];
    else outer[link] = error;
    if (below(3) === 0) other.cause = outer;
    if (below(3) === 0) outer[LINKS[(LINKS.indexOf(link) + 1) % LINKS.length] as string] = other;
    if (below(3) === 0 && typeof error === "object" && error !== null) {
      (error as Record<string, unknown>).parent ??= outer;
    }
    error = outer;
  }
  return error;
}

test("a fence is found under any nesting, with cycles, and nothing is found where there is none", () => {
  for (let seed = 1; seed <= 1_000; seed += 1) {
    const below = dice(seed);
    const depth = below(17);
    const [, make, fence] = [
      ["", betterSqlite, MOVED],
      ["", nodeSqlite, MOVED],
      ["", pg, RETURNED],
    ][below(3)] as [string, () => Error, Fence];
    expect(fenceOf(nested(make(), depth, below)), `seed ${seed}`).toEqual(fence);
    expect(fenceOf(nested(failing("else", { code: "23505" }), depth, below)), `seed ${seed}`).toBeNull();
  }
});

test("the search is bounded, and fields that throw are as good as none", () => {
  const endless: object = new Proxy({}, { get: (_, name) => (name === "errors" ? [] : endless) });
  expect(fenceOf(endless)).toBeNull();
  let deep: unknown = betterSqlite();
  for (let i = 0; i < 100_000; i += 1) deep = { cause: deep };
  expect(fenceOf(deep)).toBeNull();
  const growing = (): object => new Proxy({}, { get: () => growing() });
  expect(fenceOf(growing())).toBeNull();
  const hostile = new Proxy(pg(), {
    get: (target, name) => {
      if (name === "cause" || name === "meta") throw new Error("not for you");
      return Reflect.get(target, name);
    },
  });
  expect(fenceOf(hostile)).toEqual(RETURNED);
  const many = new AggregateError(Array.from({ length: 1_000 }, () => new Error("one")));
  expect(fenceOf(many)).toBeNull();
});
