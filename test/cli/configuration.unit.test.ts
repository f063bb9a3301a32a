// The configuration: precedence, every problem together with its path and value, and no secret in any message.
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { type Config, type ConfigOptions, loadConfig, withPostgres } from "#switchback/config/config.js";
import type { Environment } from "#switchback/config/environment.js";
import { durationMs, listenAddress } from "#switchback/config/file.js";
import { SwitchbackError } from "#switchback/errors.js";
import { mask, maskSecret } from "#switchback/telemetry/redact.js";
import { effort } from "../support/effort.js";

const root = mkdtempSync(join(tmpdir(), "switchback-config-"));
afterAll(() => rmSync(root, { recursive: true, force: true }));
let folders = 0;

/** A new folder with these files in it. */
function folder(files: Record<string, string> = {}): string {
  folders += 1;
  const path = join(root, String(folders));
  mkdirSync(path);
  for (const [name, text] of Object.entries(files)) writeFileSync(join(path, name), text);
  return path;
}

function load(yaml: string, env: Environment = {}, options: ConfigOptions = {}): Config {
  return loadConfig(options, env, folder({ "switchback.yaml": yaml }));
}

/** The lines of CONFIG_INVALID, without the first. */
function problems(work: () => unknown): string[] {
  try {
    work();
  } catch (error) {
    if (!(error instanceof SwitchbackError)) throw error;
    expect(error.code).toBe("CONFIG_INVALID");
    expect(error.kind.exit).toBe(2);
    const [head, ...lines] = error.message.split("\n");
    expect(head).toContain(lines.length === 1 ? "1 problem " : `${lines.length} problems `);
    return lines.map((line) => line.trim());
  }
  throw new Error("the configuration was accepted");
}

/** A reference as the file spells it. */
const variable = (name: string) => ["$", "{", name, "}"].join("");

const SOURCE = "sources: [{ sqlite: ./app.db }]\n";
const SERVER = { DATABASE_URL: "postgres://app:pw@db:5433/main" };

test("the defaults of the contract", () => {
  const cwd = folder({ "switchback.yaml": SOURCE });
  const config = loadConfig({}, SERVER, cwd);
  expect(config).toEqual({
    file: join(cwd, "switchback.yaml"),
    sources: [
      {
        name: "app",
        sqlite: join(cwd, "app.db"),
        schema: "public",
        target: "create",
        lengths: "drop",
        include: ["*"],
        exclude: [],
        tables: {},
      },
    ],
    postgres: {
      host: "db",
      port: 5433,
      database: "main",
      user: "app",
      password: "pw",
      ssl: false,
      maxConnections: 10,
    },
    embedded: false,
    flagFile: join(cwd, "switchback.flag"),
    routeFile: join(cwd, "switchback.route.json"),
    http: { host: "127.0.0.1", port: 9464 },
    token: null,
    backfill: { workers: 2 },
    cutover: { maxLagMs: 2_000, timeoutMs: 10_000, requireVerifyMs: 3_600_000 },
    verify: { everyMs: 3_600_000, share: 0.02 },
  });
});

test("every key of the contract's example, and JSON as well as YAML", () => {
  const cwd = folder({ token: "s3cret\n" });
  const given = {
    sources: [
      {
        name: "shop",
        sqlite: "./data/app.db",
        schema: "shop",
        target: "adopt",
        lengths: "keep",
        include: ["*"],
        exclude: ["tmp_*"],
        tables: {
          tasks: {
            name: "jobs",
            columns: {
              at: { type: "timestamptz", from: "unix_ms" },
              meta: { type: "jsonb", name: "metadata" },
            },
          },
        },
      },
    ],
    postgres: { url: variable("DATABASE_URL") },
    flag: "./f",
    route: "./r",
    http: { listen: "0.0.0.0:80", token_file: join(cwd, "token") },
    backfill: { workers: 4 },
    cutover: { max_lag: "500ms", timeout: "1.5m", require_verify: "2h" },
  };
  const path = join(cwd, "other.json");
  writeFileSync(path, JSON.stringify(given));
  const config = loadConfig({ config: "other.json" }, SERVER, cwd);
  expect(config.sources).toEqual([{ ...given.sources[0], sqlite: join(cwd, "data/app.db") }]);
  expect(config.http).toEqual({ host: "0.0.0.0", port: 80 });
  expect(config.token).toBe("s3cret");
  expect(config.backfill.workers).toBe(4);
  expect(config.cutover).toEqual({ maxLagMs: 500, timeoutMs: 90_000, requireVerifyMs: 7_200_000 });
  expect([config.flagFile, config.routeFile]).toEqual([join(cwd, "f"), join(cwd, "r")]);
});

