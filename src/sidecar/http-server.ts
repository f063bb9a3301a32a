// The sidecar's HTTP side: metrics, health, status, the route, a list of addresses, and three actions behind a token. It
// asks an Answers for everything and knows no store, no phase and no configuration beyond an address and a
// token. It must stay answerable while everything else is in trouble, so every request is bounded.
import { createHash, timingSafeEqual } from "node:crypto";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { type AddressInfo, isIP } from "node:net";
import type { Logger } from "pino";
import { SwitchbackError } from "../errors.js";
import type { Route, Status } from "../status.js";
import { mask } from "../telemetry/redact.js";

/** What an action came to: `done` false means that the answer is no, with the reason in the body. */
interface ActionResult {
  readonly done: boolean;
  readonly body: unknown;
}

export interface Answers {
  status(): Status | Promise<Status>;
  /** Null while it is not known yet. */
  route(): Route | null;
  /** Streaming and within max_lag, or why not. */
  ready(): { readonly ready: boolean; readonly why: readonly string[] };
  metrics(): Promise<string>;
  cutover?(): Promise<ActionResult>;
  revert?(): Promise<ActionResult>;
  verify?(): Promise<ActionResult>;
}

export interface ServerOptions {
  readonly host: string;
  readonly port: number;
  /** Null: the actions answer 403. */
  readonly token: string | null;
  readonly answers: Answers;
  /** Hears of errors that are bugs; their callers see only that there was one. */
  readonly log: Logger;
}

export interface HttpServer {
  /** `http://127.0.0.1:9464`, with the port that was really taken. */
  readonly url: string;
  /** Finishes the requests under way (for a moment at most) and ends every connection. */
  close(): Promise<void>;
}

/** An action's body carries nothing that is needed; more than this is another protocol. */
const BODY_BYTES_MAX = 16 * 1024;
const HEADER_BYTES_MAX = 16 * 1024;
const CONNECTIONS_MAX = 100;
const HEADERS_MS = 5_000;
const REQUEST_MS = 10_000;
const KEEP_ALIVE_MS = 5_000;
/** Node enforces the two timeouts above only when it looks. */
const CHECK_MS = 1_000;
const CLOSE_MS = 2_000;

interface Reply {
  readonly status: number;
  readonly type: string;
  readonly body: string;
  readonly headers?: Readonly<Record<string, string>>;
}

type Handler = (request: IncomingMessage) => Reply | Promise<Reply>;

/** Listens, or throws HTTP_LISTEN. */
export async function startServer(options: ServerOptions): Promise<HttpServer> {
  const routes = routesOf(options.answers, options.token);
  const server = createServer(
    {
      maxHeaderSize: HEADER_BYTES_MAX,
      headersTimeout: HEADERS_MS,
      requestTimeout: REQUEST_MS,
      keepAliveTimeout: KEEP_ALIVE_MS,
      connectionsCheckingInterval: CHECK_MS,
    },
    (request, response) => {
      response.on("error", () => {});
      const refused = misdirected(request);
      void (refused ? Promise.resolve(refused) : answer(routes, request))
        .catch((error: unknown) => failure(error, options.log))
        .then((reply) => respond(reply, request, response, server.listening));
    },
  );
  server.maxConnections = CONNECTIONS_MAX;
  await listen(server, options);
  server.on("error", () => {});
  const address = server.address() as AddressInfo;
  const host = address.family === "IPv6" ? `[${address.address}]` : address.address;
  return { url: `http://${host}:${address.port}`, close: () => close(server) };
}

function listen(server: Server, { host, port }: ServerOptions): Promise<void> {
  return new Promise((resolve, reject) => {
    const refuse = (error: NodeJS.ErrnoException) => {
      reject(
        new SwitchbackError(
          "HTTP_LISTEN",
          `cannot listen on ${host}:${port}: ${error.code ?? error.message}`,
          {},
          { cause: error },
        ),
      );
    };
    server.once("error", refuse);
    server.listen({ host, port, exclusive: true }, () => {
      server.off("error", refuse);
      resolve();
    });
  });
}

function close(server: Server): Promise<void> {
  return new Promise((resolve) => {
    const patience = setTimeout(() => server.closeAllConnections(), CLOSE_MS);
    server.close(() => {
      clearTimeout(patience);
      resolve();
    });
    server.closeIdleConnections();
  });
}

function routesOf(answers: Answers, token: string | null): Map<string, Map<string, Handler>> {
  const expected = token === null ? null : digest(token);
  const get = (handler: Handler) => new Map([["GET", handler]]);
  const post = (act: (() => Promise<ActionResult>) | undefined) =>
    new Map<string, Handler>([["POST", (request) => action(request, expected, act)]]);
  return new Map([
    ["/", get(() => text(200, ADDRESSES))],
    [
      "/metrics",
      get(async () => ({
        status: 200,
        type: "text/plain; version=0.0.4; charset=utf-8",
        body: await answers.metrics(),
      })),
    ],
    ["/healthz", get(() => text(200, "ok\n"))],
    ["/readyz", get(() => ready(answers))],
    ["/status", get(async () => json(200, await answers.status()))],
    ["/route", get(() => routeOf(answers))],
    ["/cutover", post(answers.cutover?.bind(answers))],
    ["/revert", post(answers.revert?.bind(answers))],
    ["/verify", post(answers.verify?.bind(answers))],
  ]);
}

