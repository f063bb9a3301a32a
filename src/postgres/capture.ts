// Capture in PostgreSQL: a function and four statement triggers a table that append the touched keys to
// switchback.change, and their installation. A touched key is only a hint to re-read, so touching too many is
// harmless and missing one is not. It knows nothing of how the log is read (source.ts).
//
// Statement triggers with transition tables see every row that a statement touched, whichever way: COPY, MERGE, ON
// CONFLICT, cascades, writing CTEs. They run as their owner, so that the application needs no rights of ours.
// Therefore no other role may call them, they work for their own table only, and they call no function that others
// made. What the sidecar's own sessions write is not captured. No session is notified: NOTIFY makes all commits of a
// database queue for one lock, flush to disk included, and forbids PREPARE TRANSACTION.
import type pg from "pg";
import type { ColumnMapping, TableMapping } from "../mapping/mapping.js";
import { present } from "../present.js";
import { quote } from "../schema/model.js";
import { literal } from "../schema/pg-names.js";
import { sql } from "../sql-files.js";
import { postgresError, retryTransaction } from "./connection.js";

import { qualifiedName } from "./target/merge.js";

/** A followed table and its number in switchback.change. */
export interface CapturedTable {
  readonly id: number;
  readonly mapping: TableMapping;
}

interface Trigger {
  readonly name: string;
  readonly when: string;
  /** As the catalogue shows it in place: type bits, enabled ALWAYS, transition tables. */
  readonly shown: string;
}

const OLD = "switchback_old";
const NEW = "switchback_new";
/** The type bits: BEFORE 2, INSERT 4, DELETE 8, UPDATE 16, TRUNCATE 32. */
const TRIGGERS: readonly Trigger[] = [
  {
    name: "switchback_capture_insert",
    when: `AFTER INSERT ON % REFERENCING NEW TABLE AS ${NEW}`,
    shown: `4 A ${NEW}`,
  },
  {
    name: "switchback_capture_update",
    when: `AFTER UPDATE ON % REFERENCING OLD TABLE AS ${OLD} NEW TABLE AS ${NEW}`,
    shown: `16 A ${OLD} ${NEW}`,
  },
  {
    name: "switchback_capture_delete",
    when: `AFTER DELETE ON % REFERENCING OLD TABLE AS ${OLD}`,
    shown: `8 A ${OLD}`,
  },
  // Before, because afterwards the keys are gone.
  { name: "switchback_capture_truncate", when: "BEFORE TRUNCATE ON %", shown: "34 A" },
];

/** Tables changed in one transaction: their locks are held together, for some milliseconds. */
const BATCH = 20;
/** No writer waits behind our request for a lock longer than this. */
const LOCK_TIMEOUT_MS = 100;
const TRIES_MAX = 50;
/** A writer that waited behind us has its turn first. */
const LOCK_WAIT = { triesMax: TRIES_MAX, pauseMs: () => 2 * LOCK_TIMEOUT_MS * Math.random() };

/** Types whose text depends on the session's settings, with the settings that the interchange form asks for. */
const PRINTED_BY_SETTING = /^(timestamp|timestamptz|date|time|double precision|real|bytea)$/;
/** As CREATE FUNCTION wants them, and as the catalogue shows them. */
const ALWAYS_SET = ["search_path = pg_catalog, pg_temp", "row_security = off"];
const PRINTING_SET = [
  "DateStyle = 'ISO, MDY'",
  "TimeZone = 'UTC'",
  "extra_float_digits = 1",
  "bytea_output = 'hex'",
];

/**
 * Functions and triggers for every table, in place and enabled. Reads the catalogue once and changes nothing where
 * all is in place. Runs transactions of its own, each of some tables, and never waits long for a lock.
 * @throws SwitchbackError POSTGRES_*
 */
export async function installPostgresCapture(
  client: pg.ClientBase,
  tables: readonly CapturedTable[],
): Promise<void> {
  const missing = await unlike(client, tables, "present");
  await inBatches(client, missing, ({ id, mapping }) => [
    createFunction(id, mapping),
    ...TRIGGERS.flatMap(({ name, when }) => [
      `CREATE OR REPLACE TRIGGER ${name} ${when.replace("%", () => qualifiedName(mapping))}
         FOR EACH STATEMENT EXECUTE FUNCTION ${functionName(id)}()`,
      // ALWAYS, so that a session that plays a replica is captured too.
      `ALTER TABLE ${qualifiedName(mapping)} ENABLE ALWAYS TRIGGER ${name}`,
    ]),
  ]);
}

