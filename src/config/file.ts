// The configuration file: YAML (JSON is YAML), interpolated, then checked by one strict schema. It owns the
// permitted contents of the file and the report of a wrong value. A report has the path, the expected value,
// and the value as spelled in the file, so that an interpolated secret never shows. It knows neither options
// nor the precedence of the environment (config.ts), and sets no defaults.
import { LineCounter, parseDocument } from "yaml";
import { z } from "zod";
import { nearNames } from "../near-names.js";
import { MOMENT_SOURCES } from "../schema/moment-source.js";
import { isSecretName, mask, maskSecret } from "../telemetry/redact.js";

/** Takes one problem: its path, and what was expected and received. */
export type Report = (path: string, problem: string) => void;

/** A value of the environment, or undefined where it is not set. */
export type EnvironmentLookup = (name: string) => string | undefined;

/** A value that `read` understands (anything but undefined); `expected` says what that is. */
function parsed<T>(expected: string, read: (value: unknown) => T | undefined) {
  return z.unknown().transform((value, context): T => {
    const out = read(value);
    if (out !== undefined) return out;
    context.addIssue({ code: "custom", message: expected });
    return z.NEVER;
  });
}

const UNIT_MS: Readonly<Record<string, number>> = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 };
export const DURATION = "a duration such as 500ms, 2s, 10m or 1h";

/** Milliseconds of `500ms`, `2s`, `1.5m`, `1h`, `1d`; undefined for any other value. */
export function durationMs(value: unknown): number | undefined {
  const match = typeof value === "string" ? /^(\d+(?:\.\d+)?)\s*(ms|s|m|h|d)$/.exec(value.trim()) : null;
  const ms = Number(match?.[1]) * (UNIT_MS[match?.[2] ?? ""] ?? Number.NaN);
  return ms > 0 && Number.isSafeInteger(Math.round(ms)) ? Math.round(ms) : undefined;
}

const SHARE = "a share of the time such as 2%, at most 50%, or off";
const SHARE_MAX = 0.5;

/** The fraction that `2%` is; 0 for `off`; undefined for any other value. */
function share(value: unknown): number | undefined {
  // YAML reads a bare off as text, and false as a boolean.
  if (value === "off" || value === false) return 0;
  const match = typeof value === "string" ? /^(\d+(?:\.\d+)?)\s*%$/.exec(value.trim()) : null;
  const fraction = Number(match?.[1]) / 100;
  return fraction >= 0 && fraction <= SHARE_MAX ? fraction : undefined;
}

export interface Listen {
  readonly host: string;
  readonly port: number;
}
export const LISTEN = "an address such as 127.0.0.1:9464, or off";

/** `host:port`, a port alone (then loopback), or `off`. */
export function listenAddress(value: unknown): Listen | "off" | undefined {
  if (value === "off") return "off";
  const match = /^(?:(\[[0-9a-f:.%]+\]|[^:[\]\s]*):)?(\d{1,5})$/i.exec(String(value));
  const port = Number(match?.[2]);
  if (!match || port > 65_535) return undefined;
  return { host: (match[1] ?? "").replace(/^\[|\]$/g, "") || "127.0.0.1", port };
}

const text = z.string().min(1);
const number = (least: number, most: number) => z.int().min(least).max(most);
const duration = parsed(DURATION, durationMs).optional();

const COLUMN = z.strictObject({
  type: text.optional(),
  from: z.enum(MOMENT_SOURCES).optional(),
  name: text.optional(),
});
const TABLE = z.strictObject({ name: text.optional(), columns: z.record(z.string(), COLUMN).optional() });
const SOURCE = z.strictObject({
  name: text.optional(),
  sqlite: text.optional(),
  schema: text.optional(),
  target: z.enum(["create", "adopt"]).optional(),
  lengths: z.enum(["keep", "drop"]).optional(),
  include: z.array(text).min(1).optional(),
  exclude: z.array(text).optional(),
  tables: z.record(z.string(), TABLE).optional(),
});
const POSTGRES = z.strictObject({
  url: text.optional(),
  host: text.optional(),
  port: number(1, 65_535).optional(),
  database: text.optional(),
  user: text.optional(),
  password: text.optional(),
  password_file: text.optional(),
  ssl: z.union([z.boolean(), text]).optional(),
  max_connections: number(1, 10_000).optional(),
});
const HTTP = z.strictObject({
  listen: parsed(LISTEN, listenAddress).optional(),
  token: text.optional(),
  token_file: text.optional(),
});
const BACKFILL = z.strictObject({ workers: number(1, 64).optional() });
const VERIFY = z.strictObject({ every: duration, share: parsed(SHARE, share).optional() });
const CUTOVER = z.strictObject({ max_lag: duration, timeout: duration, require_verify: duration });
const FILE = z.strictObject({
  sources: z.array(SOURCE).min(1).optional(),
  postgres: POSTGRES.optional(),
  flag: text.optional(),
  route: text.optional(),
  http: HTTP.optional(),
  backfill: BACKFILL.optional(),
  cutover: CUTOVER.optional(),
  verify: VERIFY.optional(),
});

