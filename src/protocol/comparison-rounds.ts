// Compares a copy with its source again and again beside the following, one range at a time and within a share of the
// time. So a difference that no trigger and no count of changes shows is found within a known time. It knows neither
// engine.
//
// A round looks for every row of the source in the copy, then counts both stores: equal counts leave no room for rows
// that the copy alone has.
import { isRetryable, SwitchbackError } from "../errors.js";
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
  /** Begins to cut a table, as it ends now: gives the range after another one, and null after the last. */
  cut(table: string): (after: Range | null) => Range | null;
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
  /** A piece failed `TRIES` times in a row and is passed over in this round; null stands for the count. */
  failed(table: string | null, error: unknown): void;
  /** A round is complete that began at `beganMs` (performance.now). */
  roundDone(beganMs: number): void;
}

/** After a failure it pauses this long. A store that went away is met, and reported, by the link as well. */
const FAILED_MS = 10_000;
/** Data that cannot be read fails every time. It is reported, and what lies behind it is compared all the same. */
const TRIES = 3;

/** A start has changes to catch up with first. */
const FIRST_MS = 60_000;
/** The pause for a source that should be left alone. */
const STRAINED_MS = 1_000;
/** How often the end of a piece is looked for. */
const BUSY_MS = 20;

interface TableTurn {
  readonly table: string;
  readonly next: (after: Range | null) => Range | null;
  after: Range | null;
  differing: number;
  /** Some range was passed over: nothing can be said of the table. */
  passedOver: boolean;
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
  private cancelled = false;
  private failures = 0;
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
    if (this.limits.share === 0 || this.underWay || now < this.dueMs) return;
    if (this.round === null && now < this.roundDueMs) return;
    if (this.work.strained()) {
      this.dueMs = now + STRAINED_MS;
      return;
    }
    this.round ??= { beganMs: now, tables: [...this.work.tables()], table: null };
    // What cannot begin is repeated later. Following continues.
    this.dueMs = now + FAILED_MS;
    try {
      const turn = this.tableOf(this.round);
      if (turn) await this.compareNext(turn, now);
      else await this.count(this.round, now);
    } catch (error) {
      // What is wrong with a store's data is named; what else is wrong is the link's, and its caller's.
      if (!(error instanceof SwitchbackError)) throw error;
      const { round } = this;
      if (!isRetryable(error)) this.countFailure(() => round && this.passOverTable(round, error));
    }
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
    if (!this.underWay) return;
    this.cancelled = true;
    await this.underWay.cancel();
  }

  /** The table whose turn it is; null when the round's tables are all compared. */
  private tableOf(round: Round): TableTurn | null {
    if (round.table) return round.table;
    const [table] = round.tables;
    if (table === undefined) return null;
    const next = this.work.cut(table);
    round.tables.shift();
    round.table = { table, next, after: null, differing: 0, passedOver: false, position: 0 };
    return round.table;
  }

  private async compareNext(turn: TableTurn, beganMs: number): Promise<void> {
    const range = turn.next(turn.after);
    if (!range) {
      if (this.round) this.round.table = null;
      if (!turn.passedOver) this.observer.tableDone(turn.table, turn.differing, turn.position);
      this.pause(beganMs);
      return;
    }
    const comparing = await this.work.compare(range);
    const done = (comparison: RangeComparison) => {
      turn.after = range;
      turn.differing += comparison.found.missing + comparison.found.different;
      turn.position = comparison.position;
      this.observer.compared(range, comparison);
    };
    this.follow(comparing, beganMs, done, (error) => {
      turn.after = range;
      turn.passedOver = true;
      this.observer.failed(turn.table, error);
    });
  }

  private async count(round: Round, beganMs: number): Promise<void> {
    const counting = await this.work.count();
    if (!counting) return;
    const done = () => {
      this.endRound(round);
      this.observer.roundDone(round.beganMs);
    };
    this.follow(counting, beganMs, done, (error) => {
      this.endRound(round);
      this.observer.failed(null, error);
    });
  }

  /** Waits for a piece in the background. One that fails is done again, and passed over when that is of no use. */
  private follow<T>(
    piece: { readonly result: Promise<T>; cancel(): Promise<void> },
    beganMs: number,
    done: (result: T) => void,
    passOver: (error: unknown) => void,
  ): void {
    this.underWay = piece;
    piece.result
      .then((result) => {
        this.failures = 0;
        done(result);
        this.pause(beganMs);
      })
      .catch((error: unknown) => {
        this.dueMs = performance.now() + FAILED_MS;
        if (!this.cancelled) this.countFailure(() => passOver(error));
      })
      .finally(() => {
        this.underWay = null;
        this.cancelled = false;
      });
  }

  private countFailure(passOver: () => void): void {
    this.failures += 1;
    if (this.failures < TRIES) return;
    this.failures = 0;
    passOver();
  }

  /** What is left of a table, when not even its ranges can be told; without a table, the count. */
  private passOverTable(round: Round, error: unknown): void {
    const table = round.table?.table ?? round.tables.shift() ?? null;
    round.table = null;
    if (table === null) this.endRound(round);
    this.observer.failed(table, error);
  }

  private endRound({ beganMs }: Round): void {
    this.round = null;
    this.roundDueMs = beganMs + this.limits.everyMs;
  }

  /** What a piece took is its share of the time until the next. */
  private pause(beganMs: number): void {
    const now = performance.now();
    this.dueMs = now + (now - beganMs) * (1 / this.limits.share - 1);
  }
}
