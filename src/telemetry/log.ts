// The log: pino, always to stderr, because stdout is for answers. JSON lines for machines, short lines for a
// terminal. It owns the format of a line and keeps secrets out; callers choose the content and the level.
import { writeSync } from "node:fs";
import { type Logger, pino } from "pino";
import { SwitchbackError } from "../errors.js";
import { mask } from "./redact.js";

export const LEVELS = ["trace", "debug", "info", "warn", "error", "silent"] as const;
export type Level = (typeof LEVELS)[number];

/**
 * The destination of lines. A progress display replaces `write` while it draws, so that neither overwrites
 * the other.
 */
export interface Screen {
  write(text: string): void;
}

export function stderrScreen(): Screen {
  return { write: (text) => writeAll(2, text) };
}

interface LogOptions {
  readonly level: Level;
  /** True when stderr is a terminal. */
  readonly terminal: boolean;
  readonly screen: Screen;
}

const SECRETS = ["password", "token", "url", "connectionString", "authorization"];

/** The project's one logger; lines are written before the call returns, so a crash loses none. */
export function createLog(options: LogOptions): Logger {
  const stacks = options.level === "debug" || options.level === "trace";
  return pino(
    {
      level: options.level,
      base: null,
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
      serializers: { err: (error: unknown) => describe(error, stacks) },
      redact: {
        paths: [...SECRETS, ...SECRETS.map((name) => `*.${name}`), ...SECRETS.map((name) => `*.*.${name}`)],
        censor: (value) => (typeof value === "string" && value.includes("://") ? mask(value) : "***"),
      },
    },
    { write: (line: string) => options.screen.write(mask(options.terminal ? readable(line) : line)) },
  );
}

/**
 * The fields that a log line has for an error: the code of our own errors, the name of others, a stack only
 * on request.
 */
function describe(error: unknown, stacks: boolean): unknown {
  if (!(error instanceof Error)) return error;
  const stack = stacks && error.stack ? { stack: error.stack } : {};
  const cause = error.cause === undefined ? {} : { cause: describe(error.cause, stacks) };
  if (error instanceof SwitchbackError) {
    return {
      code: error.code,
      message: error.message,
      ...error.where,
      hint: error.kind.hint,
      ...cause,
      ...stack,
    };
  }
  const code = "code" in error && typeof error.code === "string" ? { code: error.code } : {};
  return { name: error.name, ...code, message: error.message, ...cause, ...stack };
}

/** `12:34:56 warn  message  key=value …` from pino's JSON line. */
function readable(line: string): string {
  const parsed: unknown = JSON.parse(line);
  if (typeof parsed !== "object" || parsed === null) return line;
  const { level, time, msg, ...rest } = parsed as Record<string, unknown>;
  const fields = Object.entries(rest).flatMap(([key, value]) => field(key, value));
  const text = [String(msg ?? ""), ...fields].filter((part) => part !== "").join("  ");
  return `${String(time).slice(11, 19)} ${String(level).padEnd(5)} ${text}\n`;
}

function field(key: string, value: unknown): string[] {
  if (key === "err" && typeof value === "object" && value !== null) {
    const { code, name, message, hint, stack } = value as Record<string, unknown>;
    const lines = [`${String(code ?? name ?? "Error")}: ${String(message)}`];
    if (hint !== undefined) lines.push(`→ ${String(hint)}`);
    if (stack !== undefined) lines.push(`\n${String(stack)}`);
    return lines;
  }
  return [`${key}=${typeof value === "string" ? value : JSON.stringify(value)}`];
}

// A pipe may be full (EAGAIN) or closed (EPIPE); neither may stop the sidecar.
function writeAll(descriptor: number, text: string): void {
  let rest = Buffer.from(text);
  for (let tries = 0; rest.length > 0 && tries < 1_000; tries += 1) {
    try {
      rest = rest.subarray(writeSync(descriptor, rest));
    } catch (error) {
      if (!(error instanceof Error && "code" in error && error.code === "EAGAIN")) return;
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1);
    }
  }
}
