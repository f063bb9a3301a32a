// Compares one range of a table with the target at one position, while changes are followed. It knows neither engine.
import type {
  Chunk,
  Difference,
  HistorySource,
  HistoryTarget,
  Position,
  Range,
  Snapshot,
} from "./contract.js";
import { type Meeting, type Met, meet } from "./meeting.js";

export interface RangeComparison {
  readonly position: Position;
  readonly rows: number;
  readonly found: Difference;
}

/** A comparison under way. */
export interface Comparing {
  readonly result: Promise<RangeComparison>;
  /** Gives it up; resolves when both stores are let go. */
  cancel(): Promise<void>;
}

/** Resolves once both stores hold on to one position, and following may continue. */
export async function beginRangeComparison(
  meeting: Meeting,
  source: HistorySource,
  target: HistoryTarget,
  range: Range,
): Promise<Comparing> {
  const met = await meet(meeting, source, target, {
    readers: 1,
    early: (snapshot) => gather(snapshot, range),
  });
  const result = compare(met, range);
  // A caller that waits for it gets its failure.
  result.catch(() => {});
  return {
    result,
    async cancel() {
      await met.target.cancel().catch(() => {});
      await result.catch(() => {});
    },
  };
}

async function compare(met: Met<readonly Chunk[]>, range: Range): Promise<RangeComparison> {
  let rows = 0;
  async function* chunks(): AsyncGenerator<Chunk> {
    for await (const chunk of met.early ?? met.snapshot.read(0, range)) {
      rows += chunk.rows;
      yield chunk;
    }
  }
  try {
    const found = await met.target.compare(range.table, chunks());
    return { position: met.snapshot.position, rows, found };
  } finally {
    await met.end();
  }
}

async function gather(snapshot: Snapshot, range: Range): Promise<readonly Chunk[]> {
  const chunks: Chunk[] = [];
  for await (const chunk of snapshot.read(0, range)) chunks.push(chunk);
  return chunks;
}
