// Proves a target equal to its source at one position while the source keeps changing, and knows neither engine.
//
// A view of the target stands at W, a snapshot of the source at P ≥ W. Rows whose keys were not logged in (W, P] are
// the same at both positions, so comparing them is exact. The others are exempt at first and read again, with a newer
// view and a newer snapshot, until a view and a snapshot stand at the very same position. Then nothing is exempt, and
// equality is proven at that position.
import { pause } from "../retry.js";
import type {
  Chunk,
  Difference,
  EncodedRow,
  HistorySource,
  Position,
  Range,
  RefusedRow,
  Scope,
  Snapshot,
  TableWindow,
  View,
  Window,
} from "./contract.js";
import { SourceChanged } from "./contract.js";

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

interface CompareOptions {
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
/** A copy that follows moves every few milliseconds; one that is away does not, and must not be asked all the time. */
const LOOK_MS = 1;
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

/** Looks again at what changed meanwhile, with a view and a snapshot that stand at the very same position. */
async function settle(
  options: CompareOptions,
  from: Position,
  tables: readonly TableComparison[],
): Promise<Comparison> {
  const until = performance.now() + options.settleMs;
  for (;;) {
    options.signal.throwIfAborted();
    const { view, snapshot } = await meet(options, until);
    const windows: Window[] = [];
    try {
      const met = view.position === snapshot.position;
      const over = performance.now() > until;
      if (met || over) windows.push(await snapshot.window(from, EVERYTHING));
      if (!met && over && view.position < snapshot.position)
        windows.push(await snapshot.window(view.position, EVERYTHING));
      await snapshot.release();
      const [changed, pending] = windows;
      if (!changed) continue;
      for (const window of changed.tables) {
        const table = tables.find(({ name }) => name === window.table);
        if (!table) continue;
        const found = await view.compareWindow(window, keysOf(pending ?? null, window.table));
        add(table, found, options.keysMax);
      }
      return { position: view.position, settled: met, inFlight: pending?.changes ?? (met ? 0 : 1), tables };
    } finally {
      await snapshot.release();
      for (const window of windows) await window.close(false);
      await view.close();
    }
  }
}

/**
 * One try at a view and a snapshot of the same position. A copy that follows passes through the positions of its
 * windows, so a snapshot is held until the copy has reached it or gone beyond. Where an open read blocks the
 * application nothing is held: the view comes first.
 */
async function meet(options: CompareOptions, untilMs: number): Promise<{ view: View; snapshot: Snapshot }> {
  const { source } = options;
  if (source.briefReads) {
    const view = await options.view();
    try {
      return { view, snapshot: await source.snapshot(1) };
    } catch (error) {
      await view.close();
      throw error;
    }
  }
  const snapshot = await source.snapshot(1);
  try {
    for (;;) {
      const view = await options.view();
      if (view.position >= snapshot.position || performance.now() > untilMs || options.signal.aborted)
        return { view, snapshot };
      await view.close();
      await pause(LOOK_MS);
    }
  } catch (error) {
    await snapshot.release();
    throw error;
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

/** Every row of a view and a snapshot that are known to stand at the same position. */
export async function compareAt(
  options: Pick<CompareOptions, "tables" | "signal" | "keysMax">,
  view: View,
  snapshot: Snapshot,
): Promise<TableComparison[]> {
  const tables: TableComparison[] = [];
  for (const table of options.tables) {
    options.signal.throwIfAborted();
    const refused: RefusedRow[] = [];
    let rows = 0;
    async function* chunks(): AsyncGenerator<Chunk> {
      for await (const chunk of snapshot.read(0, { table, number: 0, lo: null, hi: null })) {
        rows += chunk.rows;
        refused.push(...chunk.refused);
        yield chunk;
      }
    }
    const { keys, ...found } = await view.compareAll(table, chunks(), () => null);
    const kept = keys.slice(0, options.keysMax);
    tables.push({
      name: table,
      ...found,
      source: rows + refused.length,
      refused: refused.length,
      keys: kept,
    });
  }
  return tables;
}

export function isEqual(table: TableComparison): boolean {
  return table.missing + table.extra + table.different + table.refused === 0;
}
