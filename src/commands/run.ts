// `run`: the sidecar. Follows every change until it is told to stop, and answers over HTTP meanwhile.
import { askForFlip } from "../asking.js";
import type { PostgresConfig } from "../config.js";
import { SwitchbackError } from "../errors.js";
import type { Desired } from "../flag.js";
import { type HttpServer, type ServerOptions, startServer } from "../server.js";
import { Sidecar } from "../sidecar.js";
import { lockTarget } from "../store/postgres/lock.js";
import { type Context, type ExitCode, requirePostgres } from "./command.js";
import { documentOf } from "./flip.js";
import { verdictDocument } from "./verify.js";

export async function run(context: Context): Promise<ExitCode> {
  const { config, log, progress, signal } = context;
  const postgres = requirePostgres(config);
  const sidecar = new Sidecar(config, postgres, log, progress);
  const ask = async (to: Desired) => {
    const { flagFile, routeFile, cutover } = config;
    const outcome = await askForFlip({ flagFile, routeFile, to, timeoutMs: cutover.timeoutMs, signal });
    return { done: outcome.there, body: documentOf(outcome) };
  };
  try {
    const server = config.http
      ? await listen(postgres, {
          ...config.http,
          token: config.token,
          log,
          answers: {
            status: () => sidecar.status(),
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
    if (server) log.info({ url: server.url }, `answering at ${server.url}`);
    try {
      signal.addEventListener("abort", () => sidecar.stopping(), { once: true });
      await sidecar.run(signal);
    } finally {
      await server?.close();
    }
    log.info("stopped");
    return 0;
  } finally {
    await sidecar.close();
  }
}

/** Listens; an address that is taken is most often taken by another sidecar, which is then what matters. */
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
