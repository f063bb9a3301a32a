// The sidecar's HTTP side: what it answers, who may act, and that no one can wear it out.
import { get } from "node:http";
import { connect } from "node:net";
import { afterEach, expect, test } from "vitest";
import { SwitchbackError } from "#switchback/errors.js";
import { type Answers, type HttpServer, startServer } from "#switchback/sidecar/http-server.js";
import type { Status } from "#switchback/status.js";
import { createMetrics } from "#switchback/telemetry/metrics.js";
import { silentLog } from "../support/log.js";

const TOKEN = "t0ken-of-the-test";

const STATUS: Status = {
  version: "1.2.3",
  phase: "streaming",
  route: { writes: "sqlite", epoch: 0 },
  sources: [],
  verify: null,
  problems: [],
};

let server: HttpServer | null = null;
afterEach(async () => {
  await server?.close();
  server = null;
});

async function start(answers: Partial<Answers> = {}, token: string | null = TOKEN): Promise<string> {
  const all: Answers = {
    status: () => STATUS,
    route: () => ({ writes: "paused", epoch: 3, changedAt: "2026-01-02T03:04:05.000Z" }),
    ready: () => ({ ready: true, why: [] }),
    metrics: async () => "switchback_lag_seconds 0\n",
    ...answers,
  };
  server = await startServer({ host: "127.0.0.1", port: 0, token, answers: all, log: silentLog() });
  return server.url;
}

const bearer = (token: string) => ({ method: "POST", headers: { authorization: `Bearer ${token}` } });

test("GET answers: metrics, health, readiness, status, route, the list", async () => {
  const url = await start();
  const metrics = await fetch(`${url}/metrics`);
  expect(metrics.headers.get("content-type")).toBe(createMetrics().contentType);
  expect(await metrics.text()).toBe("switchback_lag_seconds 0\n");
  expect([(await fetch(`${url}/healthz`)).status, await (await fetch(`${url}/healthz`)).text()]).toEqual([
    200,
    "ok\n",
  ]);
  expect(await (await fetch(`${url}/readyz`)).json()).toEqual({ ready: true, why: [] });
  expect(await (await fetch(`${url}/status?x=1`)).json()).toEqual(STATUS);
  expect(await (await fetch(`${url}/route`)).json()).toEqual({
    writes: "paused",
    epoch: 3,
    changedAt: "2026-01-02T03:04:05.000Z",
  });
  expect(await (await fetch(url)).text()).toContain("/metrics");
  const head = await fetch(`${url}/status`, { method: "HEAD" });
  expect([head.status, await head.text(), Number(head.headers.get("content-length"))]).toEqual([
    200,
    "",
    JSON.stringify(STATUS).length + 1,
  ]);
});

test("not ready: 503 and why, while healthz holds", async () => {
  const url = await start({ ready: () => ({ ready: false, why: ["lag 3 s"] }) });
  const ready = await fetch(`${url}/readyz`);
  expect([ready.status, await ready.json()]).toEqual([503, { ready: false, why: ["lag 3 s"] }]);
  expect((await fetch(`${url}/healthz`)).status).toBe(200);
});

test("404 for what is not there, 405 with the methods that are", async () => {
  const url = await start();
  expect((await fetch(`${url}/nothing`)).status).toBe(404);
  for (const [path, method, allow] of [
    ["/metrics", "POST", "GET, HEAD"],
    ["/status", "DELETE", "GET, HEAD"],
    ["/cutover", "GET", "POST"],
    ["/revert", "PUT", "POST"],
  ] as const) {
    const answer = await fetch(url + path, { method });
    expect([path, answer.status, answer.headers.get("allow")]).toEqual([path, 405, allow]);
  }
});

test("on the loopback interface a web page's name in the Host header is refused: DNS rebinding", async () => {
  const url = await start();
  const { port } = new URL(url);
  const asked = (host: string) =>
    new Promise<number | undefined>((resolve, reject) => {
      get({ host: "127.0.0.1", port, path: "/status", headers: { host } }, (response) => {
        response.resume();
        resolve(response.statusCode);
      }).on("error", reject);
    });
  for (const host of [
    "evil.example",
    `evil.example:${port}`,
    "localhost.evil.example",
    "127.0.0.1.evil.example",
  ])
    expect(await asked(host), host).toBe(421);
  for (const host of [
    `127.0.0.1:${port}`,
    "localhost",
    `LocalHost:${port}`,
    `[::1]:${port}`,
    "10.1.2.3",
    "app.localhost",
  ])
    expect(await asked(host), host).toBe(200);
});

test("actions: 403 while no token is configured, whatever is sent", async () => {
  let acted = 0;
  const act = async () => {
    acted += 1;
    return { done: true, body: {} };
  };
  const url = await start({ cutover: act, revert: act, verify: act }, null);
  for (const path of ["/cutover", "/revert", "/verify"]) {
    for (const token of ["", "null", TOKEN])
      expect((await fetch(url + path, bearer(token))).status).toBe(403);
    expect((await fetch(url + path, { method: "POST" })).status).toBe(403);
  }
  expect(acted).toBe(0);
});

