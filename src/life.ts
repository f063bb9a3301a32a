// The sidecar's sign of life, a file beside the route file: that it runs, and what came of the last flip it was
// asked for. The commands that ask for a flip read it, because they share files with the sidecar and nothing
// else for certain: HTTP may be off, and PostgreSQL may be away.
import { readFileSync, renameSync, rmSync, statSync, utimesSync, writeFileSync } from "node:fs";
import type { Desired } from "./flag.js";
import type { Problem } from "./status.js";

export interface Answer {
  /** Counts the answers of one sidecar. */
  readonly n: number;
  readonly to: Desired;
  readonly flipped: boolean;
  readonly epoch: number;
  /** How long no store took writes. */
  readonly pauseMs: number;
  /** Why not. */
  readonly reason?: string;
  readonly at: string;
}

interface Sign {
  readonly pid: number;
  readonly since: string;
  readonly answer: Answer | null;
  /** Why it does nothing more until it is restarted; absent while it works. */
  readonly halted?: Problem;
}

const BEAT_MS = 1_000;
/** A sidecar that is busy with one long statement may miss some beats. */
const SILENCE_MS = 10_000;

export function lifeFile(routeFile: string): string {
  return `${routeFile}.sidecar`;
}

export class Life {
  private readonly file: string;
  private readonly since = new Date().toISOString();
  private answered: Answer | null = null;
  private halted: Problem | null = null;
  private timer: NodeJS.Timeout | null = null;

  constructor(routeFile: string) {
    this.file = lifeFile(routeFile);
  }

  start(): void {
    if (this.timer) return;
    this.write();
    this.timer = setInterval(() => this.beat(), BEAT_MS);
    this.timer.unref();
  }

  answer(answer: Omit<Answer, "n" | "at">): void {
    this.answered = { n: (this.answered?.n ?? 0) + 1, at: new Date().toISOString(), ...answer };
    this.write();
  }

  halt(problem: Problem): void {
    this.halted = problem;
    this.write();
  }

  get last(): Answer | null {
    return this.answered;
  }

  stop(): void {
    if (!this.timer) return;
    clearInterval(this.timer);
    rmSync(this.file, { force: true });
  }

  private beat(): void {
    const now = new Date();
    try {
      utimesSync(this.file, now, now);
    } catch {
      this.write();
    }
  }

  private write(): void {
    const sign: Sign = {
      pid: process.pid,
      since: this.since,
      answer: this.answered,
      ...(this.halted ? { halted: this.halted } : {}),
    };
    const next = `${this.file}.${process.pid}.tmp`;
    try {
      writeFileSync(next, `${JSON.stringify(sign)}\n`);
      renameSync(next, this.file);
    } catch {
      // A full disk must not end a flip; whoever asked is told by the route.
    }
  }
}

/** The sign of a sidecar that runs now, or null. */
export function readLife(routeFile: string): Sign | null {
  const file = lifeFile(routeFile);
  try {
    if (Date.now() - statSync(file).mtimeMs > SILENCE_MS) return null;
    return JSON.parse(readFileSync(file, "utf8")) as Sign;
  } catch {
    return null;
  }
}
