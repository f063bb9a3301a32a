// The table of commands: name, options, help, the parts of the configuration that each needs, and the module with its
// code. program.ts turns it into a command line. A command's code is loaded when it runs, so that `--help` loads no
// engine.
import type { OptionValues } from "commander";
import type { Needs } from "../config/config.js";
import type { Level } from "../telemetry/log.js";
import type { Context, ExitCode } from "./command.js";

type Act = (context: Context, options: OptionValues) => Promise<ExitCode>;

export interface CommandEntry {
  readonly name: string;
  /** One line for the list of commands. */
  readonly summary: string;
  /** Its effect and its use, for its own help. */
  readonly description: string;
  readonly examples: readonly string[];
  /** Flags as commander spells them, with their help and, where limited, their values. */
  readonly options?: readonly {
    readonly flags: string;
    readonly help: string;
    readonly choices?: readonly string[];
  }[];
  /** What stands after the options, as commander spells it, with its help. */
  readonly operands?: readonly [string, string];
  readonly needs: Needs;
  /** False when the command starts its own PostgreSQL. */
  readonly embedded: boolean;
  /** The log level. A service logs its progress; other commands answer on stdout and log only problems. */
  readonly level: Level;
  load(): Promise<Act>;
}

const BOTH: Needs = { sources: true, postgres: true };
const SOURCE_ONLY: Needs = { sources: true, postgres: false };

const ADOPT_FILE = {
  flags: "--adopt-file",
  help: "move SQLite files that belong to another database to this one, as they are; every table is copied again",
};

