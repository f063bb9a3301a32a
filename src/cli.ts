#!/usr/bin/env node
// argv → command → exit code. The only file that reads argv and the environment, handles signals and ends the
// process. It makes a command's context (configuration, log, progress, output) and turns every error into one line
// and an exit code. Commands do the rest.
import { dirname, resolve } from "node:path";
import { CommanderError, type OptionValues } from "commander";
import type { Logger } from "pino";
import type { Context, ExitCode } from "./cli/command.js";
import type { CommandEntry } from "./cli/commands.js";
import { buildProgram } from "./cli/program.js";
import { type Config, loadConfig, withPostgres } from "./config/config.js";
import { NOTICES } from "./error-kind.js";
import { SwitchbackError } from "./errors.js";
import { explained } from "./sqlite/connection.js";
import { createLog, type Level, stderrScreen } from "./telemetry/log.js";
import { createProgress } from "./telemetry/progress.js";
import { mask } from "./telemetry/redact.js";

/** Raised through Context.signal by a signal or a closed stdout. */
class Stopped extends Error {
  override readonly name = "AbortError";
}

const stop = new AbortController();
let stdoutClosed = false;

function out(text: string): void {
  if (!stdoutClosed) process.stdout.write(`${text}\n`);
}

function err(text: string): void {
  process.stderr.write(`${text}\n`);
}

/** Runs one command: reads the configuration, runs its code, returns the exit code. */
async function perform(entry: CommandEntry, options: OptionValues): Promise<ExitCode> {
  const json = options.json === true;
  const level: Level = options.logLevel ?? entry.level;
  const terminal = process.stderr.isTTY === true;
  const screen = stderrScreen();
  const log = createLog({ level, terminal, screen });
  const loaded = loadConfig(options, process.env, process.cwd(), entry.needs);
  announceTarget(loaded, log);
  const act = await entry.load();
  const { config, close } = await withEmbedded(loaded, entry, (message) => log.info(message));
  const progress = createProgress({ json, terminal, log, screen });
  try {
    const context: Context = { config, log, json, progress, signal: stop.signal, out };
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
  log: (message: string) => void,
): Promise<{ config: Config; close(): Promise<void> }> {
  if (!config.embedded || !entry.embedded) return { config, close: async () => {} };
  const { startEmbedded } = await import("./embedded/embedded.js");
  const folder = resolve(config.file === null ? process.cwd() : dirname(config.file), ".switchback");
  const server = await startEmbedded({ folder, log });
  return { config: withPostgres(config, server.postgres), close: () => server.stop() };
}

interface Asked {
  readonly json: boolean;
  readonly stacks: boolean;
}

/** The options that an error's report needs, read by hand, because argv itself may be invalid. */
function asked(argv: readonly string[]): Asked {
  const text = argv.join(" ");
  return { json: argv.includes("--json"), stacks: /--log-level[ =](debug|trace)/.test(text) };
}

/** Prints an error on stderr, with --json also as one document on stdout, and returns its exit code. */
function report(error: unknown, { json, stacks }: Asked): ExitCode {
  if (stop.signal.aborted && error instanceof Error && error.name === "AbortError") return stopped(json);
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

function bugText(error: unknown): string {
  const text =
    error instanceof Error
      ? `${error.name}: ${error.message}`
      : `something else than an error was thrown: ${String(error)}`;
  return text.replaceAll(/\s+/g, " ");
}

/** Interrupted before there was an answer: an error, unless stdout was closed. */
function stopped(json: boolean): ExitCode {
  if (stdoutClosed) return 0;
  const message = stop.signal.reason instanceof Error ? stop.signal.reason.message : "stopped";
  err(`switchback: ${message} before the command was done; run it again to resume`);
  if (json)
    out(JSON.stringify({ error: { code: "STOPPED", message, hint: NOTICES.STOPPED.hint, where: {} } }));
  return 1;
}

/** Commander's message in one line, without its prefix. */
function usage(error: CommanderError): SwitchbackError {
  return new SwitchbackError("USAGE", error.message.replace(/^error: /, "").replaceAll(/\s*\n\s*/g, " "));
}

async function main(argv: readonly string[]): Promise<ExitCode> {
  let code: ExitCode = 0;
  const program = buildProgram(async (entry, options) => {
    code = await perform(entry, options);
  });
  try {
    await program.parseAsync([...argv], { from: "user" });
    return code;
  } catch (error) {
    if (!(error instanceof CommanderError)) return report(error, asked(argv));
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
        : report(new SwitchbackError("USAGE", "a command is missing"), asked(argv));
    return report(usage(error), asked(argv));
  }
}

function listen(argv: readonly string[]): void {
  for (const [name, code] of [
    ["SIGINT", 130],
    ["SIGTERM", 143],
  ] as const) {
    process.on(name, () => {
      // The second signal ends the process immediately.
      if (stop.signal.aborted) process.exit(code);
      stop.abort(new Stopped(`stopped by ${name}`));
    });
  }
  process.stdout.on("error", (error: NodeJS.ErrnoException) => {
    if (error.code !== "EPIPE") return crash(error);
    stdoutClosed = true;
    stop.abort(new Stopped("stdout was closed"));
  });
  process.stderr.on("error", () => {});
  const crash = (error: unknown) => process.exit(report(error, asked(argv)));
  process.on("uncaughtException", crash);
  process.on("unhandledRejection", crash);
}

const argv = process.argv.slice(2);
listen(argv);
const code = await main(argv);
// The process ends once the last output is in the pipe; it does not wait for open handles.
process.stdout.write("", () => process.exit(code));