const ADDRESSES = `switchback

GET  /metrics   Prometheus
GET  /healthz   the process works
GET  /readyz    streaming, within max_lag
GET  /status    phase, route, tables, lag
GET  /route     where writes go now
POST /cutover   with Authorization: Bearer TOKEN
POST /revert
POST /verify
`;

function routeOf(answers: Answers): Reply {
  const route = answers.route();
  return route ? json(200, route) : problem(503, "the stores have not been asked yet");
}

function ready(answers: Answers): Reply {
  const answer = answers.ready();
  return json(answer.ready ? 200 : 503, answer);
}

async function action(
  request: IncomingMessage,
  expected: Buffer | null,
  act: (() => Promise<ActionResult>) | undefined,
): Promise<Reply> {
  if (!expected)
    return problem(
      403,
      "no token is configured, so actions over HTTP are off; set http.token_file or SWITCHBACK_TOKEN",
    );
  const given = /^Bearer +(\S+) *$/i.exec(request.headers.authorization ?? "")?.[1];
  if (given === undefined || !timingSafeEqual(digest(given), expected)) {
    return {
      ...problem(401, "the bearer token is missing or wrong"),
      headers: { "www-authenticate": 'Bearer realm="switchback"' },
    };
  }
  if (!(await drained(request)))
    return {
      ...problem(413, `a request's body is at most ${BODY_BYTES_MAX} bytes`),
      headers: { connection: "close" },
    };
  if (!act) return problem(501, "this sidecar does not offer the action");
  const outcome = await act();
  return json(outcome.done ? 200 : 409, outcome.body);
}

/** Equal lengths for a comparison that takes the same time whatever the token. */
function digest(token: string): Buffer {
  return createHash("sha256").update(token).digest();
}

/** Reads the body to its end and forgets it; false when it is too long. */
async function drained(request: IncomingMessage): Promise<boolean> {
  let bytes = 0;
  for await (const part of request) {
    bytes += (part as Buffer).length;
    if (bytes > BODY_BYTES_MAX) return false;
  }
  return true;
}

/** `open` false: the server is closing, and so must the connection. */
function respond(reply: Reply, request: IncomingMessage, response: ServerResponse, open: boolean): void {
  if (response.destroyed || response.headersSent) return;
  response.writeHead(reply.status, {
    "content-type": reply.type,
    "content-length": Buffer.byteLength(reply.body),
    "cache-control": "no-store",
    "x-content-type-options": "nosniff",
    ...(open ? {} : { connection: "close" }),
    ...reply.headers,
  });
  response.end(request.method === "HEAD" ? undefined : reply.body);
}

/**
 * On the loopback interface, a name other than localhost in the Host header is a web page's. Its own name was made to
 * point here, so that the browser lets the page read the answer (DNS rebinding).
 */
function misdirected(request: IncomingMessage): Reply | null {
  const address = request.socket.localAddress?.replace(/^::ffff:/, "") ?? "";
  if (address !== "::1" && !address.startsWith("127.")) return null;
  const host = (request.headers.host ?? "").replace(/:\d+$/, "").replace(/^\[(.*)\]$/, "$1");
  if (host === "" || isIP(host) !== 0 || /(^|\.)localhost$/i.test(host)) return null;
  return problem(421, `on the loopback interface the Host header is an address or localhost, not ${host}`);
}

async function answer(routes: Map<string, Map<string, Handler>>, request: IncomingMessage): Promise<Reply> {
  const path = (request.url ?? "/").split("?", 1)[0] ?? "/";
  const methods = routes.get(path);
  if (!methods) return problem(404, `nothing is here; GET / lists the addresses`);
  const handler = methods.get(request.method === "HEAD" ? "GET" : (request.method ?? ""));
  if (handler) return handler(request);
  const allow = [...methods.keys()]
    .flatMap((method) => (method === "GET" ? ["GET", "HEAD"] : [method]))
    .join(", ");
  return { ...problem(405, `${path} answers to ${allow}`), headers: { allow } };
}

const STATUS_OF_EXIT = { 1: 409, 2: 400, 3: 503, 4: 409, 70: 500 } as const;

function failure(error: unknown, log: Logger): Reply {
  if (!(error instanceof SwitchbackError)) {
    log.error({ err: error }, "an HTTP request met a bug");
    return problem(500, "a bug in switchback; its log has the details");
  }
  const { code, message, where, kind } = error;
  return json(STATUS_OF_EXIT[kind.exit], { error: { code, message: mask(message), hint: kind.hint, where } });
}

function problem(status: number, message: string): Reply {
  return json(status, { error: { message } });
}

function json(status: number, body: unknown): Reply {
  return { status, type: "application/json; charset=utf-8", body: `${JSON.stringify(body)}\n` };
}

function text(status: number, body: string): Reply {
  return { status, type: "text/plain; charset=utf-8", body };
}