export type FileConfig = z.infer<typeof FILE>;
export type FileSource = z.infer<typeof SOURCE>;

/**
 * Values from the environment are text. Where one of these paths is interpolated, digits are read as a
 * number.
 */
const NUMBERS = new Set(["postgres.port", "postgres.max_connections", "backfill.workers"]);

type Path = readonly PropertyKey[];

/**
 * Reads the file's text and reports every problem. Returns the valid part, so that the rest can be checked as
 * well; null when the text is not YAML. In the section `ignored` a variable may be unset: another source has
 * precedence there, or the section is not used.
 */
export function readFile(
  source: string,
  lookup: EnvironmentLookup,
  report: Report,
  ignored: keyof FileConfig | null = null,
): FileConfig | null {
  const raw = readYaml(source, report);
  if (raw === undefined) return null;
  const unset = new Set<string>();
  const filled = interpolate(raw, [], lookup, (path, problem) => {
    unset.add(path);
    if (path.split(".", 1)[0] !== ignored) report(path, problem);
  });
  const section: unknown = ignored === null ? null : valueAt(filled, [ignored]);
  if (typeof section === "object" && section !== null) {
    for (const key of Object.keys(section)) {
      if (unset.has(`${ignored}.${key}`)) Reflect.deleteProperty(section, key);
    }
  }
  let result = FILE.safeParse(filled);
  for (const issue of result.error?.issues ?? []) {
    // The value of an unset variable was reported already.
    if (!unset.has(pathText(issue.path))) explain(issue, raw, report);
  }
  // Removing one wrong value reveals at most the level below it; the schema has five levels.
  for (let depth = 0; !result.success && depth < 5; depth += 1) {
    for (const issue of result.error.issues) remove(filled, issue);
    result = FILE.safeParse(filled);
  }
  return result.data ?? null;
}

/** Removes a wrong value from the data; the indexes of a list stay as they are. */
function remove(filled: unknown, issue: Issue): void {
  const paths =
    issue.code === "unrecognized_keys" ? issue.keys.map((key) => [...issue.path, key]) : [issue.path];
  for (const path of paths) {
    const parent = valueAt(filled, path.slice(0, -1));
    const last = path.at(-1);
    if (typeof parent !== "object" || parent === null || last === undefined) continue;
    if (Array.isArray(parent)) Reflect.set(parent, last, path.length === 2 ? {} : "*");
    else Reflect.deleteProperty(parent, last);
  }
}

