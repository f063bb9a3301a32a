// `cutover` and `revert`: request the flip from the running sidecar, and print the result.

import { DURATION, durationMs } from "../config/file.js";
import { nameOf } from "../cutover/controller.js";
import type { Desired } from "../cutover/flag-file.js";
import { type CutoverOutcome, requestFlip } from "../cutover/request.js";
import { SwitchbackError } from "../errors.js";
import { type Context, type ExitCode, requirePostgres } from "./command.js";

interface FlipCommandOptions {
  readonly timeout?: string;
}

export const cutover = (context: Context, options: FlipCommandOptions) => ask(context, "postgres", options);
export const revert = (context: Context, options: FlipCommandOptions) => ask(context, "sqlite", options);

async function ask(context: Context, to: Desired, options: FlipCommandOptions): Promise<ExitCode> {
  const { config, signal } = context;
  const { flagFile, routeFile } = config;
  const names = config.sources.map(({ name }) => name);
  const timeoutMs = timeoutOf(options.timeout) ?? config.cutover.timeoutMs;
  context.progress.phase(`moving the writes to ${nameOf(to)}`);
  const outcome = await requestFlip({
    ...{ flagFile, routeFile, to, timeoutMs, signal },
    mine: { sources: config.sources, postgres: requirePostgres(config) },
  });
  context.progress.done();
  if (context.json) context.out(JSON.stringify(documentOf(outcome, names)));
  else context.out(`${names.join(", ")}: ${sentence(to, outcome)}`);
  return outcome.there ? 0 : 1;
}

/** The contract's document. */
export function documentOf({ there: _, ...outcome }: CutoverOutcome, sources: readonly string[]): unknown {
  return { ...outcome, sources };
}

function sentence(to: Desired, { flipped, there, epoch, pauseMs, reason }: CutoverOutcome): string {
  if (flipped)
    return `writes go to ${nameOf(to)} (epoch ${epoch})${pauseMs === undefined ? "" : `; they paused for ${pauseMs.toFixed(1)} ms`}`;
  if (there) return `${reason} (epoch ${epoch})`;
  const held = pauseMs && pauseMs > 0 ? ` Writes paused for ${pauseMs.toFixed(1)} ms; nothing was lost.` : "";
  return `not moved: ${reason}.${held}`;
}

function timeoutOf(text: string | undefined): number | null {
  if (text === undefined) return null;
  const ms = durationMs(text);
  if (ms === undefined || ms <= 0)
    throw new SwitchbackError("USAGE", `--timeout takes ${DURATION}, not ${text}`);
  return ms;
}
