// The log: JSON for machines, short lines for people, and no secret in either.
import { PassThrough } from "node:stream";
import { expect, test, vi } from "vitest";
import { SwitchbackError } from "#switchback/errors.js";
import { createLog, type Level } from "#switchback/telemetry/log.js";
import { createProgress, withPrefix } from "#switchback/telemetry/progress.js";
import { isSecretName, mask, maskSecret } from "#switchback/telemetry/redact.js";

function recorder(terminal: boolean, level: Level = "info") {
  const lines: string[] = [];
  const screen = { write: (text: string) => lines.push(text) };
  return { lines, screen, log: createLog({ level, terminal, screen }) };
}

/** All that was drawn: a stream may give it back in one piece or chunk by chunk. */
function drawnOn(stream: PassThrough): string {
  let drawn = "";
  for (let chunk = stream.read(); chunk !== null; chunk = stream.read()) drawn += String(chunk);
  return drawn;
}

test("JSON: level as a word, time in UTC, fields as given, below the level nothing", () => {
  const { lines, log } = recorder(false);
  log.info({ table: "orders", rows: 3 }, "copied");
  log.debug("not said");
  expect(lines).toHaveLength(1);
  const line = JSON.parse(lines[0] ?? "");
  expect(line).toEqual({ level: "info", time: line.time, table: "orders", rows: 3, msg: "copied" });
  expect(line.time).toMatch(/^\d{4}-\d\d-\d\dT[\d:.]+Z$/);
});

test("for people: one short line", () => {
  const { lines, log } = recorder(true);
  log.warn({ table: "orders", at: { position: 3 } }, "behind");
  expect(lines[0]).toMatch(/^\d\d:\d\d:\d\d warn {2}behind {2}table=orders {2}at=\{"position":3\}\n$/);
});

test("an error of ours says code, place and hint; a stack only when asked for", () => {
  const error = new SwitchbackError(
    "SQLITE_BUSY",
    "locked",
    { file: "/a.db", table: "t" },
    { cause: new Error("inner") },
  );
  const { lines, log } = recorder(false);
  log.error({ err: error }, "stopped");
  expect(JSON.parse(lines[0] ?? "").err).toEqual({
    code: "SQLITE_BUSY",
    message: "locked",
    file: "/a.db",
    table: "t",
    hint: error.kind.hint,
    cause: { name: "Error", message: "inner" },
  });
  const debug = recorder(false, "debug");
  debug.log.error({ err: error }, "stopped");
  expect(JSON.parse(debug.lines[0] ?? "").err.stack).toContain("log.unit.test");
  const person = recorder(true);
  person.log.error({ err: error }, "stopped");
  expect(person.lines[0]).toContain("stopped  SQLITE_BUSY: locked  → ");
});

test("secrets are hidden in fields, in messages and in errors, at any level", () => {
  for (const terminal of [false, true]) {
    const { lines, log } = recorder(terminal);
    log.info(
      { password: "hunter2", postgres: { password: "hunter2", url: "postgres://u:hunter2@h/d" } },
      "one",
    );
    log.info({ config: { postgres: { password: "hunter2" }, token: "hunter2" } }, "two");
    log.info("connecting to postgres://u:hunter2@h/d?password=hunter2");
    log.info({ err: new Error('cannot reach "postgres://u:p@ss:hunter2@h/d" password=hunter2') }, "three");
    log.info({ headers: { authorization: "Bearer hunter2" } }, "Bearer hunter2");
    log.info(
      { a: { b: { c: { d: { password: "hunter2", text: '{"token": "hunter2"}' } } } } },
      "password=hunter2",
    );
    expect(lines).toHaveLength(6);
    expect(lines.join("")).not.toContain("hunter2");
    expect(lines.join("")).toContain("u:***@h/d");
  }
});

test("what a secret looks like", () => {
  expect(mask("postgres://u:p@h/d and redis://:x@h")).toBe("postgres://u:***@h/d and redis://:***@h");
  expect(mask("postgres://u@h/d?sslmode=require&password=x")).toBe(
    "postgres://u@h/d?sslmode=require&password=***",
  );
  expect(mask("host=h password='a b' user=u")).toBe("host=h password=*** user=u");
  expect(mask("nothing to hide: a@b.example, 12:34")).toBe("nothing to hide: a@b.example, 12:34");
  expect(maskSecret("hunter2")).toBe("***");
  expect(maskSecret("file:./dev.db")).toBe("file:./dev.db");
  expect(maskSecret("postgres://u:a b/c@d@h/d")).toBe("postgres://u:***@h/d");
  expect(
    ["password", "PGPASSWORD", "passwd", "token_file", "url", "api-key", "authorization"].every(isSecretName),
  ).toBe(true);
  expect(["schema", "host", "workers", "monkey", "keys"].some(isSecretName)).toBe(false);
});

