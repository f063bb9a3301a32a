// A TCP proxy before PostgreSQL that counts the messages of its clients and, at a chosen one, loses the session. The
// connection breaks before the message or before its answer, the server ends the session, or all break together.
import { connect, createServer, type Server, type Socket } from "node:net";
import pg from "pg";

/**
 * What happens at the chosen message. unsent: the connection breaks and the server never sees it. unanswered: the
 * server gets it, no one hears of it. terminated: the server ends the session, then the message comes. late: the other
 * way round. all: every session breaks.
 */
export const LOSSES = ["unsent", "unanswered", "terminated", "late", "all"] as const;
export type Loss = (typeof LOSSES)[number];

export interface Cut {
  /** The session's application_name. */
  readonly session: string;
  /** The message's text, shortened. */
  readonly message: string;
}

/** A message by its number, counted from the loss before, or by `session: text`. */
export type At = number | RegExp;

/** Messages that end a statement or carry data: what lies between them travels in the same packet. */
const [PARSE, SYNC] = ["P", "S"].map((type) => type.charCodeAt(0));
const COUNTED = new Set(["Q", "S", "d", "c", "p"]);

export class CutProxy {
  /** Messages seen so far, of all sessions. */
  messages = 0;
  /** What was lost last. */
  cut: Cut | null = null;
  private armed: [at: At, loss: Loss][] = [];
  private since = 0;
  private readonly pairs = new Set<Pair>();

  private constructor(
    private readonly server: Server,
    readonly port: number,
    private readonly admin: pg.Client,
  ) {}

  /** `url` is the server's own. */
  static async open(url: string): Promise<CutProxy> {
    const { hostname, port } = new URL(url);
    const admin = new pg.Client({ connectionString: url });
    admin.on("error", () => {});
    await admin.connect();
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const proxy = new CutProxy(server, (server.address() as { port: number }).port, admin);
    server.on("connection", (client) => {
      const pair = new Pair(client, connect(Number(port), hostname), proxy);
      proxy.pairs.add(pair);
      client.once("close", () => proxy.pairs.delete(pair));
    });
    return proxy;
  }

  /** The same database by way of the proxy. */
  through(url: string): string {
    const through = new URL(url);
    through.port = String(this.port);
    return through.href;
  }

  /** Loses sessions at these messages, one after another. */
  arm(...losses: [at: At, loss: Loss][]): void {
    this.cut = null;
    this.since = 0;
    this.armed = losses;
  }

  /** Losses whose message has not come. */
  get waiting(): readonly [at: At, loss: Loss][] {
    return this.armed;
  }

  disarm(): void {
    this.armed = [];
  }

  /** The loss that happens at this message, or null. */
  count(pair: Pair, message: string): Loss | null {
    this.messages++;
    this.since++;
    const [next] = this.armed;
    if (!next) return null;
    const [at, loss] = next;
    if (typeof at === "number" ? this.since < at : !at.test(`${pair.name}: ${message}`)) return null;
    this.since = 0;
    this.armed.shift();
    this.cut = { session: pair.name, message };
    return loss;
  }

  breakAll(): void {
    for (const pair of this.pairs) pair.break();
  }

  /** Resolves once the server's process of that session is gone. */
  async terminate(clientPort: number): Promise<void> {
    const PID = "SELECT pid FROM pg_stat_activity WHERE client_port = $1";
    const { rows } = await this.admin.query<{ pid: number }>(PID, [clientPort]);
    for (const { pid } of rows) await this.admin.query("SELECT pg_terminate_backend($1, 5000)", [pid]);
  }

  async close(): Promise<void> {
    this.breakAll();
    await new Promise((resolve) => this.server.close(resolve));
    await this.admin.end();
  }
}

class Pair {
  name = "";
  private started = false;
  /** The statement that was parsed last; a prepared one is parsed once. */
  private statement = "";
  private pending: Buffer = Buffer.alloc(0);
  private work: Promise<void> = Promise.resolve();

  constructor(
    private readonly client: Socket,
    private readonly upstream: Socket,
    private readonly proxy: CutProxy,
  ) {
    for (const socket of [client, upstream]) {
      socket.setNoDelay(true);
      socket.on("error", () => {});
    }
    client.on("data", (bytes) => {
      this.work = this.work.then(() => this.sent(bytes)).catch(() => this.break());
    });
    upstream.pipe(client);
    client.once("close", () => upstream.destroy());
    upstream.once("close", () => client.destroy());
  }

  break(): void {
    this.client.destroy();
    this.upstream.destroy();
  }

  private async sent(bytes: Buffer): Promise<void> {
    this.pending = this.pending.length === 0 ? bytes : Buffer.concat([this.pending, bytes]);
    for (;;) {
      const message = this.next();
      if (!message) return;
      const counted = !this.started || COUNTED.has(String.fromCharCode(message[0] ?? 0));
      if (!this.started) this.name = /application_name\0([^\0]*)/.exec(message.toString("latin1"))?.[1] ?? "";
      else if (message[0] === PARSE) this.statement = textOf(message);
      this.started = true;
      const loss = counted
        ? this.proxy.count(this, message[0] === SYNC ? this.statement : textOf(message))
        : null;
      if (loss === null) this.upstream.write(message);
      else await this.lose(loss, message);
    }
  }

  private async lose(loss: Loss, message: Buffer): Promise<void> {
    const port = this.upstream.localPort ?? 0;
    switch (loss) {
      case "unsent":
        return this.break();
      case "all":
        return this.proxy.breakAll();
      case "unanswered":
        this.upstream.unpipe(this.client);
        this.upstream.end(message);
        this.client.destroy();
        return;
      case "terminated":
        await this.proxy.terminate(port);
        this.upstream.write(message);
        return;
      case "late":
        this.upstream.write(message);
        await this.proxy.terminate(port);
    }
  }

  /** The next whole message; the first has no type. */
  private next(): Buffer | null {
    const head = this.started ? 1 : 0;
    if (this.pending.length < head + 4) return null;
    const length = head + this.pending.readInt32BE(head);
    if (this.pending.length < length) return null;
    const message = this.pending.subarray(0, length);
    this.pending = this.pending.subarray(length);
    return message;
  }
}

function textOf(message: Buffer): string {
  return message
    .subarray(0, 4_000)
    .toString("latin1")
    .replaceAll(/[^ -~]+/g, " ")
    .trim();
}
