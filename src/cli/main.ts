// argv → command → exit code. It makes a command's context (configuration, log, progress, output) and turns every
// error into one line and an exit code. Commands do the rest. It reads no global of the process, so that one process
// can run several commands. Only help goes straight to stdout.
import { dirname, resolve } from "node:path";
import { CommanderError, type OptionValues } from "commander";
import type { Logger } from "pino";
import { type Config, loadConfig, withPostgres } from "../config/config.js";
import { NOTICES } from "../error-kind.js";
import { SwitchbackError } from "../errors.js";
import { explained } from "../sqlite/connection.js";
import { createLog, type Level, type Screen } from "../telemetry/log.js";
import { createProgress } from "../telemetry/progress.js";
import { mask } from "../telemetry/redact.js";
import type { Context, ExitCode } from "./command.js";
import type { CommandEntry } from "./commands.js";
import { buildProgram } from "./program.js";

/** The environment and the streams of one command. */
export interface Surroundings {
  readonly env: NodeJS.ProcessEnv;
  readonly cwd: string;
  /** True when a person reads stderr. */
  readonly terminal: boolean;
  /** Aborted when the command must stop, with the reason as an Error of the name AbortError. */
  readonly signal: AbortSignal;
  /** True once stdout was closed: an interruption is then not reported. */
  stdoutClosed(): boolean;
  /** Where the log is written. */
  screen(): Screen;
  /** Writes a line to stdout. */
  out(line: string): void;
  /** Writes a line to stderr. */
  err(line: string): void;
}

/** Runs the command that `argv` names; its exit code. Never throws. */
export async function main(argv: readonly string[], surroundings: Surroundings): Promise<ExitCode> {
  let code: ExitCode = 0;
  const program = buildProgram(async (entry, options) => {
    code = await perform(entry, options, surroundings);
  });
  try {
    await program.parseAsync([...argv], { from: "user" });
    return code;
  } catch (error) {
    if (!(error instanceof CommanderError)) return report(error, argv, surroundings);
    // `--help` and `--version` were requested; commander also shows the help when the command is missing.
    if (
      error.code === "commander.helpDisplayed" ||
      error.code === "commander.version" ||
      error.exitCode === 0
    )
      return 0;
    if (error.code === "commander.help")
      return argv.length === 0
        ? 2
        : report(new SwitchbackError("USAGE", "a command is missing"), argv, surroundings);
    return report(usage(error), argv, surroundings);
  }
}

/** Runs one command: reads the configuration, runs its code, returns the exit code. */
async function perform(
  entry: CommandEntry,
  options: OptionValues,
  { env, cwd, terminal, signal, screen, out }: Surroundings,
): Promise<ExitCode> {
  const json = options.json === true;
  const level: Level = options.logLevel ?? entry.level;
  const lines = screen();
  const log = createLog({ level, terminal, screen: lines });
  const loaded = loadConfig(options, env, cwd, entry.needs);
  // A person hears it from every command, also from those whose log is silent.
  const person = terminal && !json && options.logLevel === undefined;
  announceTarget(loaded, person ? createLog({ level: "info", terminal, screen: lines }) : log);
  const act = await entry.load();
  const { config, close } = await withEmbedded(loaded, entry, cwd, (message) => log.info(message));
  const progress = createProgress({ json, terminal, log, screen: lines });
  try {
    const context: Context = { config, log, json, progress, signal, out };
    return await act(context, options);
  } finally {
    progress.done();
    await close();
  }
}

/** Which server a command speaks to. A variable of the shell may name another one than the configuration file does. */
function announceTarget({ file, postgres }: Config, log: Logger): void {
  if (!postgres) return;
  const { user, host, port, database, replacedBy } = postgres;
  const address = `${user}@${host.includes(":") ? `[${host}]` : host}:${port}/${database}`;
  if (replacedBy)
    log.warn(
      `PostgreSQL is ${address}: ${replacedBy.join(" and ")} in the environment replaced the section of ${file}`,
    );
  else log.info(`PostgreSQL is ${address}`);
}

async function withEmbedded(
  config: Config,
  entry: CommandEntry,
  cwd: string,
  log: (message: string) => void,
): Promise<{ config: Config; close(): Promise<void> }> {
  if (!config.embedded || !entry.embedded) return { config, close: async () => {} };
  const { startEmbedded } = await import("../embedded/embedded.js");
  const folder = resolve(config.file === null ? cwd : dirname(config.file), ".switchback");
  const server = await startEmbedded({ folder, log });
  return { config: withPostgres(config, server.postgres), close: () => server.stop() };
}

/** Prints an error on stderr, with --json also as one document on stdout, and returns its exit code. */
export function report(error: unknown, argv: readonly string[], surroundings: Surroundings): ExitCode {
  const { signal, out, err } = surroundings;
  const { json, stacks } = asked(argv);
  if (signal.aborted && error instanceof Error && error.name === "AbortError")
    return stopped(json, surroundings);
  const found = explained(error);
  const failure =
    found instanceof SwitchbackError
      ? found
      : new SwitchbackError("BUG", bugText(error), {}, { cause: error });
  const { code, kind, where } = failure;
  const message = mask(failure.message);
  err(`switchback: ${code} ${message}\n  → ${kind.hint}`);
  if (stacks && error instanceof Error) err(mask(error.stack ?? ""));
  if (json) out(JSON.stringify({ error: { code, message, hint: kind.hint, where } }));
  return kind.exit;
}

/** The options that an error's report needs, read by hand, because argv itself may be invalid. */
function asked(argv: readonly string[]): { readonly json: boolean; readonly stacks: boolean } {
  const text = argv.join(" ");
  return { json: argv.includes("--json"), stacks: /--log-level[ =](debug|trace)/.test(text) };
}

function bugText(error: unknown): string {
  const text =
    error instanceof Error
      ? `${error.name}: ${error.message}`
      : `something else than an error was thrown: ${String(error)}`;
  return text.replaceAll(/\s+/g, " ");
}

/** Interrupted before there was an answer: an error, unless stdout was closed. */
function stopped(json: boolean, { signal, stdoutClosed, out, err }: Surroundings): ExitCode {
  if (stdoutClosed()) return 0;
  const message = signal.reason instanceof Error ? signal.reason.message : "stopped";
  err(`switchback: ${message} before the command was done; run it again to resume`);
  if (json)
    out(JSON.stringify({ error: { code: "STOPPED", message, hint: NOTICES.STOPPED.hint, where: {} } }));
  return 1;
}

/** Commander's message in one line, without its prefix. */
function usage(error: CommanderError): SwitchbackError {
  return new SwitchbackError("USAGE", error.message.replace(/^error: /, "").replaceAll(/\s*\n\s*/g, " "));
}