/**
 * Disables the triggers while writes go to the other store: transition tables would only cost. Like
 * `installPostgresCapture`, it keeps no reader waiting, and no writer for long.
 */
export async function suspendCapture(client: pg.ClientBase, tables: readonly CapturedTable[]): Promise<void> {
  const states = await statesOf(client, tables);
  const awake = tables.flatMap(({ id, mapping }) => {
    const names = [...present(states.get(id), `state of capture ${id}`).triggers].filter(
      ([, shown]) => !/^\d+ D\b/.test(shown),
    );
    return names.length === 0 ? [] : [{ id, mapping, names: names.map(([name]) => name) }];
  });
  await inBatches(client, awake, ({ mapping, names }) =>
    names.map((name) => `ALTER TABLE ${qualifiedName(mapping)} DISABLE TRIGGER ${quote(name)}`),
  );
}

/**
 * The names (mapping.table.name) of tables whose capture is missing, disabled or not what some release of switchback
 * made. What such a table missed while writes went to PostgreSQL is unknown.
 */
export async function lostCapture(
  client: pg.ClientBase,
  tables: readonly CapturedTable[],
): Promise<string[]> {
  return (await unlike(client, tables, "any")).map(({ mapping }) => mapping.table.name);
}

/** Takes capture off a table, and what it logged out of the log; run inside a transaction. */
export function removalOfCapture({ id, mapping }: CapturedTable): string {
  return [
    ...TRIGGERS.map(({ name }) => `DROP TRIGGER IF EXISTS ${name} ON ${qualifiedName(mapping)}`),
    `DROP FUNCTION IF EXISTS ${functionName(id)}()`,
    `DELETE FROM switchback.change WHERE t = ${id}`,
  ].join("; ");
}

function functionName(id: number): string {
  return `switchback.capture_${id}`;
}

function createFunction(id: number, mapping: TableMapping): string {
  const settings = settingsOf(mapping).map((setting) => `SET ${setting}`);
  return `CREATE OR REPLACE FUNCTION ${functionName(id)}() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
    ${settings.join(" ")} AS ${literal(body(id, mapping))};
    REVOKE ALL ON FUNCTION ${functionName(id)}() FROM PUBLIC`;
}

function settingsOf(mapping: TableMapping): string[] {
  const printed = mapping.key.some(({ codec }) => PRINTED_BY_SETTING.test(codec.name));
  return printed ? [...ALWAYS_SET, ...PRINTING_SET] : ALWAYS_SET;
}

/** The function's body. It is compared letter by letter with the one in place. */
function body(id: number, mapping: TableMapping): string {
  // Byte for byte: UNION must not take 'Bob' and 'bob' for one key where the column's collation does. A cast may be
  // anybody's function; concat asks the type's own output function.
  const program = bodyWith(id, mapping, (value) => `concat(${value}) COLLATE "C"`);
  const { schema, target } = mapping;
  const foreign = `TG_TABLE_SCHEMA <> ${literal(schema)} OR TG_TABLE_NAME <> ${literal(target)}`;
  return program.replace(
    "BEGIN\n",
    () => `BEGIN
  IF ${foreign} THEN
    RAISE EXCEPTION 'switchback: this function is for % only', ${literal(qualifiedName(mapping))} USING ERRCODE = '42501';
  END IF;
`,
  );
}

/** What the first release made: it captured as much, and is replaced without a word. */
function firstBody(id: number, mapping: TableMapping): string {
  return bodyWith(id, mapping, (value) => `${value}::text COLLATE "C"`);
}