test("actions: 401 with a missing or wrong token, of any length", async () => {
  let acted = 0;
  const url = await start({
    cutover: async () => {
      acted += 1;
      return { done: true, body: {} };
    },
  });
  for (const token of ["", "x", TOKEN.slice(1), `${TOKEN}x`, TOKEN.toUpperCase(), "x".repeat(5_000)]) {
    const answer = await fetch(`${url}/cutover`, bearer(token));
    expect([answer.status, answer.headers.get("www-authenticate")]).toEqual([
      401,
      'Bearer realm="switchback"',
    ]);
  }
  expect(
    (await fetch(`${url}/cutover`, { method: "POST", headers: { authorization: `Basic ${TOKEN}` } })).status,
  ).toBe(401);
  expect((await fetch(`${url}/cutover`, { method: "POST" })).status).toBe(401);
  expect(acted).toBe(0);
});

test("actions: 200 when done, 409 when the answer is no, 501 when there is none", async () => {
  const url = await start({
    cutover: async () => ({ done: true, body: { flipped: true, epoch: 1, pauseMs: 5 } }),
    revert: async () => ({ done: false, body: { flipped: false, reason: "lag" } }),
  });
  const done = await fetch(`${url}/cutover`, bearer(TOKEN));
  expect([done.status, await done.json()]).toEqual([200, { flipped: true, epoch: 1, pauseMs: 5 }]);
  const refused = await fetch(`${url}/revert`, bearer(TOKEN));
  expect([refused.status, await refused.json()]).toEqual([409, { flipped: false, reason: "lag" }]);
  expect((await fetch(`${url}/verify`, bearer(TOKEN))).status).toBe(501);
});

test("errors: ours with code and hint, without secrets; a bug without its message", async () => {
  const url = await start({
    cutover: async () => {
      throw new SwitchbackError("POSTGRES_UNREACHABLE", "no answer from postgres://u:hunter2@h/d");
    },
    revert: async () => {
      throw new Error("internal hunter2");
    },
    metrics: async () => {
      throw new Error("internal hunter2");
    },
  });
  const answer = await fetch(`${url}/cutover`, bearer(TOKEN));
  const text = await answer.text();
  expect([answer.status, JSON.parse(text).error.code]).toEqual([503, "POSTGRES_UNREACHABLE"]);
  expect(text).not.toContain("hunter2");
  for (const failed of [await fetch(`${url}/revert`, bearer(TOKEN)), await fetch(`${url}/metrics`)]) {
    expect(failed.status).toBe(500);
    expect(await failed.text()).not.toContain("hunter2");
  }
});

test("a body or a header that is too long is refused", async () => {
  const url = await start({ cutover: async () => ({ done: true, body: {} }) });
  expect((await fetch(`${url}/cutover`, { ...bearer(TOKEN), body: "x".repeat(16_000) })).status).toBe(200);
  expect((await fetch(`${url}/cutover`, { ...bearer(TOKEN), body: "x".repeat(17_000) })).status).toBe(413);
  expect((await fetch(`${url}/status`, { headers: { x: "x".repeat(20_000) } })).status).toBe(431);
});

/** Sends bytes as they are and waits for what comes back until the connection ends. */
function raw(url: string, bytes: string): Promise<string> {
  return new Promise((resolve) => {
    const socket = connect(Number(new URL(url).port), "127.0.0.1", () => socket.write(bytes));
    let text = "";
    socket.on("data", (part) => {
      text += part;
    });
    socket.on("close", () => resolve(text));
    socket.on("error", () => {});
  });
}

test("what is not HTTP gets 400; headers that never end are cut off", async () => {
  const url = await start();
  expect(await raw(url, "hello\r\n\r\n")).toMatch(/^HTTP\/1.1 400 /);
  const begun = performance.now();
  expect(await raw(url, "GET / HTTP/1.1\r\nx: y\r\n")).toMatch(/^HTTP\/1.1 408 /);
  expect(performance.now() - begun).toBeLessThan(9_000);
}, 20_000);

test("close() ends idle connections immediately and lets a request under way finish", async () => {
  let finish = () => {};
  let begin = () => {};
  const entered = new Promise<void>((resolve) => {
    begin = resolve;
  });
  const url = await start({
    cutover: () =>
      new Promise((resolve) => {
        finish = () => resolve({ done: true, body: { flipped: true } });
        begin();
      }),
  });
  const idle = raw(url, "GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n");
  const active = fetch(`${url}/cutover`, bearer(TOKEN));
  await entered;
  const begun = performance.now();
  const closed = server?.close();
  await idle;
  finish();
  expect((await active).status).toBe(200);
  await closed;
  expect(performance.now() - begun).toBeLessThan(1_500);
  server = null;
});

test("a taken port is HTTP_LISTEN, and so is an address that is not ours", async () => {
  const port = Number(new URL(await start()).port);
  const answers: Answers = {
    status: () => STATUS,
    route: () => STATUS.route,
    ready: () => ({ ready: true, why: [] }),
    metrics: async () => "",
  };
  const options = { token: null, answers, log: silentLog() };
  await expect(startServer({ ...options, host: "127.0.0.1", port })).rejects.toMatchObject({
    code: "HTTP_LISTEN",
    message: expect.stringContaining(`127.0.0.1:${port}: EADDRINUSE`),
  });
  await expect(startServer({ ...options, host: "192.0.2.1", port: 0 })).rejects.toMatchObject({
    code: "HTTP_LISTEN",
  });
});
