// The flag file: which store the operator wants the writes to go to. It may be a symbolic link that is swapped,
// as in a mounted ConfigMap; so its content is what counts, and it is read again and again. File events only
// wake the reader early.
import {
  closeSync,
  constants,
  existsSync,
  fstatSync,
  fsyncSync,
  openSync,
  readFileSync,
  readlinkSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { dirname, resolve } from "node:path";
import { type FSWatcher, watch } from "chokidar";
import { SwitchbackError } from "../errors.js";
import { WakeableSleep } from "../retry.js";

export type Desired = "sqlite" | "postgres";

const POLL_MS = 100;
/** A shell's `>` empties the file before it writes: only what stays empty is a wish. */
const EMPTY_MS = 250;
/** Of a flag that makes no sense, a message shows the beginning. */
const TEXT_MAX = 40;
/** A flag holds one word. */
const BYTES_MAX = 1_024;
/** As many as Linux follows before it reports a loop. */
const LINKS_MAX = 40;

/** The operator's wish; absent or empty means sqlite. Null when the file holds something else. */
export function readFlag(file: string): Desired | null {
  return wishOf(readText(file));
}

/** Empty where there is no file. */
function readText(file: string): string {
  try {
    return readShort(file).trim();
  } catch (error) {
    if (error instanceof SwitchbackError) throw error;
    if (isMissing(error)) return "";
    throw new SwitchbackError("FLAG_UNREADABLE", `the flag ${file} cannot be read: ${codeOf(error)}`, {
      file,
    });
  }
}

/** A pipe would keep the process waiting, and a large file would fill its memory. */
function readShort(file: string): string {
  const descriptor = openSync(file, constants.O_RDONLY | constants.O_NONBLOCK);
  try {
    const stat = fstatSync(descriptor);
    const what = !stat.isFile()
      ? "not a plain file"
      : stat.size > BYTES_MAX
        ? `larger than ${BYTES_MAX} bytes`
        : null;
    if (what !== null)
      throw new SwitchbackError("FLAG_UNREADABLE", `the flag ${file} cannot be read: it is ${what}`, {
        file,
      });
    return readFileSync(descriptor, "utf8");
  } finally {
    closeSync(descriptor);
  }
}

function wishOf(text: string): Desired | null {
  if (text === "") return "sqlite";
  return text === "sqlite" || text === "postgres" ? text : null;
}

/** The place behind every link, also where nothing exists there yet: what is written there leaves each link one. */
export function throughLinks(file: string): string {
  let place = file;
  for (let links = 0; links < LINKS_MAX; links += 1) {
    try {
      place = resolve(dirname(place), readlinkSync(place));
    } catch {
      return place;
    }
  }
  return place;
}

/** Sets the flag as its owner would: through a link, and never half. @throws SwitchbackError FLAG_READ_ONLY */
export function writeFlag(file: string, desired: Desired): void {
  const place = throughLinks(file);
  const next = `${place}.${process.pid}.tmp`;
  try {
    // A flag that a power cut emptied would mean sqlite, and bring the writes back.
    const descriptor = openSync(next, "w", 0o666);
    try {
      writeFileSync(descriptor, `${desired}\n`);
      fsyncSync(descriptor);
    } finally {
      closeSync(descriptor);
    }
    renameSync(next, place);
  } catch (error) {
    rmSync(next, { force: true });
    throw new SwitchbackError("FLAG_READ_ONLY", `the flag ${file} cannot be written: ${codeOf(error)}`, {
      file,
    });
  }
}

/** Resolves when the flag may have changed. */
export class FlagWatch {
  private events: FSWatcher | null = null;
  private readonly nap = new WakeableSleep();
  private said = "";
  private emptySinceMs: number | null = null;

  constructor(private readonly file: string) {}

  /**
   * The file itself, not its folder: the application's database may be in there, and a busy one writes several times
   * per millisecond. A file that comes, goes or is swapped behind a link is noticed by reading it again and again.
   */
  private watch(): void {
    if (this.events || !existsSync(this.file)) return;
    const events = watch(this.file, { ignoreInitial: true });
    this.events = events;
    events.on("all", (event) => {
      if (event === "unlink") this.unwatch();
      this.nap.nudge();
    });
    // Too many watches, a file system without events: reading it again does without them.
    events.on("error", () => {});
  }

  private unwatch(): void {
    this.events?.close().catch(() => {});
    this.events = null;
  }

  /** As readFlag, but a flag that was just emptied or taken away still says what it said. */
  read(): Desired | null {
    const text = readText(this.file);
    if (text !== "") {
      this.said = text;
      this.emptySinceMs = null;
    } else if (this.said !== "") {
      this.emptySinceMs ??= performance.now();
      if (performance.now() - this.emptySinceMs >= EMPTY_MS) this.said = "";
    }
    return wishOf(this.said);
  }

  /** What it holds, quoted and cut short, for messages. */
  get text(): string {
    return JSON.stringify(this.said.length > TEXT_MAX ? `${this.said.slice(0, TEXT_MAX)}…` : this.said);
  }

  /** After `ms`, or earlier when something happened there. */
  wait(ms: number, signal: AbortSignal): Promise<void> {
    this.watch();
    return this.nap.sleep(ms, signal);
  }

  /** Resolves once the flag says something else, or the signal is aborted. */
  async untilNot(desired: Desired, signal: AbortSignal): Promise<void> {
    while (!signal.aborted && this.read() === desired) await this.wait(POLL_MS, signal);
  }

  async close(): Promise<void> {
    await this.events?.close();
  }
}

function isMissing(error: unknown): boolean {
  return /^(ENOENT|ENOTDIR)$/.test(codeOf(error));
}

function codeOf(error: unknown): string {
  return String((error as { code?: unknown } | null)?.code ?? error);
}
