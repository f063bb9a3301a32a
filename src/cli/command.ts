// The input and output of every command. main.ts makes the context; commands never touch process.
import type { Logger } from "pino";
import type { Config, PostgresConfig } from "../config/config.js";
import { SwitchbackError } from "../errors.js";
import type { Progress } from "../telemetry/progress.js";

export interface Context {
  readonly config: Config;
  readonly log: Logger;
  /** True: print exactly one JSON document through `out`, nothing else. */
  readonly json: boolean;
  readonly progress: Progress;
  /** Aborted by SIGINT or SIGTERM. */
  readonly signal: AbortSignal;
  /** Writes to stdout, with a newline. */
  out(text: string): void;
}

/** 0, 1, 2, 3, 4 or 70; `exec` passes on that of its command. */
export type ExitCode = number;

/** The target's address; main.ts makes sure that commands that need one have one. */
export function requirePostgres(config: Config): PostgresConfig {
  if (config.postgres) return config.postgres;
  throw new SwitchbackError("USAGE", "no PostgreSQL is configured: pass --postgres URL or --embedded");
}