/** The document as plain data; undefined after a syntax error. Messages never quote the file. */
function readYaml(source: string, report: Report): unknown {
  const lines = new LineCounter();
  const document = parseDocument(source, { prettyErrors: false, lineCounter: lines });
  for (const error of [...document.errors, ...document.warnings]) {
    const { line, col } = lines.linePos(error.pos[0]);
    report(`line ${line}, column ${col}`, error.message.split(/[:"]/, 1)[0] ?? "not YAML");
  }
  if (document.errors.length + document.warnings.length > 0) return undefined;
  try {
    return document.toJS({ maxAliasCount: 100 }) ?? {};
  } catch {
    report("the file", "an alias (*name) without an anchor; quote a value that begins with *");
    return undefined;
  }
}

/** Replaces `${NAME}` in every text value; `$${` stands for a literal `${`. */
function interpolate(value: unknown, path: Path, lookup: EnvironmentLookup, report: Report): unknown {
  if (Array.isArray(value)) return value.map((item, i) => interpolate(item, [...path, i], lookup, report));
  if (typeof value === "object" && value !== null) {
    return Object.fromEntries(
      Object.entries(value).map(([key, item]) => [key, interpolate(item, [...path, key], lookup, report)]),
    );
  }
  if (typeof value !== "string" || !value.includes("${")) return value;
  const filled = value.replace(/(\$?)\$\{([^}]*)\}/g, (whole, literal: string, name: string) => {
    if (literal !== "") return whole.slice(1);
    const found = /^[A-Za-z_]\w*$/.test(name) ? lookup(name) : undefined;
    if (found === undefined)
      report(
        pathText(path),
        `the environment variable ${name} is not set, received ${JSON.stringify(whole)}`,
      );
    return found ?? whole;
  });
  return NUMBERS.has(pathText(path)) && /^\d+$/.test(filled) ? Number(filled) : filled;
}

type Issue = z.core.$ZodIssue;

function explain(issue: Issue, raw: unknown, report: Report): void {
  if (issue.code !== "unrecognized_keys") {
    const received = valueAt(raw, issue.path);
    report(pathText(issue.path), `expected ${expectation(issue)}, received ${show(received, issue.path)}`);
    return;
  }
  const known = Object.keys(sectionAt(issue.path).shape);
  const guarded = issue.path[0] === "postgres" || issue.path[0] === "http";
  for (const key of issue.keys) {
    // The second half of a type such as numeric(10,2) without quotes inside braces: the type is reported.
    if (/^\s*\d+\s*\)$/.test(key) && isOpen(valueAt(raw, [...issue.path, "type"]))) continue;
    const near = nearNames(key, known)[0] ?? null;
    const secret = isSecretName(key) || (near === null ? guarded : isSecretName(near));
    const path = [...issue.path, key];
    const value = valueAt(raw, path);
    const suggestion = near === null ? `known here: ${known.join(", ")}` : `did you mean ${near}?`;
    report(
      pathText(path),
      `unknown key (${suggestion}), received ${secret ? showSecret(value) : show(value, path)}`,
    );
  }
}

function isOpen(type: unknown): boolean {
  return typeof type === "string" && /\([^)]*$/.test(type);
}

const TYPE_WORDS: Readonly<Record<string, string>> = {
  string: "a text",
  int: "a whole number",
  number: "a whole number",
  array: "a list",
  object: "a mapping of keys",
  record: "a mapping of keys",
  boolean: "true or false",
};

function expectation(issue: Issue): string {
  switch (issue.code) {
    case "invalid_type":
      return TYPE_WORDS[issue.expected] ?? issue.expected;
    case "invalid_value":
      return issue.values.map(String).join(" or ");
    case "too_small":
      return issue.origin === "string"
        ? "a text that is not empty"
        : issue.origin === "array"
          ? "at least one entry"
          : `at least ${issue.minimum}`;
    case "too_big":
      return `at most ${issue.maximum}`;
    case "invalid_union":
      return "true, false or a mode such as require or verify-full";
    default:
      return issue.message;
  }
}

function sectionAt(path: Path): z.ZodObject {
  switch (path[0]) {
    case "sources":
      return path.length === 2 ? SOURCE : path.length === 4 ? TABLE : COLUMN;
    case "postgres":
      return POSTGRES;
    case "http":
      return HTTP;
    case "backfill":
      return BACKFILL;
    case "cutover":
      return CUTOVER;
    default:
      return FILE;
  }
}

/** A path as JavaScript writes it: `sources[0].tables.tasks.columns`. */
export function pathText(path: Path): string {
  return (
    path
      .map((part) => (typeof part === "number" ? `[${part}]` : `.${String(part)}`))
      .join("")
      .replace(/^\./, "") || "the file"
  );
}

function valueAt(value: unknown, path: Path): unknown {
  return path.reduce<unknown>(
    (at, part) => (typeof at === "object" && at !== null ? Reflect.get(at, part) : undefined),
    value,
  );
}

/** Long enough to recognise a value, short enough for one line. */
const SHOWN_MAX = 100;

/** A value as a message may show it. */
function show(value: unknown, path: Path): string {
  if (value === undefined) return "nothing";
  if (isSecretName(String(path.at(-1)))) return showSecret(value);
  const whole = mask(
    JSON.stringify(value, (key, item: unknown) => (isSecretName(key) ? "***" : shownItem(item))),
  );
  return whole.length > SHOWN_MAX ? `${whole.slice(0, SHOWN_MAX)}…` : whole;
}

/** A URL in the place of another value holds a password as often as in its own. */
function shownItem(item: unknown): unknown {
  return typeof item === "string"
    ? item.replace(/[a-z][a-z0-9+.-]*:\/\/[\s\S]*/i, (url) => maskSecret(url))
    : item;
}

function showSecret(value: unknown): string {
  // `${NAME}` names a secret and contains none.
  if (typeof value === "string" && /^\$\{\w+\}$/.test(value)) return JSON.stringify(value);
  return typeof value === "string" ? JSON.stringify(maskSecret(value)) : value === null ? "null" : '"***"';
}
