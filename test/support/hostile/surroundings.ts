// What changes around a sidecar that runs: settings of its role, the tables of the copy altered or dropped by others, the
// flag's words. Also a migration in the store that does not have the writes.
import { setTimeout as sleep } from "node:timers/promises";
import { type Kind, of } from "./kind.js";
import { type Note, quiet, settle, startAgainFromSqlite, Wrong } from "./settle.js";
import type { World } from "./world.js";

/** Each reaches the sidecar's new sessions; those with a code may keep it from working. */
const SETTINGS: readonly (readonly [setting: string, code?: string])[] = [
  ["DateStyle = 'German, DMY'"],
  ["bytea_output = 'escape'"],
  ["TimeZone = 'Asia/Kolkata'"],
  ["extra_float_digits = -10"],
  ["IntervalStyle = 'sql_standard'"],
  ["standard_conforming_strings = off"],
  ["search_path = nowhere"],
  ["default_transaction_isolation = 'serializable'"],
  ["default_transaction_deferrable = on"],
  ["default_transaction_read_only = on", "POSTGRES_READ_ONLY"],
  ["client_encoding = 'LATIN1'"],
  ["statement_timeout = '15ms'", "POSTGRES_TRANSIENT"],
  ["lock_timeout = '1ms'", "POSTGRES_TRANSIENT"],
  ["idle_in_transaction_session_timeout = '10ms'", "POSTGRES_TRANSIENT"],
  ["idle_session_timeout = '100ms'", "POSTGRES_TRANSIENT"],
  ["row_security = off"],
  ["transform_null_equals = on"],
  ["array_nulls = off"],
  ["synchronous_commit = off"],
  ["quote_all_identifiers = on"],
  ["enable_seqscan = off"],
  ["work_mem = '64kB'"],
  ["xmloption = 'document'"],
  ["backslash_quote = on"],
  ["escape_string_warning = on"],
  ["client_min_messages = 'debug1'"],
  ["plpgsql.variable_conflict = 'error'"],
];

let names = 0;

const settingKind: Kind = {
  name: "setting",
  weight: 4,
  plan(world, pick) {
    if (world.standing.length >= 2) return null;
    const [setting, code] = of(pick, SETTINGS);
    return { operation: { op: "setting", setting, codes: code ? [code] : [], name: `setting_${names++}` } };
  },
  async perform(world, operation) {
    const { setting, codes, name } = operation as unknown as {
      setting: string;
      codes: string[];
      name: string;
    };
    const role = `ALTER ROLE ${world.roleName} IN DATABASE ${world.database.name}`;
    const ended = `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '${world.roleName}'`;
    const error = await world.postgres(`${role} SET ${setting}; ${ended}`);
    if (error) return false;
    for (const code of codes) world.suspects.add(code);
    const what = setting.split(" ")[0];
    const drop = `${role} RESET ${what}; ${ended}`;
    world.standing.push({ name, drop, codes, stallsReplication: codes.length > 0 });
    return true;
  },
};

/** What others do to the copy's tables while SQLite has the writes. */
const DAMAGE = [
  "ALTER TABLE kind DROP CONSTRAINT kind_pkey",
  "ALTER TABLE kind ALTER COLUMN i TYPE text",
  "ALTER TABLE kind ALTER COLUMN i TYPE numeric",
  "ALTER TABLE kind ALTER COLUMN t SET DEFAULT 'x'",
  "ALTER TABLE kind DROP COLUMN j",
  "ALTER TABLE latest RENAME COLUMN name TO nom",
  "ALTER TABLE latest RENAME TO later",
  "DROP TABLE latest CASCADE",
  "DROP TABLE one CASCADE",
  "ALTER TABLE latest SET SCHEMA elsewhere",
  "ALTER TABLE latest SET UNLOGGED",
  "REINDEX TABLE kind",
  "VACUUM FULL kind",
  "CLUSTER kind USING kind_pkey",
  "TRUNCATE kind",
  "ALTER TABLE kind OWNER TO postgres",
  "REVOKE ALL ON latest FROM PUBLIC",
  "ALTER TABLE op ADD COLUMN more text",
  "ALTER TABLE op ADD COLUMN more text NOT NULL DEFAULT 'x'",
  "ALTER TABLE counter ALTER COLUMN value DROP NOT NULL",
] as const;