test("option before environment before file before default", () => {
  const yaml = `${SOURCE}postgres: { host: file, database: d, user: u }\nflag: file.flag\nhttp: { listen: "127.0.0.1:1" }\n`;
  const env = {
    DATABASE_URL: "postgres://u@env/d",
    SWITCHBACK_FLAG: "env.flag",
    SWITCHBACK_HTTP: "127.0.0.1:2",
    SQLITE_DATABASE_PATH: "env.db",
  };
  expect(load(yaml).postgres?.host).toBe("file");
  expect(load(yaml, env).postgres?.host).toBe("env");
  expect(load(yaml, env, { postgres: "postgres://u@option/d" }).postgres?.host).toBe("option");
  expect(load(yaml).flagFile).toMatch(/file\.flag$/);
  expect(load(yaml, env).flagFile).toMatch(/env\.flag$/);
  expect(load(yaml, env).http?.port).toBe(2);
  expect(load(yaml, env).sources[0]?.sqlite).toMatch(/env\.db$/);
  expect(load(yaml, env, { sqlite: ["option.db"] }).sources[0]?.sqlite).toMatch(/option\.db$/);
});

test("the file: named by option or SWITCHBACK_CONFIG, missing only when named", () => {
  const cwd = folder({ "a.yaml": `${SOURCE}flag: a`, "b.yaml": `${SOURCE}flag: b` });
  expect(loadConfig({ config: "a.yaml" }, { ...SERVER, SWITCHBACK_CONFIG: "b.yaml" }, cwd).flagFile).toBe(
    join(cwd, "a"),
  );
  expect(loadConfig({}, { ...SERVER, SWITCHBACK_CONFIG: "b.yaml" }, cwd).flagFile).toBe(join(cwd, "b"));
  expect(loadConfig({ sqlite: ["x.db"] }, SERVER, cwd).file).toBeNull();
  for (const config of ["missing.yaml", "."]) {
    expect(() => loadConfig({ config }, SERVER, cwd)).toThrow(
      expect.objectContaining({ code: "CONFIG_MISSING" }),
    );
  }
});

test("a pattern gives types and no names", () => {
  const lines = problems(() =>
    load(`sources: [{ sqlite: a.db, tables: { "*": { name: t, columns: { c: { name: d } } }, t: { columns: { "c*": { name: e } } } } }]
postgres: { url: "postgres://h/d" }`),
  );
  expect(lines).toEqual([
    'sources[0].tables.*.name: a pattern cannot name one table, received "t"',
    'sources[0].tables.*.columns.c.name: a pattern cannot name one column, received "d"',
    'sources[0].tables.t.columns.c*.name: a pattern cannot name one column, received "e"',
  ]);
});

