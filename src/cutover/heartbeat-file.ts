// The sidecar's heartbeat: a file beside the route file and one beside the flag. It says that the sidecar runs, what
// it serves, and how the last requested flip ended. The commands that ask for a flip read it, because they share
// files with the sidecar and nothing else for certain: HTTP may be off, and PostgreSQL may be away. Another
// application's sidecar that would share one of the two files finds it there too.
import { randomUUID } from "node:crypto";
import { readFileSync, renameSync, rmSync, statSync, utimesSync, writeFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { SwitchbackError } from "../errors.js";
import type { Problem, Served } from "../status.js";
import type { Desired } from "./flag-file.js";
import { described, sameSources } from "./served.js";

export interface FlipAnswer {
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

interface HeartbeatRecord {
  readonly pid: number;
  readonly since: string;
  /** Tells two sidecars apart that were started within one millisecond, or with one pid; absent in an earlier version's. */
  readonly instance?: string;
  /** Absent in the sign of an earlier version. */
  readonly serves?: Served;
  readonly answer: FlipAnswer | null;
  /** Why it does nothing more until it is restarted; absent while it works. */
  readonly halted?: Problem;
}

const HEARTBEAT_MS = 1_000;
/** A sidecar that is busy with one long statement may miss some beats. */
const SILENCE_MS = 10_000;
const LOOK_MS = 200;

export function heartbeatFile(file: string): string {
  return `${file}.sidecar`;
}

export class Heartbeat {
  private readonly files: readonly string[];
  private readonly since = new Date().toISOString();
  private readonly instance = randomUUID();
  private answered: FlipAnswer | null = null;
  private halted: Problem | null = null;
  private timer: NodeJS.Timeout | null = null;

  /** The route file and, where its folder takes a second file, the flag. */
  constructor(
    private readonly beside: readonly string[],
    private readonly serves: () => Served,
  ) {
    this.files = beside.map(heartbeatFile);
  }

  /**
   * Looks whether another application's sidecar keeps one of the files. One that was killed a moment ago is told from
   * one that lives by its next beat. @throws SwitchbackError ROUTE_TAKEN
   */
  async claim(): Promise<void> {
    for (const file of this.beside) {
      const sign = readHeartbeat(file);
      if (!sign?.serves || this.isMine(sign) || sameSources(sign.serves, this.serves())) continue;
      const beat = beatOf(file);
      while (readHeartbeat(file) !== null) {
        if (beatOf(file) !== beat)
          throw new SwitchbackError(
            "ROUTE_TAKEN",
            `${file} belongs to another sidecar, process ${sign.pid}, which serves ${described(sign.serves)}`,
            { file },
          );
        await sleep(LOOK_MS);
      }
    }
  }

  start(): void {
    if (this.timer) return;
    this.write();
    this.timer = setInterval(() => this.beat(), HEARTBEAT_MS);
    this.timer.unref();
  }

  answer(answer: Omit<FlipAnswer, "n" | "at">): void {
    this.answered = { n: (this.answered?.n ?? 0) + 1, at: new Date().toISOString(), ...answer };
    this.write();
  }

  halt(problem: Problem): void {
    this.halted = problem;
    this.write();
  }

  stop(): void {
    if (!this.timer) return;
    clearInterval(this.timer);
    for (const file of this.files) rmSync(file, { force: true });
  }

  private isMine({ instance }: HeartbeatRecord): boolean {
    return instance === this.instance;
  }

  private beat(): void {
    const now = new Date();
    try {
      for (const file of this.files) utimesSync(file, now, now);
    } catch {
      this.write();
    }
  }

  private write(): void {
    const sign: HeartbeatRecord = {
      pid: process.pid,
      since: this.since,
      instance: this.instance,
      serves: this.serves(),
      answer: this.answered,
      ...(this.halted ? { halted: this.halted } : {}),
    };
    for (const file of this.files) {
      const next = `${file}.${process.pid}.tmp`;
      try {
        writeFileSync(next, `${JSON.stringify(sign)}\n`);
        renameSync(next, file);
      } catch {
        // A full disk must not end a flip; the route tells what came of it. A flag's folder may be read-only.
      }
    }
  }
}

function beatOf(file: string): number {
  return statSync(heartbeatFile(file), { throwIfNoEntry: false })?.mtimeMs ?? 0;
}

/** The sign of a sidecar that runs now, or null. */
export function readHeartbeat(beside: string): HeartbeatRecord | null {
  const file = heartbeatFile(beside);
  try {
    if (Date.now() - statSync(file).mtimeMs > SILENCE_MS) return null;
    return JSON.parse(readFileSync(file, "utf8")) as HeartbeatRecord;
  } catch {
    return null;
  }
}