test("progress without a terminal: a line at first, then one every few seconds, a sum at the end", () => {
  vi.useFakeTimers({ toFake: ["performance"] });
  try {
    const { lines, log, screen } = recorder(false);
    const progress = createProgress({ json: false, terminal: false, log, screen });
    progress.phase("building indexes");
    for (let rows = 0; rows <= 100; rows += 1) {
      progress.table("orders", rows, 80);
      vi.advanceTimersByTime(100);
    }
    progress.done();
    progress.done();
    const said = lines.map((line) => JSON.parse(line));
    expect(said.map(({ msg }) => msg)).toEqual([
      "building indexes",
      "copying",
      "copying",
      "copying",
      "copied",
    ]);
    expect(said[2]).toMatchObject({ table: "orders", rows: 50, estimated: 80, rate: 10, leftSeconds: 3 });
    expect(said[3]).toMatchObject({ rows: 100, estimated: 100, leftSeconds: 0 });
    expect(said[4]).toMatchObject({ tables: 1, rows: 100 });
  } finally {
    vi.useRealTimers();
  }
});

test("tables of one name in two sources are two", () => {
  const { lines, log, screen } = recorder(false);
  const progress = createProgress({ json: false, terminal: false, log, screen });
  withPrefix(progress, "app.").table("orders", 3, 3);
  withPrefix(progress, "shop.").table("orders", 4, 4);
  progress.done();
  expect(lines.map((line) => JSON.parse(line))).toMatchObject([
    { table: "app.orders", msg: "copying" },
    { tables: 2, rows: 7, msg: "copied" },
  ]);
});

test("progress with --json says nothing", () => {
  const { lines, log, screen } = recorder(true);
  const progress = createProgress({ json: true, terminal: true, log, screen });
  progress.table("orders", 1, 2);
  progress.phase("x");
  progress.done();
  expect(lines).toEqual([]);
});

test("the log goes above the bars while there are any, and back to the screen afterwards", async () => {
  const { lines, log, screen } = recorder(true);
  const direct = screen.write;
  const stream = Object.assign(new PassThrough(), { isTTY: true, columns: 120 });
  const progress = createProgress({ json: false, terminal: true, log, screen, stream });
  progress.table("orders", 1, 2);
  expect(screen.write).not.toBe(direct);
  log.info("meanwhile");
  let drawn = "";
  await expect.poll(() => (drawn += drawnOn(stream))).toMatch(/orders .* 50% {2}1\/2/);
  progress.done();
  expect(drawn).toContain("info  meanwhile\x1b[K\n");
  expect(screen.write).toBe(direct);
  log.info("after");
  expect(lines).toHaveLength(1);
});

test("a table without rows to copy opens no bars, and a complete one closes them: the log is never held back", () => {
  const { lines, log, screen } = recorder(true);
  const direct = screen.write;
  const stream = Object.assign(new PassThrough(), { isTTY: true, columns: 120 });
  const progress = createProgress({ json: false, terminal: true, log, screen, stream });
  progress.table("empty", 0, 0);
  expect(screen.write).toBe(direct);
  progress.table("orders", 1, 100);
  progress.table("lines", 1, 9);
  progress.table("orders", 99, 99);
  expect(screen.write).not.toBe(direct);
  log.info("one");
  log.info("two");
  progress.table("lines", 9, 9);
  expect(screen.write).toBe(direct);
  log.info("after");
  expect(lines).toHaveLength(1);
  const drawn = drawnOn(stream);
  for (const line of ["orders: 99 rows", "one", "two", "lines: 9 rows"])
    expect(drawn).toContain(`${line}\x1b[K\n`);
});

test("a bar that did not reach its end says how far it came", () => {
  const { log, screen } = recorder(true);
  const stream = Object.assign(new PassThrough(), { isTTY: true, columns: 120 });
  const progress = createProgress({ json: false, terminal: true, log, screen, stream });
  progress.table("orders", 50, 100);
  progress.done();
  expect(drawnOn(stream)).toContain("orders: 50 of about 100 rows");
});
