// While PostgreSQL has the writes, no SQLite file of the sidecar's may take any, whatever happens to the files: a
// backup put back, another file moved there, a fence removed. It looks at them twice a second for as long as the
// sidecar lives, halted or cut off from PostgreSQL too, closes what it finds open, and says so.
import { setTimeout as sleep } from "node:timers/promises";
import type { Logger } from "pino";
import { SwitchbackError } from "../errors.js";
import { problemFrom } from "../problem.js";
import { ClosedFileWatch, type Look } from "../sqlite/close/watch.js";
import type { Problem } from "../status.js";
import type { ForwardReplication } from "./forward.js";

interface GuardedFile {
  readonly name: string;
  readonly file: string;
  /** The tables that must take no writes. */
  readonly tables: readonly string[];
  readonly pair: string | null;
}

export function guarded({ name, source }: ForwardReplication): GuardedFile {
  const { file, captures, pair } = source;
  return { name, file, tables: captures.map((table) => table.name), pair: pair?.id ?? null };
}

interface ClosedFilesOptions {
  readonly files: () => readonly GuardedFile[];
  /** The epoch under which PostgreSQL has the writes; null while it does not have them for certain. */
  readonly epoch: () => number | null;
  /** Asks PostgreSQL whether the files are this sidecar's still; false when it does not answer. */
  readonly ours: () => Promise<boolean>;
  readonly log: Logger;
}

const LOOK_MS = 500;
/** A file that another one was moved over is checked by another process. */
const REPLACED_MS = 5_000;

export class ClosedFiles {
  private readonly watches = new Map<string, ClosedFileWatch>();
  private readonly replacedMs = new Map<string, number>();
  private broken: SwitchbackError | null = null;
  private tell: (error: SwitchbackError) => void = () => {};

  constructor(private readonly options: ClosedFilesOptions) {}

  /** Never rejects. */
  async watch(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      await sleep(LOOK_MS, undefined, { signal, ref: false }).catch(() => {});
      for (const file of signal.aborted ? [] : this.options.files())
        await this.look(file).catch((error: unknown) =>
          this.options.log.warn({ err: error }, "looking at the fence"),
        );
    }
    this.forget();
  }

  /** Rejects once a file was found open, from now on; resolves when the signal is aborted. */
  async breach(signal: AbortSignal): Promise<void> {
    this.forget();
    await new Promise<void>((resolve, reject) => {
      this.tell = reject;
      signal.addEventListener("abort", () => resolve(), { once: true });
      if (signal.aborted) resolve();
    });
  }

  private forget(): void {
    for (const watch of this.watches.values()) watch.close();
    this.watches.clear();
    this.broken = null;
  }

  private async look(guarded: GuardedFile): Promise<void> {
    const { epoch, ours } = this.options;
    const current = epoch();
    if (current === null) {
      this.watches.get(guarded.name)?.close();
      this.watches.delete(guarded.name);
      return;
    }
    const watch = this.watches.get(guarded.name) ?? new ClosedFileWatch(guarded.file);
    this.watches.set(guarded.name, watch);
    const { file, tables, pair } = guarded;
    const order = { file, epoch: current, pair, tables, bare: false };
    const found = watch.look(order);
    if (found === "closed") return;
    if (found === "gone") return this.report(guarded, found, "");
    if (found === "replaced" && !this.isDue(guarded.name)) return;
    try {
      let was = await watch.closeAgain(order, found);
      // A file without records may be one that a teardown has let go.
      const asked = was === "bare" && (await ours()) && epoch() === current;
      if (asked) was = await watch.closeAgain({ ...order, bare: true }, found);
      const closedNow = was === "open" || asked;
      if (closedNow) this.options.log.warn({ source: guarded.name }, `${file} was open; it is closed`);
      if (closedNow || found === "replaced")
        this.report(guarded, found, closedNow ? ". It was open, and is closed now" : "");
    } catch (error) {
      this.report(guarded, found, `. It could not be closed: ${(error as Error).message}`);
    }
  }

  /** What was found, until the sidecar begins to follow again; but not what halted it, which it says itself. */
  problems(halted: Problem | null): Problem[] {
    return this.broken && this.broken.message !== halted?.message ? [problemFrom(this.broken)] : [];
  }

  private isDue(name: string): boolean {
    const now = performance.now();
    if (now - (this.replacedMs.get(name) ?? Number.NEGATIVE_INFINITY) < REPLACED_MS) return false;
    this.replacedMs.set(name, now);
    return true;
  }

  private report({ name, file }: GuardedFile, found: Exclude<Look, "closed">, then: string): void {
    if (this.broken) return;
    const where = { source: name, file };
    this.broken =
      found === "open" || found === "bare"
        ? new SwitchbackError(
            "SPLIT",
            `${file} has no closed fence although PostgreSQL has the writes: a backup was put back, or the fence was removed${then}`,
            where,
          )
        : new SwitchbackError(
            "SQLITE_REPLACED",
            found === "gone"
              ? `${file}: the file is gone`
              : `${file}: it is not the file that was captured: another file was moved there${then}`,
            where,
          );
    this.tell(this.broken);
  }
}