test("every problem together, each with its path and the value received", () => {
  const lines = problems(() =>
    load(
      `sources:
  - { name: a, sqlite: a.db, shema: public, target: creat, include: "*", tables: { t: { columns: { c: { type: 3, from: unixx } } } } }
  - { sqlite: b.db }
postgres: { url: "\${ABSENT}", prot: 1 }
http: { listen: "here:there" }
backfill: { workers: two }
cutover: { max_lag: 2, timeout: soon }
flags: 1
`,
    ),
  );
  expect(lines).toEqual(
    expect.arrayContaining([
      'sources[0].shema: unknown key (did you mean schema?), received "public"',
      'sources[0].target: expected create or adopt, received "creat"',
      'sources[0].include: expected a list, received "*"',
      "sources[0].tables.t.columns.c.type: expected a text, received 3",
      'sources[0].tables.t.columns.c.from: expected text or digits or unix or unix_ms or unix_us or unix_ns or julian, received "unixx"',
      'sources[1].schema: the same as sources[0].schema; give each source its own schema, received "public"',
      `postgres.url: the environment variable ABSENT is not set, received "${variable("ABSENT")}"`,
      "postgres.prot: unknown key (did you mean port?), received 1",
      'http.listen: expected an address such as 127.0.0.1:9464, or off, received "here:there"',
      'backfill.workers: expected a whole number, received "two"',
      "cutover.max_lag: expected a duration such as 500ms, 2s, 10m or 1h, received 2",
      'cutover.timeout: expected a duration such as 500ms, 2s, 10m or 1h, received "soon"',
      "flags: unknown key (did you mean flag?), received 1",
    ]),
  );
  expect(lines).toHaveLength(13);
});

test.each([
  ["backfill: { workers: 0 }", "backfill.workers: expected at least 1, received 0"],
  ["backfill: { workers: 65 }", "backfill.workers: expected at most 64, received 65"],
  ["backfill: { workers: 1.5 }", "backfill.workers: expected a whole number, received 1.5"],
  ["backfill: 3", "backfill: expected a mapping of keys, received 3"],
  ["http:", "http: expected a mapping of keys, received null"],
  ["flag: ''", 'flag: expected a text that is not empty, received ""'],
  [
    "postgres: { ssl: 3 }",
    "postgres.ssl: expected true, false or a mode such as require or verify-full, received 3",
  ],
  ["flag: a\nroute: a", "route: the same file as flag, received"],
  ["flag: app.db", "flag: the same file as sources[0].sqlite, received"],
  ["http: { token: a, token_file: b }", "http: token stands beside token_file; keep one, received both"],
  ["postgres: { url: 'postgres://h/d', host: h }", "postgres: url stands beside host, port or database"],
  ["postgres: { password: a, password_file: b }", "postgres: password stands beside password_file"],
])("%s is one problem", (yaml, expected) => {
  const lines = problems(() => load(`${SOURCE}${yaml}\n`, SERVER));
  expect(lines.filter((line) => line.startsWith(expected))).toHaveLength(1);
});

test.each([
  [
    "{ sqlite: a.db, schema: x }, { sqlite: b.db, schema: x }",
    "sources[1].schema: the same as sources[0].schema",
  ],
  [
    "{ sqlite: x/a.db, schema: x }, { sqlite: y/a.db, schema: y }",
    "sources[1].name: the same as sources[0].name",
  ],
  [
    "{ name: a, sqlite: a.db, schema: x }, { name: b, sqlite: ./a.db, schema: y }",
    "sources[1].sqlite: the same as sources[0].sqlite",
  ],
  ["{ name: a }", "sources[0].sqlite: expected the path of a SQLite file, received nothing"],
  ["{ sqlite: a.db, schema: pg_x }", "sources[0].schema: expected a schema that neither"],
  ["{ sqlite: a.db, schema: switchback }", "sources[0].schema: expected a schema that neither"],
  ["{ sqlite: ':memory:' }", "sources[0].sqlite: expected the path of a file"],
  ["{ sqlite: a.db, exclude: [t], tables: { t: {} } }", "sources[0].tables.t: has settings and is excluded"],
  ["{ sqlite: a.db, tables: { t: { name: x }, x: {} } }", "sources[0].tables.x.name: t has that name"],
  [
    "{ sqlite: a.db, tables: { t: { columns: { a: { name: b }, b: {} } } } }",
    "sources[0].tables.t.columns.b.name: a has that name",
  ],
  [
    "{ sqlite: a.db, tables: { t: { columns: { a: { type: uuid, from: unix } } } } }",
    "sources[0].tables.t.columns.a: from says",
  ],
  [
    "{ sqlite: a.db, tables: { t: { columns: { a: { type: timestampz } } } } }",
    "sources[0].tables.t.columns.a.type: expected one of ",
  ],
  [
    "{ sqlite: a.db, tables: { t: { columns: { a: { type: numeric(10,2) } } } } }",
    'sources[0].tables.t.columns.a.type: expected the type in quotes, as in { type: "numeric(10,2)" }',
  ],
  ["", "sources: expected at least one entry, received []"],
])("sources that cannot be: %s", (sources, expected) => {
  const lines = problems(() => load(`sources: [${sources}]`, SERVER));
  expect(lines).toHaveLength(1);
  expect(lines[0]).toContain(expected);
});