export const COMMANDS: readonly CommandEntry[] = [
  {
    name: "check",
    summary: "assess source and target before anything is installed",
    description:
      "Lists blockers and warnings, each with table, column, an example key and the remedy. Installs nothing, writes nothing. Exit code 1 when a blocker is found.",
    examples: [
      "switchback check --sqlite data/app.db --postgres postgres://app@db/app",
      "switchback check --json",
    ],
    needs: SOURCE_ONLY,
    embedded: true,
    level: "warn",
    load: async () => (await import("./check.js")).check,
  },
  {
    name: "plan",
    summary: "print the target's DDL and the column mapping, with the evidence",
    description:
      "Reads the data and explains the type chosen for every column. With --write it writes a configuration with every choice spelled out, to be edited and passed with --config.",
    examples: [
      "switchback plan --sqlite data/app.db",
      "switchback plan --sqlite data/app.db --write switchback.yaml --suggest",
      "switchback plan --sql > schema.sql",
      "switchback plan --postgres $DATABASE_URL --adopt --write switchback.yaml",
    ],
    options: [
      { flags: "--write <file>", help: "write a configuration with every column's mapping spelled out" },
      { flags: "--suggest", help: "with --write: use the stronger types that the data supports" },
      { flags: "--sql", help: "print the DDL only" },
      { flags: "--adopt", help: "take names and types from the tables that stand in PostgreSQL" },
    ],
    needs: SOURCE_ONLY,
    embedded: true,
    level: "warn",
    load: async () => (await import("./plan.js")).plan,
  },
  {
    name: "backfill",
    summary: "install capture, copy history, exit once the target is exact",
    description:
      "The application continues to write. After an interruption, run it again: it resumes where it stopped and copies nothing twice.",
    examples: ["switchback backfill --sqlite data/app.db --postgres postgres://app@db/app"],
    options: [ADOPT_FILE],
    needs: BOTH,
    embedded: true,
    level: "info",
    load: async () => (await import("./backfill.js")).backfill,
  },
  {
    name: "run",
    summary: "the sidecar: backfill if needed, then follow every change",
    description:
      "Serves HTTP and keeps the copy exact at every commit, as long as it runs. Moves the writes when the flag changes. SIGTERM and SIGINT stop it cleanly (exit code 0); the next run resumes where it stopped.",
    examples: ["switchback run --config switchback.yaml", "SWITCHBACK_HTTP=off switchback run"],
    options: [ADOPT_FILE],
    needs: BOTH,
    embedded: true,
    level: "info",
    load: async () => (await import("./run.js")).run,
  },
  {
    name: "status",
    summary: "show phase, route, lag, and the progress of each table",
    description:
      "Asks the running sidecar. Without one, reads the records in the stores and adds the problem NOT_RUNNING.",
    examples: ["switchback status", "switchback status --watch", "switchback status --json"],
    options: [{ flags: "--watch", help: "refresh every second until interrupted" }],
    needs: BOTH,
    embedded: true,
    level: "warn",
    load: async () => (await import("./status.js")).status,
  },
  {
    name: "verify",
    summary: "prove both stores equal at one position, while writes continue",
    description:
      "Compares every row and value. Exit code 0 when they are equal, 1 when not, with counts and example keys per table.",
    examples: ["switchback verify", "switchback verify --table orders --repair"],
    options: [
      { flags: "--table <name>", help: "compare this table only" },
      { flags: "--repair", help: "correct the differing rows in the target" },
    ],
    needs: BOTH,
    embedded: true,
    level: "warn",
    load: async () => (await import("./verify.js")).verify,
  },
  {
    name: "cutover",
    summary: "move the writes to PostgreSQL, and report how long they paused",
    description:
      "Sets the flag to postgres and waits for the running sidecar's answer. The copy must be streaming, within max_lag, verified (`switchback verify`) and without quarantined rows. If the flip is not done in time, SQLite keeps the writes and nothing is lost (exit code 1, with the reason).",
    examples: ["switchback cutover", "switchback cutover --timeout 2s --json"],
    options: [
      { flags: "--timeout <duration>", help: "give up after this long; default: cutover.timeout, 10s" },
    ],
    needs: BOTH,
    embedded: true,
    level: "warn",
    load: async () => (await import("./cutover.js")).cutover,
  },
  {
    name: "revert",
    summary: "move the writes back to SQLite, with everything written meanwhile",
    description:
      "Sets the flag to sqlite and waits for the running sidecar's answer, like `cutover` in the other direction. Rows that SQLite cannot hold block it and are named.",
    examples: ["switchback revert"],
    options: [
      { flags: "--timeout <duration>", help: "give up after this long; default: cutover.timeout, 10s" },
    ],
    needs: BOTH,
    embedded: true,
    level: "warn",
    load: async () => (await import("./cutover.js")).revert,
  },
  {
    name: "teardown",
    summary: "remove all that switchback installed from both stores, keeping the data",
    description:
      "Refuses (exit code 4) while data would be lost. --keep names the store whose state is kept as the current one.",
    examples: ["switchback teardown", "switchback teardown --keep postgres"],
    options: [
      {
        flags: "--keep <store>",
        help: "the store whose state is current from now on",
        choices: ["sqlite", "postgres"],
      },
    ],
    needs: BOTH,
    embedded: true,
    level: "warn",
    load: async () => (await import("./teardown.js")).teardown,
  },
  {
    name: "exec",
    summary: "run the application's migration while capture cannot disturb it",
    description: `Takes the triggers off that can make DDL fail, runs COMMAND, puts them back, and copies again what may have lost rows meanwhile. A migration needs it when it renames tables under PRAGMA legacy_alter_table = ON, or drops a column that it has renamed before. Other migrations run without it.

The application and the sidecar may run. The copy in PostgreSQL stays where it is until COMMAND has ended, and no cutover is possible until then. The exit code is COMMAND's. When exec is killed, the sidecar, or the next backfill, puts the triggers back.`,
    examples: [
      "switchback exec -- python manage.py migrate",
      "switchback exec --config switchback.yaml -- sh -c 'sqlite3 data/app.db < rename.sql'",
    ],
    operands: ["[command...]", "the migration and its arguments, after --"],
    needs: BOTH,
    embedded: true,
    level: "info",
    load: async () => (await import("./exec.js")).exec,
  },
  {
    name: "demo",
    summary: "run the whole migration on a sample application",
    description:
      "Starts its own PostgreSQL and a live writer, copies its history, follows its changes, and prints what it proved.",
    examples: ["switchback demo"],
    needs: { sources: false, postgres: false },
    embedded: false,
    level: "warn",
    load: async () => (await import("./demo.js")).demo,
  },
];

export const HELP_EXAMPLES = `
Examples:
  switchback check --sqlite data/app.db --postgres postgres://app@db/app
  switchback plan --sqlite data/app.db --write switchback.yaml
  switchback run --config switchback.yaml
  switchback verify
  switchback cutover
  switchback revert
`;

export const HELP_REFERENCE = `
Exit codes:
  0   done
  1   the answer is no: not equal, blocked, retreated
  2   bad usage or configuration
  3   a store could not be reached
  4   refused because of the present state
  70  a bug

Environment (an option has precedence, then these, then the configuration file):
  SQLITE_DATABASE_PATH   the SQLite file
  DATABASE_URL           PostgreSQL, as postgres://user:password@host:5432/database; or
                         POSTGRES_HOST POSTGRES_PORT POSTGRES_DB POSTGRES_USER POSTGRES_PASSWORD
                         POSTGRES_SSL POSTGRES_MAX_CONNECTIONS; or PGHOST PGPORT PGDATABASE PGUSER …
  SWITCHBACK_CONFIG      the configuration file (without it, ./switchback.yaml where it exists)
  SWITCHBACK_FLAG        the flag file: the store that should have the writes
  SWITCHBACK_ROUTE       the route file: the store that has the writes now
  SWITCHBACK_HTTP        127.0.0.1:9464, or off
  SWITCHBACK_TOKEN       the bearer token of the HTTP actions
  NAME_FILE              of any of these: the value is read from that file
`;
