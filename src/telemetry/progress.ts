// Progress of a long copy: bars on a terminal, a log line every few seconds elsewhere, nothing when the
// answer is one JSON document. It owns only the display; callers report the numbers, as often as they like.
import cliProgress, { type MultiBar, type SingleBar } from "cli-progress";
import type { Logger } from "pino";
import type { Screen } from "./log.js";

export interface Progress {
  /** Rows of a table copied so far, of an estimated total (which may be too low). */
  table(name: string, copied: number, estimated: number): void;
  /** A new stage of the work, in a few words: `building indexes`. */
  phase(text: string): void;
  /** The work is over, successfully or not; safe to call twice. */
  done(): void;
}

interface ProgressOptions {
  readonly json: boolean;
  readonly terminal: boolean;
  readonly log: Logger;
  readonly screen: Screen;
  /** Where bars are drawn; stderr without it. */
  readonly stream?: NodeJS.WritableStream;
}

/** The same for one of several sources, whose tables may have the same names as another's. */
export function withPrefix(progress: Progress, prefix: string): Progress {
  return {
    table: (name, copied, estimated) => progress.table(`${prefix}${name}`, copied, estimated),
    phase: (text) => progress.phase(text),
    done: () => progress.done(),
  };
}

/** Enough to show progress without filling a small terminal; the other tables follow in turn. */
const BARS_MAX = 12;
const CLEAR_RIGHT = "\x1b[K";
/** Interval between two log lines about copying. */
const LINE_MS = 5_000;

export function createProgress(options: ProgressOptions): Progress {
  if (options.json) return { table() {}, phase() {}, done() {} };
  return options.terminal
    ? new Bars(options.screen, options.stream ?? process.stderr)
    : new Lines(options.log);
}

/**
 * Where a table's copy began in this run. The rows of an earlier run and the waiting time must not count for
 * the rate.
 */
interface Seen {
  firstRows: number;
  firstMs: number;
  moving: boolean;
  copied: number;
  estimated: number;
}

/** Rows per second and seconds left, or null without data. */
function pace(seen: Seen): { rate: number; leftSeconds: number } | null {
  const seconds = (performance.now() - seen.firstMs) / 1_000;
  const rate = (seen.copied - seen.firstRows) / seconds;
  if (seconds < 0.2 || !(rate > 0)) return null;
  return { rate: Math.round(rate), leftSeconds: Math.ceil(Math.max(seen.estimated - seen.copied, 0) / rate) };
}

function note(all: Map<string, Seen>, name: string, copied: number, estimated: number): Seen {
  let seen = all.get(name);
  if (!seen) {
    seen = { firstRows: copied, firstMs: performance.now(), moving: false, copied, estimated };
    all.set(name, seen);
  }
  if (!seen.moving && copied > seen.firstRows) {
    Object.assign(seen, { firstRows: copied, firstMs: performance.now(), moving: true });
  }
  seen.copied = copied;
  // An estimate that was too low grows with the rows, so that no bar passes its end.
  seen.estimated = Math.max(estimated, copied);
  return seen;
}

class Bars implements Progress {
  readonly #seen = new Map<string, Seen>();
  readonly #bars = new Map<string, SingleBar>();
  #multi: MultiBar | null = null;
  #direct: Screen["write"] | null = null;

  constructor(
    private readonly screen: Screen,
    private readonly stream: NodeJS.WritableStream,
  ) {}

  table(name: string, copied: number, estimated: number): void {
    const seen = note(this.#seen, name, copied, estimated);
    let bar = this.#bars.get(name);
    if (!bar && seen.copied < seen.estimated && this.#bars.size < BARS_MAX) {
      // Without a bar nothing draws the lines that go above the bars.
      const multi = this.#multi ?? this.#open();
      bar = multi.create(seen.estimated, seen.copied, { name: name.padEnd(24), pace: "" });
      this.#bars.set(name, bar);
    }
    if (!bar) return;
    const now = pace(seen);
    bar.setTotal(seen.estimated);
    bar.update(seen.copied, { pace: now ? `${now.rate} rows/s, ${now.leftSeconds} s left` : "" });
    if (seen.copied < seen.estimated) return;
    // A finished table leaves its bar to the next.
    this.screen.write(`${name}: ${seen.copied} rows\n`);
    this.#remove(name, bar);
    if (this.#bars.size === 0) this.#close();
  }

  phase(text: string): void {
    this.screen.write(`${text}\n`);
  }

  done(): void {
    for (const [name, bar] of this.#bars) {
      const { copied, estimated } = this.#seen.get(name) ?? { copied: 0, estimated: 0 };
      this.screen.write(`${name}: ${copied} of about ${estimated} rows\n`);
      this.#remove(name, bar);
    }
    this.#close();
    this.#seen.clear();
  }

  #remove(name: string, bar: SingleBar): void {
    this.#multi?.remove(bar);
    this.#bars.delete(name);
  }

  #close(): void {
    // stop() alone would drop the lines that are waiting to be written above the bars.
    this.#multi?.update();
    this.#multi?.stop();
    this.#multi = null;
    if (this.#direct) this.screen.write = this.#direct;
    this.#direct = null;
  }

  #open(): MultiBar {
    const multi = new cliProgress.MultiBar(
      {
        format: "{name} {bar} {percentage}%  {value}/{total}  {pace}",
        stream: this.stream,
        barsize: 24,
        hideCursor: true,
        gracefulExit: false,
        clearOnComplete: true,
        fps: 8,
      },
      cliProgress.Presets.rect,
    );
    // From here on the log writes above the bars, on lines that held bars before: the rest of each is cleared.
    this.#direct = this.screen.write;
    this.screen.write = (text) => multi.log(text.replaceAll("\n", `${CLEAR_RIGHT}\n`));
    this.#multi = multi;
    return multi;
  }
}

class Lines implements Progress {
  readonly #seen = new Map<string, Seen>();
  #saidMs = Number.NEGATIVE_INFINITY;

  constructor(private readonly log: Logger) {}

  table(name: string, copied: number, estimated: number): void {
    const seen = note(this.#seen, name, copied, estimated);
    const nowMs = performance.now();
    if (nowMs - this.#saidMs < LINE_MS) return;
    this.#saidMs = nowMs;
    this.log.info({ table: name, rows: seen.copied, estimated: seen.estimated, ...pace(seen) }, "copying");
  }

  phase(text: string): void {
    this.log.info(text);
  }

  done(): void {
    if (this.#seen.size === 0) return;
    const rows = [...this.#seen.values()].reduce((sum, seen) => sum + seen.copied, 0);
    this.log.info({ tables: this.#seen.size, rows }, "copied");
    this.#seen.clear();
  }
}