test("one file behind two paths is one file", () => {
  const cwd = folder({
    "a.db": "",
    "switchback.yaml": "sources: [{ sqlite: a.db, schema: a }, { sqlite: b.db, schema: b }]",
  });
  symlinkSync(join(cwd, "a.db"), join(cwd, "b.db"));
  expect(problems(() => loadConfig({}, SERVER, cwd))).toEqual([
    expect.stringContaining("sources[1].sqlite: the same as sources[0].sqlite"),
  ]);
});

test("what is missing is said once, and not while the file cannot be read at all", () => {
  expect(problems(() => loadConfig({}, {}, folder()))).toEqual([
    expect.stringContaining("sources: expected --sqlite FILE"),
    expect.stringContaining("postgres: expected --postgres URL"),
  ]);
  expect(problems(() => load("sources: [", SERVER))).toEqual([
    expect.stringMatching(/^line 1, column \d+: /),
  ]);
  expect(loadConfig({}, {}, folder(), { sources: false, postgres: false }).postgres).toBeNull();
});

test("--sqlite keeps the settings that the file has for that database", () => {
  const two = "sources: [{ name: one, sqlite: a.db, schema: s1 }, { name: two, sqlite: b.db, schema: s2 }]";
  expect(load(two, SERVER, { sqlite: ["b.db"] }).sources.map(({ name, schema }) => [name, schema])).toEqual([
    ["two", "s2"],
  ]);
  const one = "sources: [{ name: one, sqlite: a.db, schema: s1 }]";
  expect(
    load(one, SERVER, { sqlite: ["copy.db"] }).sources.map(({ name, schema }) => [name, schema]),
  ).toEqual([["one", "s1"]]);
  const fresh = loadConfig({ sqlite: ["x/a.db", "b.c.db"] }, SERVER, folder()).sources;
  expect(fresh.map(({ name, schema }) => [name, schema])).toEqual([
    ["a", "a"],
    ["b.c", "b.c"],
  ]);
});

test("SQLITE_DATABASE_PATH cannot stand for several sources, but may agree with one", () => {
  const two = "sources: [{ sqlite: a.db, schema: s1 }, { sqlite: b.db, schema: s2 }]";
  expect(load(two, { ...SERVER, SQLITE_DATABASE_PATH: "b.db" }).sources).toHaveLength(2);
  expect(problems(() => load(two, { ...SERVER, SQLITE_DATABASE_PATH: "c.db" }))[0]).toMatch(
    /^SQLITE_DATABASE_PATH: /,
  );
});

