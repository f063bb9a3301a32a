// The store for the next call: reads the route's source and the stores' records, and lets calls wait while no
// store accepts the writes. Its state is one value; route-state.ts has the rules for its transitions. It runs
// no statement of the caller.
import { readFileSync } from "node:fs";
import { ConnectionError, closed, codeOf, errorMessage, type StoreName } from "./errors.js";
import { countWait, type Metrics } from "./metrics.js";
import {
  type KnownRoute,
  lastWriterOf,
  nextRoute,
  type RouteEvent,
  type RouteState,
  routeOf,
  storeFor,
  UNKNOWN,
} from "./route-state.js";
import { type Claim, sleep } from "./store.js";

interface RouteRecords {
  /** SQLite's own record, read without waiting; null when it has none or cannot be read. */
  sqlite(): Claim | null;
  /** The same, but waits for a lock. @throws when the lock stays */
  sqliteSurely(): Promise<Claim | null>;
  /** PostgreSQL's own record. @throws when it cannot be asked */
  postgres(): Promise<Claim | null>;
}

/** The maximum age of the route when a call begins. Reading a small file takes some 20 µs, HTTP a round trip. */
const FRESH_MS = { file: 10, http: 100 };
/** The same while calls wait for it. */
const POLL_MS = { file: 3, http: 20 };
/** While calls wait, PostgreSQL itself is asked too, in case no sidecar publishes the route any more. */
const ASK_MS = 100;
const HTTP_TIMEOUT_MS = 1_000;

export class RouteFollower {
  private believed: RouteState = UNKNOWN;
  private readonly kind: "file" | "http";
  private readAt = Number.NEGATIVE_INFINITY;
  private askedAt = Number.NEGATIVE_INFINITY;
  private reading: Promise<void> | null = null;
  private problem: string | null = null;
  private over = false;

  constructor(
    private readonly source: string,
    private readonly asked: RouteRecords,
    private readonly metrics: Metrics,
    /** The total time that a call may wait, for the message. */
    private readonly waitMs: number,
  ) {
    this.kind = /^https?:/.test(source) ? "http" : "file";
  }

  /** The present belief, and why the source could not be read, if so. */
  get state(): { readonly route: KnownRoute | null; readonly problem: string | null } {
    return { route: routeOf(this.believed), problem: this.problem };
  }

  /** The store for a call; waits during a pause, at most `waitMs`. @throws ConnectionError */
  async target(kind: "read" | "write", waitMs: number): Promise<StoreName> {
    await this.refresh(FRESH_MS[this.kind]);
    if (this.over) throw closed();
    const now = storeFor(this.believed, kind);
    if (now) return now;
    const awaited =
      this.believed.kind === "unknown" ? "to be known" : "to be sqlite or postgres again: writes are paused";
    return this.until(waitMs, () => storeFor(this.believed, kind), awaited);
  }

  /**
   * After `store` refused a write: returns when the route names the other store, or when it is time to try
   * the same store again. A flip may also be given up. @throws ConnectionError when `waitMs` has passed
   */
  async afterFence(
    store: StoreName,
    epoch: number | null,
    patienceMs: number,
    waitMs: number,
  ): Promise<void> {
    this.note({ kind: "fenced", by: store });
    const tryAgainAt = performance.now() + patienceMs;
    const ready = () => {
      const target = storeFor(this.believed, "write");
      if (target !== null && target !== store) return true;
      return target !== null && performance.now() >= tryAgainAt ? true : null;
    };
    const since = epoch === null ? "" : ` (epoch ${epoch})`;
    await this.until(waitMs, ready, `to lead away from ${store}, which refuses writes${since}`);
  }

  /** A write was accepted by that store. */
  proved(store: StoreName): void {
    this.note({ kind: "accepted", by: store });
  }

  /**
   * True when rows just read from `store` were the newest. False when the writes had moved meanwhile; the
   * route has then moved too. SQLite's record needs no round trip.
   */
  async stillHolds(store: StoreName): Promise<boolean> {
    const claim = await this.asked.sqliteSurely();
    if (claim) this.note({ kind: "claimed", by: "sqlite", claim: claim });
    if (store === "sqlite" && claim && claim.writes !== "sqlite") {
      // A closed SQLite file learns later than PostgreSQL that the writes are there, or never, when a sidecar
      // dies. Its own record that it lost the writes counts as much as its fence.
      this.note({ kind: "fenced", by: "sqlite" });
      const other = await this.asked.postgres();
      if (other) this.note({ kind: "claimed", by: "postgres", claim: other });
    }
    // Another call may have noticed first.
    return lastWriterOf(this.believed) === store;
  }