const damageKind: Kind = {
  name: "damage",
  weight: 4,
  alone: true,
  plan: (world, pick) =>
    world.writes === "sqlite" && world.standing.length === 0 && world.refused.size === 0
      ? { operation: { op: "damage", statement: of(pick, DAMAGE) } }
      : null,
  async perform(world, { statement }, note) {
    if (world.writes !== "sqlite" || world.standing.length > 0) return false;
    await quiet(world, note);
    for (const code of ["SHAPE_DIFFERS", "TARGET_MISMATCH", "CAPTURE_LOST", "COUNT_MISMATCH", "FENCE_LOST"])
      world.suspects.add(code);
    for (const code of ["ROWS_DIFFER", "NOT_EQUAL", "POSTGRES_RIGHTS", "TARGET_CHANGED"])
      world.suspects.add(code);
    const back = afterDamage(world, statement as string);
    for (const code of ["SHAPE_DIFFERS", "TARGET_MISMATCH", "POSTGRES_RIGHTS", "TARGET_CHANGED"])
      world.remedies.set(code, async () => {
        await back();
        await world.stopSidecar("term");
        world.start();
      });
    // A table that was dropped or moved away has no fence where it stands.
    await world.pauseProber();
    await world.postgres("CREATE SCHEMA IF NOT EXISTS elsewhere");
    const error = await world.postgres(statement as string);
    if (error && !/^25006|^55006|^0A000/.test(error)) throw new Wrong(`${statement}: ${error}`);
    // As the page on troubleshooting says of a table that differs: restart the sidecar.
    await sleep(300);
    await world.stopSidecar("term");
    world.start();
    await settle(world, note);
    await back();
    await world.resumeProber();
    const verified = await world.command(["verify", "--repair"]);
    if (verified.code !== 0)
      throw new Wrong(`after ${statement} verify --repair: ${verified.stdout}${verified.stderr}`);
    return true;
  },
};

/** What the operator undoes where the sidecar cannot. */
function afterDamage(world: World, statement: string): () => Promise<void> {
  return async () => {
    if (statement.includes("OWNER TO postgres"))
      await world.postgres(`ALTER TABLE kind OWNER TO ${world.roleName}`);
    if (statement.includes("ADD COLUMN more"))
      await world.postgres("ALTER TABLE op DROP COLUMN IF EXISTS more");
    await world.postgres("ALTER TABLE latest DROP COLUMN IF EXISTS nom");
    if (statement.includes("RENAME TO later")) await world.postgres("DROP TABLE IF EXISTS later");
    if (statement.includes("elsewhere")) await world.postgres("DROP SCHEMA IF EXISTS elsewhere CASCADE");
  };
}

const flagKind: Kind = {
  name: "flag-words",
  weight: 2,
  alone: true,
  plan: (_, pick) => ({
    operation: {
      op: "flag-words",
      words: of(pick, ["maybe", "postgresql", "\u0000", "POSTGRES sqlite", "{}"]),
    },
  }),
  async perform(world, { words }, note) {
    world.suspects.add("FLAG_UNREADABLE");
    world.suspects.add("FLIP_REFUSED");
    world.flagWords(words as string);
    await world.sidecar.waitFor("a problem that names the flag", ({ problems }) =>
      problems.some((problem) => (problem as { code: string }).code === "FLAG_UNREADABLE"),
    );
    world.flag(world.writes);
    await settle(world, note);
    return true;
  },
};

/** A migration in the store that does not have the writes. */
const AWAY = [
  ["sqlite", "ALTER TABLE latest ADD COLUMN later TEXT", "ALTER TABLE latest DROP COLUMN later"],
  [
    "sqlite",
    "CREATE TRIGGER strange AFTER INSERT ON latest BEGIN DELETE FROM latest WHERE 0; END",
    "DROP TRIGGER strange",
  ],
  ["sqlite", "VACUUM", ""],
  ["sqlite", "CREATE INDEX strange ON latest (name)", "DROP INDEX strange"],
  ["postgres", "ALTER TABLE latest ADD COLUMN later text", "ALTER TABLE latest DROP COLUMN later"],
  ["postgres", "CREATE INDEX strange ON latest (name)", "DROP INDEX strange"],
] as const;

const awayKind: Kind = {
  name: "away-migration",
  weight: 4,
  alone: true,
  plan: (world, pick) =>
    world.writes === "postgres" ? { operation: { op: "away-migration", which: pick(AWAY.length) } } : null,
  async perform(world, { which }, note) {
    const found = AWAY[which as number];
    if (world.writes !== "postgres" || !found) return false;
    const [store, there, back] = found;
    await quiet(world, note);
    for (const code of ["COPY_UNKNOWN", "TARGET_CHANGED", "SHAPE_DIFFERS", "TARGET_MISMATCH", "CAPTURE_LOST"])
      world.whileAway.add(code);
    const run = async (statement: string) =>
      store === "sqlite" ? world.sqlite(statement) : await world.postgres(statement);
    const error = await run(there);
    if (error) throw new Wrong(`${there}: ${error}`);
    const undo = async () => {
      if (back) await run(back);
      await world.command(["verify", "--repair"]);
    };
    world.remedies.set("COPY_UNKNOWN", undo);
    world.remedies.set("TARGET_CHANGED", undo);
    await sleep(400);
    await settle(world, note);
    if (back) await run(back);
    await settle(world, note);
    return true;
  },
};

const teardownKind: Kind = {
  name: "start-again",
  weight: 1,
  alone: true,
  // A column that is mapped once more may hold what it refused.
  plan: (world) =>
    world.writes === "sqlite" && world.refused.size === 0 ? { operation: { op: "start-again" } } : null,
  async perform(world, _, note: Note) {
    if (world.writes !== "sqlite") return false;
    await startAgainFromSqlite(world);
    await settle(world, note);
    return true;
  },
};

export const surroundingKinds: readonly Kind[] = [settingKind, damageKind, flagKind, awayKind, teardownKind];