test("PostgreSQL from POSTGRES_*, from PG*, and gaps of a URL filled as libpq does", () => {
  const named = load(SOURCE, {
    POSTGRES_HOST: "h",
    POSTGRES_PORT: "5544",
    POSTGRES_DB: "d",
    POSTGRES_USER: "u",
    POSTGRES_PASSWORD: "p",
    POSTGRES_SSL: "true",
    POSTGRES_MAX_CONNECTIONS: "7",
  });
  expect(named.postgres).toEqual({
    host: "h",
    port: 5544,
    database: "d",
    user: "u",
    password: "p",
    ssl: true,
    maxConnections: 7,
  });
  const pg = load(SOURCE, { PGHOST: "/run/pg", PGDATABASE: "d", PGUSER: "u", PGSSLMODE: "require" });
  expect(pg.postgres).toMatchObject({
    host: "/run/pg",
    port: 5432,
    database: "d",
    user: "u",
    ssl: { rejectUnauthorized: false },
  });
  const both = load(SOURCE, { DATABASE_URL: "postgres://u@h/d", PGPASSWORD: "p", PGHOST: "elsewhere" });
  expect(both.postgres).toMatchObject({ host: "h", database: "d", password: "p" });
  const file = `${SOURCE}postgres: { host: h, database: d, user: u }`;
  expect(load(file, { PGPASSWORD: "p", PGPORT: "1" }).postgres).toMatchObject({
    host: "h",
    password: "p",
    port: 1,
  });
  expect(load(SOURCE, { ...SERVER, POSTGRES_PORT: "tcp://10.0.0.1:5432" }).postgres?.port).toBe(5433);
  // What another program's variables replace is known, so that the commands can say it.
  expect(load(file, { PGPASSWORD: "p" }).postgres).not.toHaveProperty("replacedBy");
  expect(load(SOURCE, { PGHOST: "other" }).postgres).not.toHaveProperty("replacedBy");
  expect(load(file, { PGHOST: "other", PGDATABASE: "x" }).postgres).toMatchObject({
    host: "other",
    replacedBy: ["PGHOST", "PGDATABASE"],
  });
});

test.each([
  [
    "postgres://u:p%40%2F@h:1/d",
    { host: "h", port: 1, user: "u", password: "p@/", database: "d", ssl: false },
  ],
  ["postgresql://u@[::1]:1/d?sslmode=verify-full", { host: "::1", port: 1, ssl: true }],
  ["postgres:///d?host=/run/pg&user=u", { host: "/run/pg", user: "u", database: "d" }],
  ["postgres://u@%2Frun%2Fpg/d", { host: "/run/pg" }],
  ["postgres://u@h/d?sslmode=require&channel_binding=require", { ssl: { rejectUnauthorized: false } }],
  ["postgres://u@h/d?sslmode=disable&application_name=x", { ssl: false }],
])("the URL %s", (postgres, expected) => {
  expect(load(SOURCE, {}, { postgres }).postgres).toMatchObject(expected);
});

test("an unreadable URL, port, mode or too few connections", () => {
  const url = (postgres: string) => problems(() => load(SOURCE, {}, { postgres }))[0];
  expect(url("mysql://h/d")).toMatch(/^--postgres: expected a URL such as postgres:/);
  expect(url("postgres://h1,h2/d")).toContain("expected a URL");
  expect(url("postgres://u@h/d?sslmode=maybe")).toContain('received "maybe"');
  expect(url("postgres://u@h/d?sslcert=x")).toContain("the parameter sslcert is not supported");
  expect(url("postgres://u@h/d?sslrootcert=absent.pem")).toContain("ENOENT");
  expect(problems(() => load(SOURCE, { ...SERVER, POSTGRES_PORT: "0" }))[0]).toContain('received "0"');
  const file = `${SOURCE}backfill: { workers: 8 }\npostgres: { host: h, max_connections: 9 }`;
  expect(problems(() => load(file))).toEqual([
    expect.stringContaining("postgres.max_connections: expected at least 10"),
  ]);
  expect(load(`${SOURCE}backfill: { workers: 20 }`, SERVER).postgres?.maxConnections).toBe(22);
});

test("--embedded leaves the server open and excludes --postgres", () => {
  const config = load(SOURCE, SERVER, { embedded: true });
  expect([config.embedded, config.postgres]).toEqual([true, null]);
  const server = { host: "h", port: 1, database: "d", user: "u", ssl: false, maxConnections: 4 };
  expect(withPostgres(config, server).postgres).toEqual(server);
  expect(problems(() => load(SOURCE, {}, { embedded: true, postgres: "postgres://h/d" }))).toHaveLength(1);
});

