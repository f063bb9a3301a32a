// `run`: the sidecar. Follows every change until it is told to stop, and answers over HTTP meanwhile.
import { startServer } from "../server.js";
import { Sidecar } from "../sidecar.js";
import { type Context, type ExitCode, requirePostgres } from "./command.js";
import { verdictDocument } from "./verify.js";

export async function run(context: Context): Promise<ExitCode> {
  const { config, log, progress, signal } = context;
  const sidecar = new Sidecar(config, requirePostgres(config), log, progress);
  try {
    const server = config.http
      ? await startServer({
          ...config.http,
          token: config.token,
          log,
          answers: {
            status: () => sidecar.status(),
            route: () => sidecar.route(),
            ready: () => sidecar.ready(),
            metrics: () => sidecar.metrics.text(),
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
