// What every command receives and returns. cli.ts makes the context; commands never touch process.
import type { Logger } from "pino";
import type { Config, PostgresConfig } from "../config.js";
import { SwitchbackError } from "../errors.js";
import type { Progress } from "../progress.js";

export interface Context {
  readonly config: Config;
  readonly log: Logger;
  /** True: print exactly one JSON document through `out`, nothing else. */
  readonly json: boolean;
  readonly progress: Progress;
  /** Aborted by SIGINT or SIGTERM. */
  readonly signal: AbortSignal;
  /** Writes to stdout, a newline added. */
  out(text: string): void;
}

/** One answer of `check`, `plan` and the preconditions. */
export interface Finding {
  readonly severity: "blocker" | "warning" | "note";
  /** Stable, lower case with dashes, for scripts. */
  readonly code: string;
  readonly source: string;
  readonly table?: string;
  readonly column?: string;
  /** An example key, as JSON text. */
  readonly key?: string;
  readonly message: string;
  readonly remedy: string;
}

export type ExitCode = 0 | 1 | 2 | 3 | 4 | 70;

/** `1 row`, `2 rows`, `1,000 rows`. */
export function counted(count: number, noun: string): string {
  return `${count.toLocaleString("en")} ${noun}${count === 1 ? "" : "s"}`;
}

/** The target's address; cli.ts sees to it that commands that need one have one. */
export function requirePostgres(config: Config): PostgresConfig {
  if (config.postgres) return config.postgres;
  throw new SwitchbackError("USAGE", "no PostgreSQL is configured: pass --postgres URL or --embedded");
}
