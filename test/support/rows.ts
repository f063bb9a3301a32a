// Compares a SQLite file with a PostgreSQL schema row by row, by code that shares nothing with the product. It takes
// SQLite's values as they are and PostgreSQL's as the text it prints, both brought to one canonical spelling per
// PostgreSQL type.
import Database from "better-sqlite3";
import pg from "pg";

export interface CompareOptions {
  /** The target schema; `public` unless told otherwise. */
  readonly schema?: string;
  /** Only these tables. */
  readonly tables?: readonly string[];
  /** Target names that differ from SQLite's. */
  readonly names?: Readonly<Record<string, string>>;
  /** Rows of SQLite, by table and condition, that PostgreSQL must not have. */
  readonly onlySqlite?: Readonly<Record<string, string>>;
  /** The same the other way round. */
  readonly onlyPostgres?: Readonly<Record<string, string>>;
}

type Value = null | bigint | number | string | Buffer;

interface SourceColumn {
  readonly name: string;
  readonly declared: string;
  readonly generated: boolean;
}

interface TargetColumn {
  readonly name: string;
  readonly type: string;
}

/** PostgreSQL holds 63 bytes of a name; what a longer one became is found by its place. */
const PLACE_BYTES = 63;

const quoted = (name: string) => `"${name.replaceAll('"', '""')}"`;

/** Every difference as a line of text, a few rows quoted; an empty list means equal. No one may write meanwhile. */
export async function differences(
  file: string,
  url: string,
  options: CompareOptions = {},
): Promise<string[]> {
  const sqlite = new Database(file, { readonly: true });
  sqlite.defaultSafeIntegers(true);
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    await client.query("SET TimeZone = 'UTC'");
    await client.query("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY");
    const found: string[] = [];
    for (const table of options.tables ?? tablesOf(sqlite)) {
      const target = `${quoted(options.schema ?? "public")}.${quoted(options.names?.[table] ?? table)}`;
      const [here, there] = [
        options.onlySqlite?.[table] ?? "FALSE",
        options.onlyPostgres?.[table] ?? "FALSE",
      ];
      found.push(...(await compareTable(sqlite, client, table, target, here, there)));
    }
    return found;
  } finally {
    sqlite.close();
    await client.end();
  }
}

/** The application's own ordinary tables. */
export function tablesOf(sqlite: Database.Database): string[] {
  const rows = sqlite
    .prepare("SELECT name FROM pragma_table_list WHERE schema = 'main' AND type = 'table' ORDER BY name")
    .all();
  return (rows as { name: string }[])
    .map((row) => row.name)
    .filter((name) => !/^(sqlite_|_switchback_)/.test(name));
}

async function compareTable(
  sqlite: Database.Database,
  client: pg.Client,
  table: string,
  target: string,
  onlyHere: string,
  onlyThere: string,
): Promise<string[]> {
  const theirs = await targetColumns(client, target);
  if (theirs === null) return [`${table}: ${target} does not exist`];
  const ours = sourceColumns(sqlite, table);
  const pairs = theirs.flatMap((target, place) => pairOf(target, place, ours) ?? []);
  const missing = ours.filter((own) => !own.generated && !pairs.some((pair) => pair.own === own));
  if (missing.length > 0) return [`${table}: columns missing: ${missing.map((own) => own.name).join(", ")}`];

  const left = sqlite
    .prepare(
      `SELECT ${pairs.map(({ own }) => (own ? quoted(own.name) : "rowid")).join(", ")} FROM ${quoted(table)} WHERE NOT (${onlyHere})`,
    )
    .raw()
    .all() as Value[][];
  const right = await client.query<(string | null)[]>({
    text: `SELECT ${pairs.map((pair) => `${quoted(pair.target.name)}::text`).join(", ")} FROM ${target} WHERE NOT (${onlyThere})`,
    rowMode: "array",
  });
  const a = left.map((row) =>
    JSON.stringify(pairs.map((pair, i) => sourceText(row[i], pair.own, pair.target))),
  );
  const b = right.rows.map((row) =>
    JSON.stringify(pairs.map((pair, i) => targetText(row[i], pair.own, pair.target))),
  );
  return compareLists(table, a, b);
}

/** `own` is null for the rowid. */
interface Pair {
  readonly own: SourceColumn | null;
  readonly target: TargetColumn;
}

function pairOf(target: TargetColumn, place: number, ours: readonly SourceColumn[]): Pair | null {
  if (target.name === "_switchback_rowid") return { own: null, target };
  const beside = ours[place];
  const tooLong = beside && Buffer.byteLength(beside.name) > PLACE_BYTES ? beside : undefined;
  const own = ours.find((candidate) => candidate.name === target.name) ?? tooLong;
  return own ? { own, target } : null;
}

function compareLists(table: string, a: string[], b: string[]): string[] {
  const counts = new Map<string, number>();
  for (const row of a) counts.set(row, (counts.get(row) ?? 0) + 1);
  for (const row of b) counts.set(row, (counts.get(row) ?? 0) - 1);
  const onlyLeft = [...counts].filter(([, n]) => n > 0).map(([row]) => row);
  const onlyRight = [...counts].filter(([, n]) => n < 0).map(([row]) => row);
  if (onlyLeft.length === 0 && onlyRight.length === 0) return [];
  const few = (rows: string[]) => `${rows.length} rows, as ${rows.slice(0, 2).join(" ").slice(0, 400)}`;
  return [`${table}: only in SQLite ${few(onlyLeft)}; only in PostgreSQL ${few(onlyRight)}`];
}

