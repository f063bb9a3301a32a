// Counts both stores at one position, so that a copy is called exact because its rows were counted and not because
// nothing failed. It knows neither engine. Both sides hold on to the position while they count, and changes are
// followed meanwhile.
import { SwitchbackError } from "../errors.js";
import type { HistorySource, HistoryTarget, Position } from "./contract.js";
import { type Meeting, type Met, meet } from "./meeting.js";

/** Where an open read blocks the application, tables of so many rows together are counted, some ten milliseconds. */
const BRIEF_ROWS = 1_000_000;

interface TableCount {
  readonly table: string;
  readonly source: number;
  readonly target: number;
  readonly quarantined: number;
}

export interface Counts {
  readonly position: Position;
  readonly tables: readonly TableCount[];
  /** Tables too large to be counted while the application waits for the read to end. */
  readonly passedOver: readonly string[];
}

/** A count under way. */
export interface Counting {
  readonly result: Promise<Counts>;
  /** Gives it up; resolves when both stores are let go. */
  cancel(): Promise<void>;
}

/** Begins to count; resolves once both stores hold on to one position, and following may continue. */
export async function beginCount(
  meeting: Meeting,
  held: ReadonlyMap<string, { readonly rows: number }>,
  source: HistorySource,
  target: HistoryTarget,
): Promise<Counting> {
  const { tables, passedOver } = countable(held, source.briefReads);
  const met = await meet(meeting, source, target, {
    // A reader counts a whole table; one more than there are tables would only cost its thread's memory.
    readers: Math.max(1, Math.min(source.maxReaders, target.writers, tables.length)),
    early: (snapshot) => snapshot.count(tables),
  });
  const giveUp = new AbortController();
  const result = counted(met, tables, giveUp.signal).then((found) => ({
    position: met.snapshot.position,
    tables: found,
    passedOver,
  }));
  // A caller that asks for the result gets its failure.
  result.catch(() => {});
  const cancel = async () => {
    giveUp.abort(new Error("the count was given up"));
    await met.target.cancel().catch(() => {});
    await result.catch(() => {});
  };
  return { result, cancel };
}

/** A count that found the stores unlike is made again this often, until they agree. */
const RECOUNT_EVERY_MS = 10_000;

/** Counts beside the windows, one count at a time. */
export class Counter {
  private counting: Counting | null = null;
  private endedMs = 0;
  private unlike = false;

  /** `counted` hears of every count; `ended` as well of one that was given up, as at a stop or a flip. */
  constructor(
    private readonly counted: (counts: Counts) => void,
    private readonly ended: () => void,
  ) {}

  /** Resolves once following may continue; to null where a count is under way already. */
  async begin(count: () => Promise<Counting>): Promise<Counting | null> {
    if (this.counting) return null;
    const counting = await count();
    this.counting = counting;
    const ended = () => {
      this.counting = null;
      this.endedMs = performance.now();
      this.ended();
    };
    this.counting.result
      .then((counts) => {
        this.unlike = disagreements(counts).length > 0;
        this.counted(counts);
      })
      .then(ended, ended);
    return counting;
  }

  get underWay(): boolean {
    return this.counting !== null;
  }

  /** Counts once more where the last count found the stores unlike a while ago. */
  async again(count: () => Promise<Counting>): Promise<void> {
    if (this.unlike && performance.now() - this.endedMs > RECOUNT_EVERY_MS) await this.begin(count);
  }

  async cancel(): Promise<void> {
    await this.counting?.cancel();
  }
}

/** The same counts. @throws COUNT_MISMATCH */
export function assertAgree(counts: Counts, source: string): Counts {
  const [wrong] = disagreements(counts);
  if (!wrong) return counts;
  const where = { source, table: wrong.table };
  throw new SwitchbackError("COUNT_MISMATCH", disagreement(wrong, counts.position), where);
}

/** Tables whose rows are not all either in the copy or in quarantine. */
export function disagreements({ tables }: Counts): readonly TableCount[] {
  return tables.filter(({ source, target, quarantined }) => source !== target + quarantined);
}

/** What is wrong with a table's count, in words. */
export function disagreement({ table, source, target, quarantined }: TableCount, position: Position): string {
  return `${table}: ${source} rows in the source at position ${position}, but ${target} in the copy and ${quarantined} in quarantine`;
}

function countable(
  held: ReadonlyMap<string, { readonly rows: number }>,
  brief: boolean,
): { tables: string[]; passedOver: string[] } {
  const [tables, passedOver]: string[][] = [[], []];
  let rows = 0;
  for (const [name, table] of held) {
    const fits = !brief || rows + table.rows <= BRIEF_ROWS;
    if (fits) rows += table.rows;
    (fits ? tables : passedOver)?.push(name);
  }
  return { tables: tables ?? [], passedOver: passedOver ?? [] };
}

async function counted(
  { snapshot, target, early, end }: Met<ReadonlyMap<string, number>>,
  tables: readonly string[],
  signal: AbortSignal,
): Promise<TableCount[]> {
  const givenUp = new Promise<never>((_, reject) => {
    signal.addEventListener("abort", () => reject(signal.reason), { once: true });
  });
  const reading = Promise.race([early ?? snapshot.count(tables), givenUp]);
  const [rows, held] = await Promise.allSettled([reading, target.count(tables)]);
  if (signal.aborted) {
    // A reader cannot be interrupted in the middle of a table. It blocks no one, and a flip is not to wait for it.
    await target.close();
    end().catch(() => {});
  } else await end();
  if (rows.status === "rejected") throw rows.reason;
  if (held.status === "rejected") throw held.reason;
  return tables.map((table) => {
    const there = held.value.get(table);
    return {
      table,
      source: rows.value.get(table) ?? Number.NaN,
      target: there?.rows ?? Number.NaN,
      quarantined: there?.quarantined ?? Number.NaN,
    };
  });
}
