// Compares a copy with its source again and again beside the following, one range at a time and within a share of the
// time. So a difference that no trigger and no count of changes shows is found within a known time. It knows neither
// engine.
//
// A round looks for every row of the source in the copy, then counts both stores: equal counts leave no room for rows
// that the copy alone has.
import type { Position, Range } from "./contract.js";
import type { Counting } from "./count.js";
import type { Comparing, RangeComparison } from "./range-comparison.js";

export interface BackgroundLimits {
  /** The part of the time that comparing may take, between 0 (never) and 1. */
  readonly share: number;
  /** A round begins this long after the one before it began, or later. */
  readonly everyMs: number;
}

interface BackgroundWork {
  /** The tables that are wholly in the copy. */
  tables(): readonly string[];
  ranges(table: string): readonly Range[];
  /** True when the source should be left alone. */
  strained(): boolean;
  /** Begins to compare a range; resolves as soon as following may continue. */
  compare(range: Range): Promise<Comparing>;
  /** Begins to count; null where another count is under way. */
  count(): Promise<Counting | null>;
}

/** Told what was found. */
interface BackgroundObserver {
  compared(range: Range, comparison: RangeComparison): void;
  /** Every range of a table was compared: `differing` rows were not the same. */
  tableDone(table: string, differing: number, position: Position): void;
  /** A round is complete that began at `beganMs` (performance.now). */
  roundDone(beganMs: number): void;
}

/** After a failure, which the link meets as well and reports, it pauses this long. */
const FAILED_MS = 10_000;

/** A start has changes to catch up with first. */
const FIRST_MS = 60_000;
/** How often the end of a piece is looked for. */
const BUSY_MS = 20;

interface TableTurn {
  readonly table: string;
  readonly ranges: Range[];
  differing: number;
  position: Position;
}

interface Round {
  readonly beganMs: number;
  readonly tables: string[];
  table: TableTurn | null;
}

export class ComparisonRounds {
  private round: Round | null = null;
  private underWay: { cancel(): Promise<void> } | null = null;
  private dueMs = 0;
  private roundDueMs: number;

  constructor(
    private readonly limits: BackgroundLimits,
    private readonly work: BackgroundWork,
    private readonly observer: BackgroundObserver,
  ) {
    this.roundDueMs = performance.now() + Math.min(FIRST_MS, limits.everyMs);
  }

  /** Does the next piece, when it is due: resolves as soon as following may continue. */
  async turn(): Promise<void> {
    const now = performance.now();
    if (this.limits.share === 0 || this.underWay || now < this.dueMs || this.work.strained()) return;
    if (this.round === null && now < this.roundDueMs) return;
    this.round ??= { beganMs: now, tables: [...this.work.tables()], table: null };
    const turn = this.tableOf(this.round);
    // What cannot begin is tried again when the next piece is due; the caller hears of it.
    this.dueMs = now + FAILED_MS;
    if (turn) await this.compareNext(turn, now);
    else await this.count(this.round, now);
  }

  /** True while a piece is compared or counted. */
  get busy(): boolean {
    return this.underWay !== null;
  }

  /** When it has something to do again; while a piece is under way, when to ask again. */
  get dueInMs(): number {
    if (this.limits.share === 0) return Number.POSITIVE_INFINITY;
    if (this.busy) return BUSY_MS;
    const dueMs = this.round ? this.dueMs : Math.max(this.dueMs, this.roundDueMs);
    return Math.max(BUSY_MS, dueMs - performance.now());
  }

  /** Gives up what is under way; resolves when both stores are let go. */
  async cancel(): Promise<void> {
    await this.underWay?.cancel();
  }

  /** The table whose turn it is; null when the round's tables are all compared. */
  private tableOf(round: Round): TableTurn | null {
    if (round.table) return round.table;
    const table = round.tables.shift();
    if (table === undefined) return null;
    round.table = { table, ranges: [...this.work.ranges(table)], differing: 0, position: 0 };
    return round.table;
  }

  private async compareNext(turn: TableTurn, beganMs: number): Promise<void> {
    const [range] = turn.ranges;
    if (!range) {
      this.endTable(turn);
      this.pause(beganMs);
      return;
    }
    const comparing = await this.work.compare(range);
    this.follow(comparing, beganMs, (comparison) => {
      turn.ranges.shift();
      turn.differing += comparison.found.missing + comparison.found.different;
      turn.position = comparison.position;
      this.observer.compared(range, comparison);
      if (turn.ranges.length === 0) this.endTable(turn);
    });
  }

  private endTable({ table, differing, position }: TableTurn): void {
    if (this.round) this.round.table = null;
    this.observer.tableDone(table, differing, position);
  }

  private async count(round: Round, beganMs: number): Promise<void> {
    const counting = await this.work.count();
    if (!counting) return;
    this.follow(counting, beganMs, () => {
      this.round = null;
      this.roundDueMs = round.beganMs + this.limits.everyMs;
      this.observer.roundDone(round.beganMs);
    });
  }

  /** Waits for a piece in the background. One that fails is done again. */
  private follow<T>(
    piece: { readonly result: Promise<T>; cancel(): Promise<void> },
    beganMs: number,
    done: (result: T) => void,
  ): void {
    this.underWay = piece;
    piece.result
      .then((result) => {
        done(result);
        this.pause(beganMs);
      })
      .catch(() => {
        this.dueMs = performance.now() + FAILED_MS;
      })
      .finally(() => {
        this.underWay = null;
      });
  }

  /** What a piece took is its share of the time until the next. */
  private pause(beganMs: number): void {
    const now = performance.now();
    this.dueMs = now + (now - beganMs) * (1 / this.limits.share - 1);
  }
}
