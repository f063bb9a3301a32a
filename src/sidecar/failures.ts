// What a failure means to a sidecar that starts or follows: whether it passes by itself, and whether any try after it
// could open a store.

/** What passes by itself is waited for this long at the start: a busy application's lock, a session that was lost. */
export const START_PATIENCE_MS = 20_000;
export const PASSING: ReadonlySet<string> = new Set([
  "SQLITE_BUSY",
  "POSTGRES_UNREACHABLE",
  "POSTGRES_TRANSIENT",
]);
/**
 * Answers of the stores' records themselves, or of the sidecar that keeps them now: no try after these opens a store.
 */
export const DECIDED: ReadonlySet<string> = new Set([
  "SPLIT",
  "TARGET_FOREIGN",
  "TARGET_TAKEN",
  "WRITES_AWAY",
  "ROUTE_AHEAD",
  "SQLITE_REPLACED",
  "SQLITE_REWOUND",
  "SOURCE_FOREIGN",
  "SOURCE_TAKEN",
  "ROUTE_TAKEN",
]);
