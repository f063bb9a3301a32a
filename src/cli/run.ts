// `run`: the sidecar. Follows every change until it is stopped, and serves HTTP meanwhile.

import type { Logger } from "pino";
import type { PostgresConfig } from "../config/config.js";
import type { Desired } from "../cutover/flag-file.js";
import { requestFlip } from "../cutover/request.js";
import { SwitchbackError } from "../errors.js";
import { lockTarget } from "../postgres/sidecar-lock.js";
import { pause } from "../retry.js";
import { type HttpServer, type ServerOptions, startServer } from "../sidecar/http-server.js";
import { Sidecar } from "../sidecar/sidecar.js";
import { type Context, type ExitCode, requirePostgres } from "./command.js";
import { documentOf } from "./cutover.js";
import { verdictDocument } from "./verify.js";

/** A clean stop takes a second at most, unless a store hangs. */
const STOP_MS = 8_000;
const CLOSE_MS = 2_000;

export async function run(
  context: Context,
  options: { readonly adoptFile?: boolean } = {},
): Promise<ExitCode> {
  const { config, log, progress, signal } = context;
  const postgres = requirePostgres(config);
  const sidecar = new Sidecar(config, postgres, log, progress, options.adoptFile);
  const names = config.sources.map(({ name }) => name);
  const ask = async (to: Desired) => {
    const { flagFile, routeFile, cutover } = config;
    const outcome = await requestFlip({ flagFile, routeFile, to, timeoutMs: cutover.timeoutMs, signal });
    return { done: outcome.there, body: documentOf(outcome, names) };
  };
  try {
    const server = config.http
      ? await listen(postgres, {
          ...config.http,
          token: config.token,
          log,
          answers: {
            status: async () => {
              await sidecar.look();
              return sidecar.status();
            },
            route: () => sidecar.route(),
            ready: () => sidecar.ready(),
            metrics: () => sidecar.metrics.text(),
            cutover: () => ask("postgres"),
            revert: () => ask("sqlite"),
            verify: async () => {
              const verdicts = await sidecar.verify(signal);
              return { done: verdicts.every(({ equal }) => equal), body: verdictDocument(verdicts) };
            },
          },
        })
      : null;
    if (server) log.info({ url: server.url }, "serving HTTP");
    try {
      signal.addEventListener("abort", () => sidecar.stopping(), { once: true });
      await Promise.race([sidecar.run(signal), patience(signal, log)]);
    } finally {
      await server?.close();
    }
    log.info("stopped");
    return 0;
  } finally {
    await Promise.race([sidecar.close(), pause(CLOSE_MS)]);
  }
}

/** A server that does not answer must not delay the stop: the next start resumes the interrupted work. */
async function patience(signal: AbortSignal, log: Logger): Promise<void> {
  if (!signal.aborted)
    await new Promise((resolve) => signal.addEventListener("abort", resolve, { once: true }));
  await new Promise((resolve) => setTimeout(resolve, STOP_MS).unref());
  log.warn("PostgreSQL does not answer; stopping without it");
}

/** Listens. An address in use usually belongs to another sidecar; in that case report that sidecar instead. */
async function listen(postgres: PostgresConfig, options: ServerOptions): Promise<HttpServer> {
  try {
    return await startServer(options);
  } catch (error) {
    if (error instanceof SwitchbackError && error.code === "HTTP_LISTEN") {
      await (await lockTarget(postgres)).release();
    }
    throw error;
  }
}
