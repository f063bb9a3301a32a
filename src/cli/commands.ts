// The commands: name, options, help, what of the configuration each needs, and where its code is. cli.ts turns
// this table into a command line. Code is loaded when its command runs, so that `--help` loads no engine.
import type { OptionValues } from "commander";
import type { Needs } from "../config/config.js";
import type { Level } from "../telemetry/log.js";
import type { Context, ExitCode } from "./command.js";

type Act = (context: Context, options: OptionValues) => Promise<ExitCode>;

export interface CommandEntry {
  readonly name: string;
  /** One line for the list of commands. */
  readonly summary: string;
  /** What it does and when to use it, for its own help. */
  readonly description: string;
  readonly examples: readonly string[];
  /** Flags as commander spells them, with their help and perhaps the values they take. */
  readonly options?: readonly {
    readonly flags: string;
    readonly help: string;
    readonly choices?: readonly string[];
  }[];
  readonly needs: Needs;
  /** False when the command starts its own PostgreSQL. */
  readonly embedded: boolean;
  /** A service tells what it does; a question is answered on stdout and logs only trouble. */
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
      "Lists blockers and warnings, each with table, column, an example key and the remedy. Installs nothing, writes nothing. Exit code 1 when something blocks.",
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
      "Reads the data and explains the type chosen for every column. With --write it leaves a configuration that spells out every choice, to be edited and passed with --config.",
    examples: [
      "switchback plan --sqlite data/app.db",
      "switchback plan --sqlite data/app.db --write switchback.yaml --suggest",
      "switchback plan --sql > schema.sql",
    ],
    options: [
      { flags: "--write <file>", help: "write a configuration with every column's mapping spelled out" },
      { flags: "--suggest", help: "take over the stronger types that the data suggests" },
      { flags: "--sql", help: "print the DDL only" },
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
      "The application goes on writing. Interrupted, it resumes where it stopped when it is run again; nothing is copied twice.",
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
      "Serves HTTP and keeps the copy exact at every commit, for as long as it runs; flips the writes when the flag says so. SIGTERM and SIGINT stop it cleanly (exit code 0); it resumes where it stopped.",
    examples: ["switchback run --config switchback.yaml", "SWITCHBACK_HTTP=off switchback run"],
    options: [ADOPT_FILE],
    needs: BOTH,
    embedded: true,
    level: "info",
    load: async () => (await import("./run.js")).run,
  },
  {
    name: "status",
    summary: "phase, route, progress of each table, lag",
    description: "Reads what the stores themselves record, whether or not a sidecar runs.",
    examples: ["switchback status", "switchback status --watch", "switchback status --json"],
    options: [{ flags: "--watch", help: "show it again every second until interrupted" }],
    needs: BOTH,
    embedded: true,
    level: "warn",
    load: async () => (await import("./status.js")).status,
  },
  {
    name: "verify",
    summary: "prove both stores equal at one position, while writes go on",
    description:
      "Compares every row and value. Exit code 0 when they are equal, 1 when not, with counts and example keys for each table.",
    examples: ["switchback verify", "switchback verify --table orders --repair"],
    options: [
      { flags: "--table <name>", help: "compare this table only" },
      { flags: "--repair", help: "mend the differing rows in the target" },
    ],
    needs: BOTH,
    embedded: true,
    level: "warn",
    load: async () => (await import("./verify.js")).verify,
  },
  {
    name: "cutover",
    summary: "move the writes to PostgreSQL, and say how long they paused",
    description:
      "Sets the flag to postgres and waits for the running sidecar's answer. It flips when the copy is streaming, close behind, verified (`switchback verify`) and without quarantined rows; when it cannot in time, SQLite takes the writes again and nothing is lost (exit code 1, with the reason).",
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
      "Sets the flag to sqlite and waits for the running sidecar's answer, like `cutover` in the other direction. Rows that SQLite cannot hold stand in the way, and are named.",
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
      "Refuses (exit code 4) while it would lose something; --keep says which store's state is the right one.",
    examples: ["switchback teardown", "switchback teardown --keep postgres"],
    options: [
      {
        flags: "--keep <store>",
        help: "the store whose state counts from now on",
        choices: ["sqlite", "postgres"],
      },
    ],
    needs: BOTH,
    embedded: true,
    level: "warn",
    load: async () => (await import("./teardown.js")).teardown,
  },
  {
    name: "demo",
    summary: "the main job, end to end, on a sample application",
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
  SWITCHBACK_FLAG        the flag file: where writes shall go
  SWITCHBACK_ROUTE       the route file: where writes go now
  SWITCHBACK_HTTP        127.0.0.1:9464, or off
  SWITCHBACK_TOKEN       the bearer token of the HTTP actions
  NAME_FILE              of any of these: the value is read from that file
`;
