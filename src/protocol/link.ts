// The link moves changes from a source to a target, and knows neither engine.
//
// What it keeps true: the target's content equals the source at position W, restricted to the ranges copied so far.
// Two moves keep it so. `advance` applies the keys changed in (W, W'] and moves W to W'. `copy` adds a range read at
// exactly W. Either is one target transaction, so that a crash between any two instructions leaves a state from which
// the same two moves continue.
//
//   copy:   snapshot at P ── window (W, P] ──► target at P ── ranges read at P ──► … next snapshot …
//   run:    wait ── window (W, now] ──► target at now ── wait ── …
import { present } from "../present.js";
import {
  type Chunk,
  type Copied,
  type Counted,
  type HistorySource,
  type HistoryTarget,
  type KeysByTable,
  type Position,
  type Range,
  type RangeReading,
  type RefusedRow,
  type Scope,
  type Snapshot,
  type Source,
  StaleRows,
  type Target,
  type Window,
} from "./contract.js";
import { beginCount, type Counting } from "./count.js";
import { Doubts } from "./doubts.js";
import type { Meeting } from "./meeting.js";
import { beginRangeComparison, type Comparing } from "./range-comparison.js";

/** A snapshot is let go after this long, so that the application's log can be recycled. */
const SNAPSHOT_MS = 30_000;
/** With nothing to do, the link looks again this often even without a wake-up. */
const IDLE_MS = 1_000;

/** A window that took no longer than this leaves little behind; a writer that is always ahead is not chased for ever. */
const APPROACHED_MS = 20;
const APPROACHES = 50;

/** What the target holds, mirrored in memory; the target's own record is the truth. */
export interface TargetMirror {
  position: Position;
  readonly tables: Map<string, HeldTable>;
}

interface HeldTable {
  /** Ranges still to be copied, in order; a range being copied is in neither list. */
  readonly pending: Range[];
  readonly copied: Range[];
  readonly total: number;
  rows: number;
  quarantined: number;
}

/** Told after each move, for metrics, progress and logs. */
interface Observer {
  advanced(window: Window, seconds: number): void;
  copied(table: string, rows: number): void;
  refused(rows: readonly RefusedRow[]): void;
}

export class Link {
  private readonly doubts = new Doubts();

  constructor(
    private readonly source: Source,
    private readonly target: Target,
    readonly held: TargetMirror,
    private readonly observer: Observer,
  ) {}

  /** Copies every pending range from the link's source to its target; resumes where an earlier run ended. */
  async copy(source: HistorySource, target: HistoryTarget, signal: AbortSignal): Promise<void> {
    while (this.pending() && !signal.aborted) {
      const readers = Math.min(source.maxReaders, target.writers);
      const snapshot = await source.snapshot(readers);
      await this.doubting(() =>
        source.briefReads
          ? this.copyBriefly(target, snapshot)
          : this.copySnapshot(source, target, snapshot, signal),
      );
    }
    this.doubts.forget();
  }

  /** Begins to count both stores at one position; resolves as soon as following may continue. */
  count(source: HistorySource, target: HistoryTarget): Promise<Counting> {
    return this.met(() => beginCount(this.meeting, this.held.tables, source, target));
  }

  /** Begins to compare a range at one position; resolves as soon as following may continue. */
  compare(source: HistorySource, target: HistoryTarget, range: Range): Promise<Comparing> {
    return this.met(() => beginRangeComparison(this.meeting, source, target, range));
  }

  private readonly meeting: Meeting = {
    meet: async (snapshot, read) => {
      const window = await snapshot.window(this.held.position, this.scope);
      try {
        await read();
      } catch (error) {
        await window.close(false);
        throw error;
      }
      await this.advance(window);
      this.doubts.forget();
    },
  };

  /** Both stores at one position, once the rows are settled that were in doubt on the way there. */
  private async met<T>(begin: () => Promise<T>): Promise<T> {
    for (;;) {
      const begun: T[] = [];
      await this.doubting(async () => {
        begun.push(await begin());
      });
      const [found] = begun;
      if (found !== undefined) return found;
    }
  }

  /** One window; false when there was nothing to apply. */
  async step(): Promise<boolean> {
    const window = await this.source.window(this.held.position, this.scope);
    if (!window) return false;
    await this.doubting(async () => {
      await this.advance(window);
      this.doubts.forget();
    });
    return true;
  }

  /** Reads rows again that the target refused before: they are written as they stand now, or refused again. */
  async reconsider(keys: KeysByTable): Promise<void> {
    this.doubts.again(keys);
    while (this.doubts.keys.size > 0) await this.step();
  }

  /** Stale rows in the target are read again with the next window, and the work that met them is done again. */
  private async doubting(work: () => Promise<void>): Promise<void> {
    try {
      await work();
    } catch (error) {
      if (!(error instanceof StaleRows)) throw error;
      this.doubts.add(error.keys);
    }
  }

  /** Applies most of what there is while more keeps coming: what is left is a moment's work. */
  async approach(signal: AbortSignal): Promise<void> {
    for (let n = 0; n < APPROACHES && !signal.aborted; n++) {
      const started = performance.now();
      if (!(await this.step()) || performance.now() - started < APPROACHED_MS) return;
    }
  }

  /**
   * Applies what is left in a source that takes no writes any more. One window reads all of it, because nothing can be
   * committed behind it; only where the target was found to hold stale rows is there another.
   */
  async drain(signal: AbortSignal): Promise<void> {
    while (!signal.aborted && (await this.step()) && this.doubts.keys.size > 0) {
      // The next window holds the rows in doubt.
    }
  }

