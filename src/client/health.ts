// The answer of healthCheck: what the route says and whether each store answers. It tries each store once and repeats
// nothing.
import { typed } from "./errors.js";
import type { RouteFollower } from "./route-follower.js";
import type { KnownRoute } from "./route-state.js";
import type { Store } from "./store.js";

export interface StoreHealth {
  readonly ok: boolean;
  /** How long the answer took. */
  readonly ms: number;
  readonly error?: string;
}

export interface Health {
  /** True when the store for reads and the store for writes both answer. A pause is healthy. */
  readonly ok: boolean;
  readonly route: KnownRoute | null;
  /** Why the route's file or address cannot be read, if so. */
  readonly routeProblem?: string;
  readonly sqlite: StoreHealth;
  /** Null when PostgreSQL's address is not configured. */
  readonly postgres: StoreHealth | null;
}

const HEALTH_MS = 2_000;

export async function checked(
  route: RouteFollower,
  stores: { readonly sqlite: Store; readonly postgres: Store | null },
  closed: boolean,
): Promise<Health> {
  const nothing = { ok: false, ms: 0, error: "the handle is closed" };
  if (closed)
    return { ok: false, route: route.state.route, sqlite: nothing, postgres: stores.postgres && nothing };
  const reads = route.target("read", 0).catch(() => null);
  const [sqlite, postgres, name] = await Promise.all([
    answered(stores.sqlite),
    stores.postgres && answered(stores.postgres),
    reads,
  ]);
  const { route: now, problem } = route.state;
  const health = { sqlite, postgres };
  const ok = name !== null && (health[name]?.ok ?? false);
  return { ok, route: now, ...(problem === null ? {} : { routeProblem: problem }), sqlite, postgres };
}

async function answered(store: Store): Promise<StoreHealth> {
  const began = performance.now();
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`no answer within ${HEALTH_MS} ms`)), HEALTH_MS);
  });
  try {
    const asked = store.read("SELECT 1 AS one", []);
    asked.catch(() => {});
    await Promise.race([asked, late]);
    return { ok: true, ms: performance.now() - began };
  } catch (error) {
    const told = typed(store.name, error, null);
    return {
      ok: false,
      ms: performance.now() - began,
      error: told instanceof Error ? told.message : String(told),
    };
  } finally {
    clearTimeout(timer);
  }
}