function bodyWith(id: number, mapping: TableMapping, asText: (value: string) => string): string {
  const text =
    (row: string) =>
    ({ target }: ColumnMapping) =>
      asText(`${row}.${quote(target)}`);
  const key = (row: string) => `ARRAY[${mapping.key.map(text(row)).join(", ")}]`;
  const touch = "INSERT INTO switchback.change (t, key)";
  const place = qualifiedName(mapping);
  return `
BEGIN
  IF current_setting('switchback.apply', true) = 'on' THEN
    RETURN NULL;
  END IF;
  IF TG_OP = 'INSERT' THEN
    ${touch} SELECT ${id}, ${key("n")} FROM ${NEW} AS n;
  ELSIF TG_OP = 'UPDATE' THEN
    IF (SELECT count(*) FROM (SELECT FROM ${NEW} LIMIT 2) AS few) = 1 THEN
      -- One row: without UNION, whose plan may be left over from a statement that touched very many.
      ${touch} SELECT ${id}, ${key("n")} FROM ${NEW} AS n;
      ${touch} SELECT ${id}, ${key("o")} FROM ${OLD} AS o, ${NEW} AS n WHERE ${key("o")} IS DISTINCT FROM ${key("n")};
    ELSE
      ${touch} SELECT ${id}, ${key("n")} FROM ${NEW} AS n UNION SELECT ${id}, ${key("o")} FROM ${OLD} AS o;
    END IF;
  ELSIF TG_OP = 'DELETE' THEN
    ${touch} SELECT ${id}, ${key("o")} FROM ${OLD} AS o;
  ELSIF current_setting('transaction_isolation') IN ('repeatable read', 'serializable') THEN
    -- TRUNCATE also empties what was committed after this transaction's snapshot, and nobody can name those keys.
    RAISE EXCEPTION 'switchback: TRUNCATE cannot be followed in a % transaction', current_setting('transaction_isolation')
      USING ERRCODE = '0A000', HINT = 'Use DELETE, or READ COMMITTED.';
  ELSE
    ${touch} SELECT ${id}, ${key("t")} FROM ${place} AS t;
  END IF;
  PERFORM pg_notify('switchback', '') FROM switchback.sleeper LIMIT 1;
  RETURN NULL;
END
`;
}

interface State {
  readonly id: number;
  readonly body: string | null;
  readonly definer: boolean;
  /** Whether everybody may call it. */
  readonly callable: boolean;
  readonly settings: readonly string[];
  readonly triggers: ReadonlyMap<string, string>;
}

async function statesOf(
  client: pg.ClientBase,
  tables: readonly CapturedTable[],
): Promise<Map<number, State>> {
  if (tables.length === 0) return new Map();
  try {
    const { rows } = await client.query<Omit<State, "triggers"> & { triggers: Record<string, string> }>(
      sql("postgres/capture-state"),
      [tables.map(({ id }) => id), tables.map(({ mapping }) => qualifiedName(mapping))],
    );
    return new Map(rows.map((row) => [row.id, { ...row, triggers: new Map(Object.entries(row.triggers)) }]));
  } catch (error) {
    throw postgresError(error);
  }
}

/** The tables whose capture is not in place as the present release makes it, or as any release did. */
async function unlike(
  client: pg.ClientBase,
  tables: readonly CapturedTable[],
  release: "present" | "any",
): Promise<CapturedTable[]> {
  const states = await statesOf(client, tables);
  const sound = ({ id, mapping }: CapturedTable) => {
    const state = present(states.get(id), `state of capture ${id}`);
    if (!state.definer) return false;
    const today = state.body === body(id, mapping) && !state.callable;
    const older = state.body === firstBody(id, mapping) || state.body === body(id, mapping);
    if (!(today || (release === "any" && older))) return false;
    const wanted = settingsOf(mapping).map((setting) => setting.replace(" = ", "=").replaceAll("'", ""));
    const set = state.settings.map((setting) => setting.replaceAll('"', ""));
    if ([...wanted].sort().join() !== [...set].sort().join()) return false;
    return TRIGGERS.every(({ name, shown }) => state.triggers.get(name) === shown);
  };
  return tables.filter((table) => !sound(table));
}

/** One round trip and one transaction a batch; where a lock is not free, the batch is tried again. */
async function inBatches<T extends CapturedTable>(
  client: pg.ClientBase,
  tables: readonly T[],
  statements: (table: T) => readonly string[],
): Promise<void> {
  for (let i = 0; i < tables.length; i += BATCH) {
    const text = tables
      .slice(i, i + BATCH)
      .flatMap(statements)
      .join(";\n");
    try {
      await retryTransaction(client, LOCK_WAIT, async () => {
        await client.query(`BEGIN; SET LOCAL lock_timeout = ${LOCK_TIMEOUT_MS};\n${text};\nCOMMIT`);
      });
    } catch (error) {
      throw postgresError(error);
    }
  }
}
