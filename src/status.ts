// The shape of /status and of `status --json`: a sidecar's state for operators, scripts and the page. Only types and
// the list of phases are here: the sidecar fills them in, the server and the commands print them. The names are a
// contract: add to them, never change one.

export const PHASES = [
  "starting",
  "backfilling",
  "streaming",
  "cutting_over",
  "reverse_streaming",
  "reverting",
  "halted",
  "stopping",
] as const;

export type PhaseName = (typeof PHASES)[number];

/** The route. */
export const WRITES = ["sqlite", "paused", "postgres"] as const;
export type Writes = (typeof WRITES)[number];

export interface Route {
  readonly writes: Writes;
  readonly epoch: number;
  /** ISO 8601 in UTC. Absent where only a store's own record is known. */
  readonly changedAt?: string;
}

export interface TableStatus {
  readonly name: string;
  /** Schema and table in the target, as `public.orders`. */
  readonly target: string;
  readonly state: "waiting" | "copying" | "streaming";
  readonly copied: number;
  readonly estimated: number;
  readonly quarantined: number;
}

export interface SourceStatus {
  readonly name: string;
  /** The newest position in the store that takes the writes; null before capture is installed. */
  readonly position: number | null;
  /** The position that the other store has reached. */
  readonly applied: number | null;
  readonly lag: { readonly changes: number; readonly seconds: number };
  readonly tables: readonly TableStatus[];
}

export interface Problem {
  /** A code of errors.ts. */
  readonly code: string;
  readonly message: string;
  readonly hint: string;
  readonly source?: string;
  readonly table?: string;
  readonly column?: string;
  readonly key?: string;
}

/** The stores that a sidecar serves, so that it is not mistaken for another application's. */
export interface Served {
  /** Files as real paths, and as device and inode. */
  readonly sources: readonly { readonly name: string; readonly file: string; readonly inode: string }[];
  /** Host, port and database, and switchback's id there. */
  readonly database: { readonly address: string; readonly id: string | null };
}

export interface Status {
  readonly version: string;
  readonly phase: PhaseName;
  readonly route: Route;
  readonly sources: readonly SourceStatus[];
  /** The last comparison, or null when there was none. */
  readonly verify: { readonly at: string; readonly equal: boolean } | null;
  readonly problems: readonly Problem[];
  /** Absent where no sidecar answered. */
  readonly serves?: Served;
}