test("NAME_FILE of any variable; not beside NAME; not empty; not absent", () => {
  const cwd = folder({
    "switchback.yaml": SOURCE,
    url: "postgres://u:p@h/d\n",
    token: "t0ken\r\n",
    empty: "",
  });
  const config = loadConfig({}, { DATABASE_URL_FILE: join(cwd, "url"), SWITCHBACK_TOKEN_FILE: "token" }, cwd);
  expect([config.postgres?.password, config.token]).toEqual(["p", "t0ken"]);
  const wrong = problems(() =>
    loadConfig(
      {},
      { ...SERVER, DATABASE_URL_FILE: "url", SWITCHBACK_TOKEN_FILE: "empty", SWITCHBACK_FLAG_FILE: "none" },
      cwd,
    ),
  );
  expect(wrong).toHaveLength(3);
  expect(wrong).toEqual(
    expect.arrayContaining([
      expect.stringContaining("DATABASE_URL: set together with DATABASE_URL_FILE"),
      'SWITCHBACK_TOKEN_FILE: the file is empty, received "empty"',
      'SWITCHBACK_FLAG_FILE: the file cannot be read (ENOENT), received "none"',
    ]),
  );
});

test("a variable is filled in from the environment, as a number too; a doubled $ keeps it", () => {
  const config = load(
    `sources: [{ sqlite: "${variable("DIR")}/$${variable("x")}.db" }]\nbackfill: { workers: "${variable("N")}" }`,
    {
      ...SERVER,
      DIR: "/d",
      N: "3",
    },
  );
  expect(config.sources[0]?.sqlite).toBe(`/d/${variable("x")}.db`);
  expect(config.backfill.workers).toBe(3);
});

test("a variable of a section that something else overrides, or no one needs, may be unset", () => {
  const yaml = `${SOURCE}postgres: { url: "${variable("ABSENT")}", max_connections: 20 }`;
  expect(load(yaml, {}, { postgres: "postgres://u@h/d" }).postgres).toMatchObject({
    host: "h",
    maxConnections: 20,
  });
  expect(load(yaml, {}, { embedded: true }).postgres).toBeNull();
  const cwd = folder({ "switchback.yaml": `${SOURCE}postgres: { url: "${variable("ABSENT")}" }` });
  expect(loadConfig({}, {}, cwd, { sources: true, postgres: false }).postgres).toBeNull();
  expect(problems(() => loadConfig({}, {}, cwd))).toHaveLength(1);
});

// Every way in which a secret could reach a message; the secret is the same in all of them.
const SECRET = "hunter2-S3CRET";
test.each<[string, string, Environment, ConfigOptions]>([
  ["a URL that does not parse", SOURCE, {}, { postgres: `postgres://u:${SECRET}#/x@h:port/d` }],
  ["a URL of another kind", SOURCE, { DATABASE_URL: `mysql://u:${SECRET}@h/d` }, {}],
  ["a password for a URL", SOURCE, { DATABASE_URL: SECRET }, {}],
  ["an unsupported parameter", SOURCE, {}, { postgres: `postgres://u:${SECRET}@h/d?sslcert=x` }],
  ["a password as a parameter", SOURCE, {}, { postgres: `postgres://u@h/d?password=${SECRET}&sslcert=x` }],
  ["a wrong type", `postgres: { password: [${SECRET}] }`, {}, {}],
  ["a misspelt key", `postgres: { passwrod: ${SECRET} }`, {}, {}],
  ["a misspelt section", `postgress: { password: ${SECRET}, url: "postgres://u:${SECRET}@h/d" }`, {}, {}],
  ["a key in the wrong place", `database_url: postgres://u:${SECRET}@h/d`, {}, {}],
  [
    "interpolation into the wrong key",
    `backfill: { workers: ${variable("S")} }\nsources: [{ sqlite: a.db, target: ${variable("S")} }]`,
    { S: SECRET },
    {},
  ],
  ["an alias", `postgres: { password: *${SECRET} }`, {}, {}],
  ["a syntax error", `postgres: { password: "${SECRET}\nflag: x`, {}, {}],
  ["another syntax error", `postgres: { password: ${SECRET}]: ${SECRET} }`, {}, {}],
  ["a token with blanks", `http: { token: "${SECRET} ${SECRET}" }`, {}, {}],
  ["a token in the environment", SOURCE, { SWITCHBACK_TOKEN: `${SECRET} ` }, {}],
])("no secret in the message: %s", (_what, yaml, env, options) => {
  const text = problems(() => load(yaml, env, options)).join("\n");
  expect(text).not.toContain("hunter2");
  expect(text).not.toContain("S3CRET");
});

