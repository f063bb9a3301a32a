#!/usr/bin/env node
// The process around a command. The only file that reads argv and the environment, handles signals and ends the
// process.
import { main, report, type Surroundings } from "./cli/main.js";
import { stderrScreen } from "./telemetry/log.js";

/** Raised through Context.signal by a signal or a closed stdout. */
class Stopped extends Error {
  override readonly name = "AbortError";
}

const stop = new AbortController();
let stdoutClosed = false;

const surroundings: Surroundings = {
  env: process.env,
  cwd: process.cwd(),
  terminal: process.stderr.isTTY === true,
  signal: stop.signal,
  stdoutClosed: () => stdoutClosed,
  screen: stderrScreen,
  out(line) {
    if (!stdoutClosed) process.stdout.write(`${line}\n`);
  },
  err(line) {
    process.stderr.write(`${line}\n`);
  },
};

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
  const crash = (error: unknown) => process.exit(report(error, argv, surroundings));
  process.on("uncaughtException", crash);
  process.on("unhandledRejection", crash);
}

const argv = process.argv.slice(2);
listen(argv);
const code = await main(argv, surroundings);
// The process ends once the last output is in the pipe; it does not wait for open handles.
process.stdout.write("", () => process.exit(code));