function sourceColumns(sqlite: Database.Database, table: string): SourceColumn[] {
  const rows = sqlite
    .prepare("SELECT name, type, hidden FROM pragma_table_xinfo(?) WHERE hidden <> 1")
    .all(table);
  return (rows as { name: string; type: string; hidden: bigint }[]).map((row) => ({
    name: row.name,
    declared: row.type.toUpperCase(),
    generated: row.hidden !== 0n,
  }));
}

async function targetColumns(client: pg.Client, target: string): Promise<TargetColumn[] | null> {
  const exists = await client.query("SELECT to_regclass($1) AS found", [target]);
  if ((exists.rows as { found: string | null }[])[0]?.found == null) return null;
  const { rows } = await client.query<TargetColumn>(
    `SELECT attname AS name, split_part(format_type(atttypid, NULL), '(', 1) AS type FROM pg_attribute
     WHERE attrelid = $1::regclass AND attnum > 0 AND NOT attisdropped ORDER BY attnum`,
    [target],
  );
  return rows;
}

// ---- canonical spellings: "class:text", so that 1, 1.0 and '1' stay three things where the type tells them apart

function sourceText(
  value: Value | undefined,
  column: SourceColumn | null,
  target: TargetColumn,
): string | null {
  if (value === null || value === undefined) return null;
  switch (target.type) {
    case "bigint":
    case "integer":
      return `i:${value}`;
    case "double precision":
      return typeof value === "number" || typeof value === "bigint"
        ? realText(Number(value))
        : strayText(value);
    case "numeric":
      return typeof value === "number" || typeof value === "bigint" ? `n:${Number(value)}` : strayText(value);
    case "boolean":
      return `b:${value === 1n}`;
    case "bytea":
      return Buffer.isBuffer(value) ? `x:${value.toString("hex")}` : strayText(value);
    case "uuid":
      return `u:${String(value).toLowerCase()}`;
    case "jsonb":
      if (!isDocument(column) || Buffer.isBuffer(value)) return anyText(value);
      return typeof value === "string" ? `d:${sorted(JSON.parse(value))}` : `d:${Number(value)}`;
    case "date":
    case "timestamp with time zone":
      return `m:${momentOf(value)}`;
    default:
      return typeof value === "string" ? `t:${value}` : strayText(value);
  }
}

function targetText(
  text: string | null | undefined,
  column: SourceColumn | null,
  target: TargetColumn,
): string | null {
  if (text === null || text === undefined) return null;
  switch (target.type) {
    case "bigint":
    case "integer":
      return `i:${text}`;
    case "double precision":
      return realText(Number(text));
    case "numeric":
      return `n:${Number(text)}`;
    case "boolean":
      return `b:${text === "true"}`;
    case "bytea":
      return `x:${text.slice(2)}`;
    case "uuid":
      return `u:${text}`;
    case "jsonb":
      return isDocument(column) ? `d:${sorted(JSON.parse(text))}` : anyText(fromScalar(text));
    case "date":
    case "timestamp with time zone":
      return `m:${momentOf(text)}`;
    default:
      return `t:${text}`;
  }
}

const isDocument = (column: SourceColumn | null) => column?.declared.includes("JSON") === true;
const realText = (value: number) => (Object.is(value, -0) ? "r:-0" : `r:${value}`);
/** A value whose class does not fit the target's type can never be equal to anything there. */
const strayText = (value: Value) => `stray:${typeof value}:${value}`;

function anyText(value: Value): string {
  if (typeof value === "bigint") return `i:${value}`;
  if (typeof value === "number") return realText(value);
  if (Buffer.isBuffer(value)) return `x:${value.toString("hex")}`;
  return `t:${value}`;
}

/** A jsonb scalar: integer 1, real 1.0, "text", {"$blob": "base64"}, {"$real": "-0.0"} where JSON has no number. */
function fromScalar(text: string): Value {
  if (text.startsWith('"')) return JSON.parse(text) as string;
  if (text.startsWith("{")) {
    const { $blob, $real } = JSON.parse(text) as { $blob?: string; $real?: string };
    return $blob === undefined ? Number($real) : Buffer.from($blob, "base64");
  }
  if (text.includes(".")) return Number(text);
  // SQLite's integers end at 64 bits: a longer run of digits was a real.
  const integer = BigInt(text);
  return BigInt.asIntN(64, integer) === integer ? integer : Number(text);
}

function sorted(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(sorted).join(",")}]`;
  if (typeof value !== "object" || value === null) return JSON.stringify(value);
  const entries = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1));
  return `{${entries.map(([name, inner]) => `${JSON.stringify(name)}:${sorted(inner)}`).join(",")}}`;
}

/** Microseconds since 1970, from any usual text in UTC or with an offset, or from seconds or milliseconds. */
function momentOf(value: Value): string {
  if (typeof value === "bigint") return String(value > 100_000_000_000n ? value * 1000n : value * 1_000_000n);
  const parts =
    /^(\d{4}-\d\d-\d\d)(?:[ T](\d\d:\d\d)(?::(\d\d)(?:\.(\d+))?)?)?\s*(Z|[+-]\d\d(?::?\d\d)?)?$/.exec(
      String(value),
    );
  if (!parts) return `not a moment: ${value}`;
  const [, day, clock = "00:00", seconds = "00", fraction = "", zone = "Z"] = parts;
  const offset = zone.length === 3 ? `${zone}:00` : zone;
  const milliseconds = Date.parse(`${day}T${clock}:${seconds}${offset}`);
  return String(BigInt(milliseconds) * 1000n + BigInt(fraction.padEnd(6, "0").slice(0, 6)));
}