test("frozen to the last leaf", () => {
  const config = load(
    "sources: [{ sqlite: a.db, tables: { t: { columns: { c: { type: uuid } } } } }]",
    SERVER,
  );
  const leaves = (value: unknown): boolean =>
    typeof value !== "object" ||
    value === null ||
    (Object.isFrozen(value) && Object.values(value).every(leaves));
  expect(leaves(config)).toBe(true);
});

test("durations and addresses", () => {
  expect(["500ms", "2s", "10m", "1h", "1.5s", "1d", " 2s "].map(durationMs)).toEqual([
    500, 2_000, 600_000, 3_600_000, 1_500, 86_400_000, 2_000,
  ]);
  expect(["", "2", "0s", "-1s", "2 weeks", "s", 2, null].map(durationMs)).toEqual(Array(8).fill(undefined));
  expect(["127.0.0.1:1", "[::1]:2", "localhost:3", "4", ":5", 6].map(listenAddress)).toEqual([
    { host: "127.0.0.1", port: 1 },
    { host: "::1", port: 2 },
    { host: "localhost", port: 3 },
    { host: "127.0.0.1", port: 4 },
    { host: "127.0.0.1", port: 5 },
    { host: "127.0.0.1", port: 6 },
  ]);
  expect(listenAddress("off")).toBe("off");
  expect(["", "on", "h:99999", "::1:2", "h:1:2", false].map(listenAddress)).toEqual(Array(6).fill(undefined));
});

/** Numbers between 0 and 1, the same in every run. */
function generator(seed: number): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 2 ** 32;
  };
}

test("no piece of a password in a URL shows, whatever characters it has", () => {
  const random = generator(20_261_121);
  const alphabet = "QXZJKVWqxzjkvw0123456789##??//@@::%&=+ \"'<>[]{}|^`~!$;,.-_\\";
  const around = [
    (p: string) => `postgres://usr:${p}@h:5432/d`,
    (p: string) => `postgresql://usr:${p}@h/d?sslmode=require`,
    (p: string) => `postgres://h/d?user=usr&password=${p}`,
    (p: string) => `postgres://usr:12${p}@h`,
  ];
  const cwd = folder();
  const rounds = effort(400, 1_500);
  let refused = 0;
  for (let round = 0; round < rounds; round += 1) {
    const length = 4 + Math.floor(random() * 14);
    const password = Array.from({ length }, () => alphabet[Math.floor(random() * alphabet.length)]).join("");
    const url = around[round % around.length]?.(password) ?? "";
    const said = [mask(`cannot reach ${maskSecret(url)}`)];
    const place = round % 3 === 0 ? "flag" : "url";
    try {
      const yaml = place === "flag" ? { postgres: JSON.stringify(url), sources: [] } : { postgres: { url } };
      const text = JSON.stringify({ sources: [{ sqlite: "./app.db" }], ...yaml });
      writeFileSync(join(cwd, "switchback.yaml"), text);
      const { postgres } = loadConfig({}, {}, cwd);
      // What a command announces of the server, where the URL was read otherwise than it was meant.
      if (postgres && postgres.password !== undefined)
        said.push(`${postgres.user}@${postgres.host}:${postgres.port}/${postgres.database}`);
    } catch (error) {
      if (!(error instanceof SwitchbackError)) throw error;
      refused += 1;
      said.push(error.message);
    }
    for (let at = 0; at + 4 <= password.length; at += 1) {
      const piece = password.slice(at, at + 4);
      if (said.some((text) => text.includes(piece)))
        throw new Error(`${JSON.stringify(piece)} of ${JSON.stringify(url)} shows in ${said.join("\n")}`);
    }
  }
  expect(refused).toBeGreaterThan(rounds / 5);
});
