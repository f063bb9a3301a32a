// Proves a target equal to its source at one position while the source goes on changing, and knows neither
// engine.
//
// A view of the target stands at W, a snapshot of the source at P ≥ W. Rows whose keys were not logged in
// (W, P] are the same at both positions, so comparing them is exact. The others are exempt at first and looked
// at again, with a newer view and a newer snapshot, until a view and a snapshot stand at the very same position:
// then nothing is exempt, and what was proven is equality at that position.
import type {
  Chunk,
  Difference,
  EncodedRow,
  HistorySource,
  Position,
  Range,
  RefusedRow,
  Scope,
  TableWindow,
  View,
  Window,
} from "./store/store.js";
import { SourceChanged } from "./store/store.js";

export interface TableComparison {
  readonly name: string;
  readonly source: number;
  readonly target: number;
  missing: number;
  extra: number;
  different: number;
  /** Rows of the source that the target cannot hold. */
  refused: number;
  readonly keys: { kind: "missing" | "extra" | "different"; key: EncodedRow }[];
}

export interface Comparison {
  readonly position: Position;
  /** False when the target did not reach the source in time: the rows named in `inFlight` are not proven. */
  readonly settled: boolean;
  readonly inFlight: number;
  readonly tables: readonly TableComparison[];
}

export interface CompareOptions {
  readonly source: HistorySource;
  /** Opens a view at the target's present position. */
  view(): Promise<View>;
  readonly tables: readonly string[];
  ranges(table: string): readonly Range[];
  readonly signal: AbortSignal;
  /** How long the target may take to catch up with a snapshot. */
  readonly settleMs: number;
  /** Differing keys kept by name, a table. */
  readonly keysMax: number;
}

const EVERYTHING: Scope = { copied: () => "all", quarantined: () => false };
/** Attempts at meeting at one position; each takes a millisecond or two. */
const PAUSE_MS = 1;
/** A file whose tables change again and again is not comparable. */
const RESTARTS = 3;

export async function compare(options: CompareOptions): Promise<Comparison> {
  for (let restarts = 0; ; restarts++) {
    try {
      return await compareOnce(options);
    } catch (error) {
      if (!(error instanceof SourceChanged) || restarts === RESTARTS) throw error;
    }
  }
}

async function compareOnce(options: CompareOptions): Promise<Comparison> {
  const tables: TableComparison[] = [];
  const first = await options.view();
  try {
    for (const table of options.tables) {
      options.signal.throwIfAborted();
      tables.push(await compareTable(options, first, table));
    }
  } finally {
    await first.close();
  }
  return settle(options, first.position, tables);
}

/** Every row of one table, read from one snapshot or from many. */
async function compareTable(options: CompareOptions, view: View, table: string): Promise<TableComparison> {
  const { source } = options;
  const refused: RefusedRow[] = [];
  let rows = 0;
  let exempt: Window | null = null;
  async function* chunks(): AsyncGenerator<Chunk> {
    const ranges = source.briefReads ? options.ranges(table) : [{ table, number: 0, lo: null, hi: null }];
    for (const [i, range] of ranges.entries()) {
      options.signal.throwIfAborted();
      const snapshot = await source.snapshot(1);
      const held: Chunk[] = [];
      try {
        for await (const chunk of snapshot.read(0, range)) {
          rows += chunk.rows;
          refused.push(...chunk.refused);
          if (source.briefReads) held.push(chunk);
          else yield chunk;
        }
        if (i === ranges.length - 1) exempt = await snapshot.window(view.position, EVERYTHING);
      } finally {
        await snapshot.release();
      }
      yield* held;
    }
  }
  try {
    const found = await view.compareAll(table, chunks(), () => keysOf(exempt, table));
    return {
      name: table,
      source: rows + refused.length,
      target: found.target,
      missing: found.missing,
      extra: found.extra,
      different: found.different,
      refused: refused.length,
      keys: found.keys.slice(0, options.keysMax),
    };
  } finally {
    await (exempt as Window | null)?.close(false);
  }
}

/** Looks at what changed meanwhile, until view and snapshot stand at the same position. */
async function settle(
  options: CompareOptions,
  from: Position,
  tables: readonly TableComparison[],
): Promise<Comparison> {
  const until = performance.now() + options.settleMs;
  for (let since = from; ; ) {
    options.signal.throwIfAborted();
    const view = await options.view();
    const windows: Window[] = [];
    try {
      const snapshot = await options.source.snapshot(1);
      try {
        windows.push(await snapshot.window(since, EVERYTHING));
        if (view.position < snapshot.position) windows.push(await snapshot.window(view.position, EVERYTHING));
      } finally {
        await snapshot.release();
      }
      const [changed, pending] = windows;
      for (const window of changed?.tables ?? []) {
        const table = tables.find(({ name }) => name === window.table);
        if (table)
          add(
            table,
            await view.compareWindow(window, keysOf(pending ?? null, window.table)),
            options.keysMax,
          );
      }
      since = view.position;
      const inFlight = pending?.changes ?? 0;
      if (inFlight === 0) return { position: view.position, settled: true, inFlight: 0, tables };
      if (performance.now() > until) return { position: view.position, settled: false, inFlight, tables };
    } finally {
      for (const window of windows) await window.close(false);
      await view.close();
    }
    await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
  }
}

/** The keys of one table in a window: rows carry theirs among their values. */
function keysOf(window: Window | null, table: string): TableWindow | null {
  return window?.tables.find((candidate) => candidate.table === table) ?? null;
}

function add(table: TableComparison, found: Difference, keysMax: number): void {
  table.missing += found.missing;
  table.extra += found.extra;
  table.different += found.different;
  table.keys.push(...found.keys.slice(0, Math.max(0, keysMax - table.keys.length)));
}

export function isEqual(table: TableComparison): boolean {
  return table.missing + table.extra + table.different + table.refused === 0;
}