  /** Ends all waits for the route, and every later call. */
  close(): void {
    this.over = true;
  }

  private async until<T>(waitMs: number, ready: () => T | null, awaited: string): Promise<T> {
    return countWait(this.metrics, async () => {
      const began = performance.now();
      for (;;) {
        await sleep(POLL_MS[this.kind]);
        if (this.over) throw closed();
        await this.refresh(POLL_MS[this.kind] - 1);
        // Not awaited: a server that is down answers late.
        void this.askStores();
        const answer = ready();
        if (answer !== null) return answer;
        if (performance.now() - began >= waitMs) throw this.timeout(awaited);
      }
    });
  }

  private timeout(awaited: string): ConnectionError {
    const { problem } = this;
    const current = routeOf(this.believed);
    const says = current ? `it says ${current.writes} (epoch ${current.epoch})` : "nothing is known of it";
    return new ConnectionError(
      `waited ${this.waitMs} ms for the route ${this.source} ${awaited}; ${says}${problem ? `, and ${problem}` : ""}`,
      { code: "ROUTE_TIMEOUT", store: current?.writes === "paused" ? undefined : current?.writes },
    );
  }

  /** Reads the source unless that was done within `freshMs`; calls share one reading. */
  private async refresh(freshMs: number): Promise<void> {
    const claim = this.asked.sqlite();
    if (claim) this.note({ kind: "claimed", by: "sqlite", claim: claim });
    if (performance.now() - this.readAt < freshMs) return;
    if (this.kind === "file") {
      this.readAt = performance.now();
      this.readFile();
    } else {
      this.reading ??= this.fetch().finally(() => {
        this.readAt = performance.now();
        this.reading = null;
      });
      // Without an answer the last state must do: fences and records correct it.
      if (this.believed.kind === "unknown" || this.problem === null) await this.reading;
    }
    if (this.believed.kind !== "unknown") return;
    await this.askStores();
    // No answer from any source, and a SQLite file without records: switchback is not installed yet, or was
    // removed.
    if (claim === null) this.note({ kind: "unanswered" });
  }

  private readFile(): void {
    try {
      this.hear(readFileSync(this.source, "utf8"));
    } catch (error) {
      if (codeOf(error) === "ENOENT") {
        this.problem = null;
        this.note({ kind: "reported", route: { writes: "sqlite", epoch: 0 } });
      } else this.problem = `it cannot be read (${codeOf(error) ?? errorMessage(error)})`;
    }
  }

  private async fetch(): Promise<void> {
    try {
      const response = await fetch(this.source, { signal: AbortSignal.timeout(HTTP_TIMEOUT_MS) });
      if (!response.ok) throw new Error(`status ${response.status}`);
      this.hear(await response.text());
    } catch (error) {
      const cause = error instanceof Error && error.cause !== undefined ? error.cause : error;
      this.problem = `it cannot be asked (${errorMessage(cause)})`;
    }
  }

  private hear(text: string): void {
    const route = parsed(text);
    if (route) {
      this.problem = null;
      this.note({ kind: "reported", route });
    } else this.problem = "what it says is no route";
  }

  private note(event: RouteEvent): void {
    const before = lastWriterOf(this.believed);
    this.believed = nextRoute(this.believed, event);
    const after = lastWriterOf(this.believed);
    if (before !== null && after !== before) this.metrics.moves += 1;
  }

  private async askStores(): Promise<void> {
    if (performance.now() - this.askedAt < ASK_MS) return;
    this.askedAt = performance.now();
    const claim = this.asked.sqlite();
    if (claim) this.note({ kind: "claimed", by: "sqlite", claim: claim });
    try {
      const other = await this.asked.postgres();
      if (other) this.note({ kind: "claimed", by: "postgres", claim: other });
    } catch {
      // It may be down as long as the writes are in SQLite; a call that needs it reports that itself.
    }
  }
}

function parsed(text: string): KnownRoute | null {
  try {
    const { writes, epoch } = JSON.parse(text) as { writes?: unknown; epoch?: unknown };
    const known = writes === "sqlite" || writes === "postgres" || writes === "paused";
    return known && typeof epoch === "number" && Number.isSafeInteger(epoch) ? { writes, epoch } : null;
  } catch {
    return null;
  }
}