  /**
   * Follows the source until the signal is aborted; `idle` runs whenever there is nothing to apply, and once a second. It
   * resolves to the milliseconds after which it has something to do again.
   */
  async run(signal: AbortSignal, idle: () => Promise<number>): Promise<void> {
    let idleAt = performance.now();
    while (!signal.aborted) {
      const moved = await this.step();
      // Under steady load there is never nothing to do; the rest must have its turn all the same.
      if (moved && performance.now() - idleAt < IDLE_MS) continue;
      idleAt = performance.now();
      const dueMs = await idle();
      if (!moved) await this.source.wait(Math.min(IDLE_MS, dueMs), signal);
    }
  }

  private get scope(): Scope {
    const doubted = this.doubts.keys;
    return {
      copied: (table) => this.copiedRanges(table),
      quarantined: (table) => this.table(table).quarantined > 0,
      ...(doubted.size > 0 && { doubted }),
    };
  }

  private copiedRanges(table: string): Copied {
    const held = this.table(table);
    return isComplete(held) ? "all" : held.copied;
  }

  /** A followed table. A window that skipped one because it is not known here would lose its changes. */
  private table(name: string): HeldTable {
    return present(this.held.tables.get(name), `table ${name} among the followed ones`);
  }

  private pending(): boolean {
    return [...this.held.tables.values()].some((table) => !isComplete(table));
  }

  /** Applies a window and frees it. */
  private async advance(window: Window): Promise<void> {
    const started = performance.now();
    let applied = false;
    try {
      const { refused, released } = await this.target.apply(window);
      applied = true;
      this.held.position = window.to;
      for (const [table, rows] of released) {
        this.table(table).quarantined -= rows;
      }
      this.note(refused);
      this.observer.advanced(window, (performance.now() - started) / 1_000);
    } finally {
      await window.close(applied);
    }
  }

  private note(refused: readonly RefusedRow[]): void {
    for (const row of refused) {
      this.table(row.table).quarantined++;
    }
    const news = refused.filter(({ again }) => !again);
    if (news.length > 0) this.observer.refused(news);
  }

  /** Several readers, one position, ranges side by side, until the snapshot should be let go. */
  private async copySnapshot(
    source: HistorySource,
    target: HistoryTarget,
    snapshot: Snapshot,
    signal: AbortSignal,
  ): Promise<void> {
    const until = performance.now() + SNAPSHOT_MS;
    const ended = () => signal.aborted || performance.now() > until || source.strained();
    const copyRanges = async (reader: number) => {
      for (let range = this.take(); range; range = ended() ? undefined : this.take()) {
        const mine = range;
        try {
          await this.add(target, mine, snapshot.position, () => snapshot.read(reader, mine));
        } catch (error) {
          this.giveBack(mine);
          throw error;
        }
      }
    };
    try {
      await this.advance(await snapshot.window(this.held.position, this.scope));
      const readers = Array.from({ length: snapshot.readers }, (_, reader) => reader);
      await settled(readers.map(copyRanges));
    } finally {
      await snapshot.release();
    }
  }

  /** One range, held in memory so that the read is over before the target takes its time. */
  private async copyBriefly(target: HistoryTarget, snapshot: Snapshot): Promise<void> {
    const range = this.take();
    let read: Read = { chunks: [], counted: { rows: 0, refused: 0 } };
    let window: Window;
    try {
      window = await snapshot.window(this.held.position, this.scope);
      if (range) read = await gather(snapshot.read(0, range));
    } catch (error) {
      if (range) this.giveBack(range);
      throw error;
    } finally {
      await snapshot.release();
    }
    try {
      await this.advance(window);
      if (range) await this.add(target, range, snapshot.position, () => replay(read));
    } catch (error) {
      if (range) this.giveBack(range);
      throw error;
    }
  }

  private async add(
    target: HistoryTarget,
    range: Range,
    position: Position,
    read: () => RangeReading,
  ): Promise<void> {
    const { rows, refused } = await target.copy(range, position, read);
    const held = this.table(range.table);
    held.copied.push(range);
    held.rows += rows;
    this.note(refused);
    this.observer.copied(range.table, rows);
  }

  private take(): Range | undefined {
    for (const table of this.held.tables.values()) {
      const range = table.pending.shift();
      if (range) return range;
    }
    return undefined;
  }

  private giveBack(range: Range): void {
    this.table(range.table).pending.unshift(range);
  }
}

export function isComplete(table: HeldTable): boolean {
  return table.copied.length === table.total;
}

/** Waits for all, then throws the first failure: nothing is left running after it. */
async function settled(work: readonly Promise<unknown>[]): Promise<void> {
  const results = await Promise.allSettled(work);
  const failed = results.find((result) => result.status === "rejected");
  if (failed) throw failed.reason;
}

/** A reading held in memory, to be given again as often as it is asked for. */
interface Read {
  readonly chunks: readonly Chunk[];
  readonly counted: Counted;
}

async function gather(reading: RangeReading): Promise<Read> {
  const chunks: Chunk[] = [];
  for (;;) {
    const next = await reading.next();
    if (next.done) return { chunks, counted: next.value };
    chunks.push(next.value);
  }
}

async function* replay({ chunks, counted }: Read): RangeReading {
  yield* chunks;
  return counted;
}
